//! `platform explain`

use bytes::Bytes;
use comfy_table::{Table, presets};
use longshore::core::Explanation;

use crate::{Failure, asked::create_body, cli::Explain, client, say::say};

pub async fn run(args: Explain) -> Result<(), Failure> {
    let connector = client::connector(&args.host)?;
    let request = match &args.container {
        Some(container) => {
            let name: String = form_urlencode(container);
            http::Request::get(format!("/longshore/v1/explain?container={name}")).body(Bytes::new())
        }
        None => http::Request::post(format!("/longshore/v1/explain{}", what_if(&args)))
            .header("Content-Type", "application/json")
            .body({
                let image = args.image.as_deref().unwrap_or_default();
                Bytes::from(create_body(image, &args.asked)?.to_string())
            }),
    };
    let request = request.map_err(|error| Failure::new(error.to_string()))?;
    let answer = client::json(connector, request).await?;
    if args.json {
        return say(format_args!("{answer:#}"));
    }
    let explanation: Explanation = serde_json::from_value(answer).map_err(|error| {
        Failure::new(format!("the endpoint's answer is not understood: {error}"))
    })?;
    say(render(&explanation))
}

/// What to imagine, as a query.
fn what_if(args: &Explain) -> String {
    let nodes = args.with_node.iter().map(|node| ("with-node", node));
    let dropped = args.without.iter().map(|demand| ("without", demand));
    let pairs: Vec<String> = nodes
        .chain(dropped)
        .map(|(key, value)| format!("{key}={}", form_urlencode(value)))
        .collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    }
}

/// The explanation for a person: a sentence, then a line for every node.
pub fn render(explanation: &Explanation) -> String {
    let mut text = explanation.summary.clone();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NODE", "VERDICT", "WHY"]);
    let chosen = explanation
        .placement
        .as_ref()
        .map(|placement| &placement.chosen.node);
    for node in &explanation.nodes {
        let verdict = match (chosen == Some(&node.node), node.is_feasible()) {
            (true, _) => "chosen",
            (false, true) => "possible",
            (false, false) => "refused",
        };
        let why: Vec<String> = if node.is_feasible() {
            node.score
                .iter()
                .map(|part| match part.reason.as_str() {
                    "" => format!("{} {:+}", part.name, part.points),
                    reason => format!("{} {:+} ({reason})", part.name, part.points),
                })
                .collect()
        } else {
            node.failures
                .iter()
                .map(|failure| format!("{}: {}", failure.filter, failure.reason))
                .collect()
        };
        table.add_row([node.name.as_str(), verdict, &why.join("; ")]);
    }
    if !explanation.nodes.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table.to_string());
    }
    for remedy in &explanation.remedies {
        text.push_str("\n\nIt could be placed if you ");
        text.push_str(&remedy.to_string());
    }
    if let Some(refusal) = &explanation.refusal {
        text.push_str("\n\n");
        text.push_str(refusal);
    }
    text
}

pub fn form_urlencode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn what_is_imagined_goes_into_the_query() {
        let parsed = crate::cli::Cli::try_parse_from([
            "platform",
            "explain",
            "--image",
            "redis",
            "--with-node",
            "cpu=4,label=zone=eu",
            "--without",
            "constraint:zone==eu",
        ]);
        let Some(crate::cli::Command::Explain(args)) = parsed.unwrap().command else {
            panic!("not an explain");
        };
        assert_eq!(
            what_if(&args),
            "?with-node=cpu%3D4%2Clabel%3Dzone%3Deu&without=constraint%3Azone%3D%3Deu"
        );
    }
}
