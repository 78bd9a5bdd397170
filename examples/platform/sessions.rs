//! `platform sessions`

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use comfy_table::{Table, presets};
use http::Method;
use longshore::{Connector, core::printable};
use serde_json::Value;

use crate::{
    Failure,
    cli::Sessions,
    client::{self, connector},
    live,
    say::{note, say},
};

pub async fn run(args: Sessions) -> Result<(), Failure> {
    let connector = connector(&args.host)?;
    let live = live::list(connector.clone()).await;
    let live = live.map_err(|error| live::refused(&error, ""))?;
    let recorded = match args.live {
        true => None,
        false => recorded(connector, args.limit).await?,
    };
    let is_recorded = recorded.is_some() || args.live;
    let listed = joined(live, recorded.unwrap_or_default());
    match args.json {
        true => say(format_args!("{:#}", Value::from(listed)))?,
        false => say(table(&listed))?,
    }
    if !is_recorded {
        note(NOT_RECORDED);
    }
    Ok(())
}

/// Those that are recorded; `None`: nothing is here.
async fn recorded(
    connector: Arc<dyn Connector>,
    limit: u32,
) -> Result<Option<Vec<Value>>, Failure> {
    let request = http::Request::builder()
        .method(Method::GET)
        .uri(format!("/api/sessions?limit={limit}"))
        .body(Bytes::new())
        .map_err(|error| Failure::new(error.to_string()))?;
    match client::json(connector, request).await {
        Ok(Value::Array(listed)) => Ok(Some(listed)),
        Ok(_) => Ok(Some(Vec::new())),
        Err(error) if error.context("status") == Some("404") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Those that go on, and those that were. What is recorded of one that goes on says less of it.
fn joined(live: Vec<Value>, mut recorded: Vec<Value>) -> Vec<Value> {
    let id = |session: &Value| session["session_id"].as_str().map(str::to_owned);
    let known: HashSet<_> = live.iter().filter_map(id).collect();
    recorded.retain(|session| id(session).is_none_or(|id| !known.contains(&id)));
    live.into_iter().chain(recorded).collect()
}

const NOT_RECORDED: &str = "(only those that go on: sessions are recorded where the control plane is \
                            started with `platform manage --exec-records DIR`; `platform` alone keeps \
                            none)";

/// A line for each. What was typed and what containers are called is anybody's text.
fn table(listed: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "SESSION",
        "WHO",
        "CONTAINER",
        "NODE",
        "BEGAN",
        "STATE",
        "CLEANUP",
        "COMMAND",
    ]);
    for session in listed {
        let commands = session["commands"].as_array().into_iter().flatten();
        let commands: Vec<String> = commands.map(text).collect();
        table.add_row([
            text(&session["session_id"]),
            text(&session["user"]),
            container(session),
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

/// As it was asked for; where that is not known, as its engine knows it.
fn container(session: &Value) -> String {
    let place = text(&session["place"]);
    match place.is_empty() {
        true => text(&session["container_id"]).chars().take(12).collect(),
        false => place,
    }
}

fn ended(session: &Value) -> String {
    let reason = text(&session["reason"]);
    if let Some(is_held) = session["is_held"].as_bool() {
        let others = session["connections"].as_u64().unwrap_or_default();
        let others = others.saturating_sub(u64::from(is_held));
        let state = if is_held { "live" } else { "live, away" };
        return match others {
            0 => state.to_owned(),
            others => format!("{state}, {others} watching"),
        };
    }
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
        let listed = [
            json!({"session_id": "e7", "status": "active", "is_held": true, "connections": 3}),
            json!({"session_id": "e6", "status": "active", "is_held": false,
                "container_id": "891e1b7534c6889033c2", "place": "node-1/web"}),
            json!({"session_id": "e8", "user": "unix:0", "container_id": "891e1b7534c6889033c2",
                "node_ip": "node-1", "status": "inactive", "created_at": 1_795_687_702_u64,
                "reason": "exited", "exit_code": 3, "commands": ["sh -c x"], "cleanup": "none"}),
            json!({"session_id": "e9", "status": "active", "created_at": u64::MAX,
                "commands": ["/bin/bash", "a\u{1b}[2J"]}),
            json!({"session_id": "ea", "status": "inactive", "reason": "lost"}),
        ];
        let shown = table(&listed).to_string();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = shown.lines().skip(1).map(words).collect();
        assert_eq!(
            lines,
            [
                "e7 1970-01-01T00:00:00Z live, 2 watching",
                "e6 node-1/web 1970-01-01T00:00:00Z live, away",
                "e8 unix:0 891e1b7534c6 node-1 2026-11-26T10:08:22Z exited 3 none sh -c x",
                "e9 active /bin/bash | a\\u{1b}[2J",
                "ea 1970-01-01T00:00:00Z lost",
            ]
        );
    }

    #[test]
    fn one_that_goes_on_is_listed_once() {
        let live = vec![json!({"session_id": "a", "is_held": true})];
        let recorded = vec![
            json!({"session_id": "b"}),
            json!({"session_id": "a", "status": "active"}),
        ];
        let listed = joined(live, recorded);
        let ids: Vec<_> = listed.iter().map(|it| it["session_id"].as_str()).collect();
        assert_eq!(ids, [Some("a"), Some("b")]);
        assert_eq!(listed[0]["is_held"], true);
    }
}
