//! `platform pending`

use std::time::Duration;

use bytes::Bytes;
use comfy_table::{Table, presets};
use http::Method;
use serde_json::{Value, json};

use crate::{
    Failure,
    asked::create_body,
    cli::{Pending, PendingRun},
    client::call,
    explain::form_urlencode,
    say::say,
};

pub async fn run(args: Pending) -> Result<(), Failure> {
    match args {
        Pending::Ls { host, json } => {
            let listed = call(&host, Method::GET, PENDING, Bytes::new()).await?;
            match json {
                true => say(format_args!("{listed:#}")),
                false => say(table(&listed)),
            }
        }
        Pending::Run(args) => {
            let path = format!("{PENDING}{}", query(&args)?);
            let body = body(&args)?.to_string();
            let queued = call(&args.host, Method::POST, &path, body.into()).await?;
            let id = text(&queued["id"]);
            match queued["reason"].as_str() {
                Some(reason) => say(format_args!("{id} waits for room: {}", why(reason))),
                None => say(format_args!(
                    "{id} is being made; 'platform pending ls' says what becomes of it"
                )),
            }
        }
        Pending::Rm { host, work } => {
            let path = format!("{PENDING}/{}", form_urlencode(&work));
            call(&host, Method::DELETE, &path, Bytes::new()).await?;
            say(format_args!("{work} is not in the queue any more"))
        }
    }
}

fn query(args: &PendingRun) -> Result<String, Failure> {
    let mut pairs = Vec::new();
    if let Some(name) = &args.name {
        pairs.push(format!("name={}", form_urlencode(name)));
    }
    if let Some(patience) = &args.patience {
        let bad =
            |reason: String| Failure::new(format!("invalid --patience {patience:?}: {reason}"));
        let patience: Duration =
            humantime::parse_duration(patience).map_err(|error| bad(error.to_string()))?;
        if patience < Duration::from_secs(1) {
            return Err(bad("expected at least a second".to_owned()));
        }
        pairs.push(format!("patience={}", patience.as_secs()));
    }
    if args.priority != 0 {
        pairs.push(format!("priority={}", args.priority));
    }
    if args.no_start {
        pairs.push("start=0".to_owned());
    }
    Ok(match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    })
}

fn body(args: &PendingRun) -> Result<Value, Failure> {
    let mut body = create_body(&args.image, &args.asked)?;
    if !args.command.is_empty() {
        body["Cmd"] = json!(args.command);
    }
    Ok(body)
}

/// A line for each.
fn table(listed: &Value) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "NAME", "IMAGE", "OWNER", "STATE", "SINCE", "WHY"]);
    for work in listed.as_array().into_iter().flatten() {
        let id = match &work["instance"]["stack"] {
            Value::String(stack) => format!("(stack {})", text(&stack.as_str().into())),
            _ => text(&work["id"]),
        };
        let why = match work["node"].as_str() {
            Some(_) => format!("on {}", text(&work["node"])),
            None => told(work),
        };
        table.add_row([
            id,
            text(&work["name"]),
            text(&work["image"]),
            text(&work["owner"]),
            text(&work["state"]),
            text(&work["since"]),
            why,
        ]);
    }
    table
}

/// Why work waits or has failed; of what failed before and waits again, what was said then.
fn told(work: &Value) -> String {
    let reason = why(work["reason"].as_str().unwrap_or_default());
    let error = match work["error"].as_str() {
        Some(error) if work["state"] != "failed" || Some(error) != work["reason"].as_str() => {
            why(error)
        }
        _ => return reason,
    };
    let failures = match work["failures"].as_u64().unwrap_or_default() {
        0 | 1 => "it failed once".to_owned(),
        failures => format!("it failed {failures} times"),
    };
    match (work["again_at"].as_str(), work["state"].as_str()) {
        (Some(_), _) => format!(
            "{failures} and is tried again at {}: {error}",
            text(&work["again_at"])
        ),
        (None, Some("waiting" | "failed")) => format!("{reason}; {failures} before: {error}"),
        (None, _) => format!("{failures} before: {error}"),
    }
}

