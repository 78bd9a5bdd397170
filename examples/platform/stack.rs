//! `platform stack`

use std::io::Read;

use bytes::Bytes;
use comfy_table::{Table, presets};
use http::Method;
use serde_json::Value;

use crate::{Failure, cli::Stack, client::call, explain::form_urlencode, say::say};

pub async fn run(args: Stack) -> Result<(), Failure> {
    match args {
        Stack::Deploy { host, file } => {
            let shown = file.display().to_string();
            let text = match shown.as_str() {
                "-" => limited(std::io::stdin()),
                _ => std::fs::File::open(&file).and_then(limited),
            };
            let text = text.map_err(|error| Failure::new(format!("{shown}: {error}")))?;
            let stack: Value = serde_json::from_slice(&text)
                .map_err(|error| Failure::new(format!("{shown} is no JSON: {error}")))?;
            let name = stack["name"].as_str().ok_or_else(|| {
                Failure::new(format!("{shown} is no stack: a \"name\" is missing"))
            })?;
            let path = format!("{STACKS}/{}", form_urlencode(name));
            call(&host, Method::PUT, &path, text.into()).await?;
            say(format_args!(
                "{name} is desired; 'platform stack ls' says how it is doing"
            ))
        }
        Stack::Ls { host, json } => {
            let stacks = call(&host, Method::GET, STACKS, Bytes::new()).await?;
            match json {
                true => say(format_args!("{stacks:#}")),
                false => say(table(&stacks)),
            }
        }
        Stack::Rm { host, name } => {
            let path = format!("{STACKS}/{}", form_urlencode(&name));
            call(&host, Method::DELETE, &path, Bytes::new()).await?;
            say(format_args!("{name} is being removed"))
        }
    }
}

/// A file that someone named by mistake may be of any size.
fn limited(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LARGEST {
        true => Err(std::io::Error::other(format!(
            "a stack has at most {LARGEST} bytes"
        ))),
        false => Ok(text),
    }
}

/// A line for each service.
fn table(stacks: &Value) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["STACK", "SERVICE", "READY", "NODES", "WAITS FOR"]);
    for stack in items(stacks) {
        let name = text(&stack["name"]);
        let name = match stack["removing"].as_bool() {
            Some(true) => format!("{name} (being removed)"),
            _ => name,
        };
        for service in items(&stack["services"]) {
            let instances = || items(&service["instances"]);
            let notes = instances().find(|instance| !text(&instance["note"]).is_empty());
            let mut nodes: Vec<_> = instances().map(|it| text(&it["node_name"])).collect();
            nodes.retain(|node| !node.is_empty());
            nodes.dedup();
            table.add_row([
                name.clone(),
                text(&service["name"]),
                format!("{}/{}", service["ready"], service["replicas"]),
                nodes.join(", "),
                notes
                    .map(|instance| text(&instance["note"]))
                    .unwrap_or_default(),
            ]);
        }
    }
    table
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    longshore::core::printable(text, LONGEST_SHOWN).into_owned()
}

const STACKS: &str = "/longshore/v1/stacks";
const LARGEST: u64 = 1 << 20;
const LONGEST_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_a_service_is_doing() {
        let stacks = serde_json::json!([{
            "name": "shop", "removing": false,
            "services": [{"name": "web", "ready": 1, "replicas": 2, "instances": [
                {"node_name": "node-1", "note": ""},
                {"node_name": null, "note": "no node has room"},
            ]}],
        }]);
        let lines = table(&stacks).to_string();
        let words: Vec<_> = lines.lines().last().unwrap().split_whitespace().collect();
        let expected = ["shop", "web", "1/2", "node-1", "no", "node", "has", "room"];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_is_no_stack_is_not_read_whole() {
        assert!(limited(std::io::repeat(b'x')).is_err());
        assert_eq!(limited(&b"{}"[..]).unwrap(), b"{}");
    }
}
