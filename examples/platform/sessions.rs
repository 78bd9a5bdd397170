//! `platform sessions`

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use comfy_table::{Table, presets};
use http::Method;
use longshore::{Error, core::printable};
use serde_json::Value;

use crate::{
    Failure,
    cli::Sessions,
    client::{self, connector},
    say::say,
};

pub async fn run(args: Sessions) -> Result<(), Failure> {
    let request = http::Request::builder()
        .method(Method::GET)
        .uri(format!("/api/sessions?limit={}", args.limit))
        .body(Bytes::new())
        .map_err(|error| Failure::new(error.to_string()))?;
    let listed = client::json(connector(&args.host)?, request).await;
    let listed = listed.map_err(|error| refused(&error))?;
    match args.json {
        true => say(format_args!("{listed:#}")),
        false => say(table(&listed)),
    }
}

fn refused(error: &Error) -> Failure {
    Failure::new(match error.context("status") {
        Some("404") => format!(
            "{}: sessions are recorded where the control plane is started with --exec-records",
            error.message()
        ),
        _ => error.chain(),
    })
}

/// A line for each. What was typed and what containers are called is anybody's text.
fn table(listed: &Value) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "SESSION",
        "WHO",
        "CONTAINER",
        "NODE",
        "BEGAN",
        "ENDED",
        "CLEANUP",
        "COMMAND",
    ]);
    for session in listed.as_array().into_iter().flatten() {
        let commands = session["commands"].as_array().into_iter().flatten();
        let commands: Vec<String> = commands.map(text).collect();
        table.add_row([
            text(&session["session_id"]),
            text(&session["user"]),
            text(&session["container_id"]).chars().take(12).collect(),
            text(&session["node_ip"]),
            time(&session["created_at"]),
            ended(session),
            text(&session["cleanup"]),
            // Of a shell, those that were tried.
            commands.join(" | "),
        ]);
    }
    table
}

fn ended(session: &Value) -> String {
    let reason = text(&session["reason"]);
    match session["exit_code"].as_i64() {
        Some(code) => format!("{reason} {code}"),
        None if reason.is_empty() => text(&session["status"]),
        None => reason,
    }
}

fn time(seconds: &Value) -> String {
    let since = Duration::from_secs(seconds.as_u64().unwrap_or_default());
    let time = UNIX_EPOCH.checked_add(since).filter(|_| since < FAR_AHEAD);
    time.map(|time| humantime::format_rfc3339_seconds(time).to_string())
        .unwrap_or_default()
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default(), LONGEST_SHOWN).into_owned()
}

const LONGEST_SHOWN: usize = 200;
/// The year 9999, beyond which times can't be written.
const FAR_AHEAD: Duration = Duration::from_secs(253_370_764_800);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_who_was_where_and_how_it_ended() {
        let listed = json!([
            {"session_id": "e8", "user": "unix:0", "container_id": "891e1b7534c6889033c2",
                "node_ip": "node-1", "status": "inactive", "created_at": 1_795_687_702_u64,
                "reason": "exited", "exit_code": 3, "commands": ["sh -c x"], "cleanup": "none"},
            {"session_id": "e9", "status": "active", "created_at": u64::MAX,
                "commands": ["/bin/bash", "a\u{1b}[2J"]},
            {"session_id": "ea", "status": "inactive", "reason": "lost"},
        ]);
        let shown = table(&listed).to_string();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = shown.lines().skip(1).map(words).collect();
        assert_eq!(
            lines,
            [
                "e8 unix:0 891e1b7534c6 node-1 2026-11-26T10:08:22Z exited 3 none sh -c x",
                "e9 active /bin/bash | a\\u{1b}[2J",
                "ea 1970-01-01T00:00:00Z lost",
            ]
        );
    }

    #[test]
    fn where_nothing_is_recorded_it_is_said_how_to() {
        let none = Error::invalid("no records are kept here").with_context("status", 404);
        assert!(refused(&none).message.contains("--exec-records"));
        let away = Error::unavailable("no route");
        assert_eq!(refused(&away).message, "no route");
    }
}