/// Swarm's line comes first, in brackets what it was about; those behind say more.
fn why(reason: &str) -> String {
    let behind = reason.split_once('\n').map_or(reason, |(_, behind)| behind);
    let lines = behind.lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with('[')).collect();
    longshore::core::printable(&lines.join("; "), LONGEST_SHOWN).into_owned()
}

fn text(value: &Value) -> String {
    longshore::core::printable(value.as_str().unwrap_or_default(), LONGEST_SHOWN).into_owned()
}

const PENDING: &str = "/longshore/v1/pending";
const LONGEST_SHOWN: usize = 400;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn read(words: &[&str]) -> PendingRun {
        let words = ["platform", "pending", "run"].iter().chain(words);
        match crate::cli::Cli::try_parse_from(words).unwrap().command {
            Some(crate::cli::Command::Pending(Pending::Run(args))) => args,
            _ => panic!("not a run"),
        }
    }

    #[test]
    fn what_is_queued_is_asked_for_as_docker_run_does() {
        let args = read(&[
            "--name",
            "train",
            "--patience",
            "2h",
            "--priority",
            "5",
            "--gpus",
            "2",
            "-m",
            "1g",
            "trainer",
            "train",
            "--fast",
        ]);
        assert_eq!(
            query(&args).unwrap(),
            "?name=train&patience=7200&priority=5"
        );
        let body = body(&args).unwrap();
        assert_eq!(
            (&body["Image"], &body["Cmd"]),
            (&json!("trainer"), &json!(["train", "--fast"]))
        );
        assert_eq!(body["HostConfig"]["DeviceRequests"][0]["Count"], 2);
        assert_eq!(body["HostConfig"]["Memory"], 1 << 30);
        assert_eq!(query(&read(&["a"])).unwrap(), "");
        assert!(query(&read(&["--patience", "0s", "a"])).is_err());
    }

    #[test]
    fn a_line_says_what_waits_and_why() {
        let listed = json!([
            {"id": "1f", "name": "web", "image": "nginx", "state": "waiting", "since": "now",
                "reason": "no room \n[slots]\n[zone==eu]\n0 of 3\nfor 3s", "instance": null},
            {"id": null, "name": "shop-web-1", "image": "a", "state": "waiting", "since": "now",
                "reason": "full", "instance": {"stack": "shop"}},
            {"id": "2f", "name": "", "image": "a", "state": "made", "since": "now",
                "node": "node-1", "reason": null, "error": "busy", "failures": 1},
            {"id": "3f", "owner": "alice", "state": "waiting", "reason": "busy", "error": "busy",
                "failures": 2, "again_at": "noon"},
            {"id": "4f", "state": "waiting", "reason": "full", "error": "busy", "failures": 1},
            {"id": "5f", "state": "failed", "reason": "busy", "error": "busy", "failures": 7},
            {"id": "7f", "state": "failed", "reason": "full", "error": "busy", "failures": 7},
            {"id": "6f", "state": "making", "reason": null, "error": "busy", "failures": 1},
        ]);
        let lines = table(&listed).to_string();
        let words: Vec<Vec<&str>> = lines
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words[0],
            [
                "1f", "web", "nginx", "waiting", "now", "0", "of", "3;", "for", "3s"
            ]
        );
        assert_eq!(words[1][..2], ["(stack", "shop)"]);
        assert_eq!(words[2], ["2f", "a", "made", "now", "on", "node-1"]);
        let rest: Vec<String> = words[3..].iter().map(|line| line.join(" ")).collect();
        assert_eq!(
            rest,
            [
                "3f alice waiting it failed 2 times and is tried again at noon: busy",
                "4f waiting full; it failed once before: busy",
                "5f failed busy",
                "7f failed full; it failed 7 times before: busy",
                "6f making it failed once before: busy",
            ]
        );
    }
}
