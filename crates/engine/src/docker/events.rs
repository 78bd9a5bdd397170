use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt;
use longshore_core::{
    EngineEvent, EngineEvents, Error, EventAction, Result, Timestamp, WorkloadId, http::Body,
    printable,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    id,
    lines::{Overlong, lines},
};

/// The events in a body, each with its record as it came. What is too long for an event, and what
/// is about a container without an id of Docker's, is left out.
pub(super) fn decode(body: Body) -> EngineEvents {
    lines(body, LONGEST, Overlong::IsSkipped)
        .map(|line| line.and_then(|line| event(&line)))
        .filter(|event| std::future::ready(event.as_ref().map_or(true, is_usable)))
        .boxed()
}

fn is_usable(event: &EngineEvent) -> bool {
    let usable = event.scope != "container" || id::container(&event.actor).is_ok();
    if !usable {
        tracing::debug!(
            actor = event.actor,
            "an event about no container of Docker's"
        );
    }
    usable
}

fn event(line: &[u8]) -> Result<EngineEvent> {
    let not_dockers =
        |error| Error::protocol("an event of the engine is not Docker's").with_source(error);
    // A map, not a value: serde would take a list for a record too.
    let native: Map<String, Value> = serde_json::from_slice(line).map_err(not_dockers)?;
    let native = Value::Object(native);
    let record = Record::deserialize(&native).map_err(not_dockers)?;
    // Before API 1.22 an event had only these three.
    let word = record.action.or(record.status).unwrap_or_default();
    let word = printable(&word, LONGEST_WORD);
    let actor = record.actor.unwrap_or_default();
    let id = actor.id.or(record.id).unwrap_or_default();
    let nanos = record.time_nano.unwrap_or(0);
    let at = if nanos > 0 {
        Timestamp::from_micros(nanos / 1000)
    } else {
        Timestamp::from_secs(record.time.unwrap_or(0))
    };
    // The id of an image or of the daemon is not a container's: the real one is put in below.
    let mut event =
        EngineEvent::workload(&WorkloadId::new("none")?, EventAction::from_word(&word), at);
    event.actor = printable(&id, LONGEST_WORD).into_owned();
    event.scope = match &record.scope {
        Some(scope) => printable(scope, LONGEST_WORD).into_owned(),
        None => "container".to_owned(),
    };
    event.attributes = actor.attributes.unwrap_or_default();
    event.native = Some(Arc::new(native));
    Ok(event)
}

/// Docker's events have a few hundred bytes, and with many labels a few thousand.
const LONGEST: usize = 64 << 10;
/// More of a scope, an action (which names an exec's command) or an actor is not kept.
const LONGEST_WORD: usize = 512;

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "Type", default)]
    scope: Option<String>,
    #[serde(rename = "Action", default)]
    action: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(rename = "Actor", default)]
    actor: Option<Actor>,
    #[serde(default)]
    time: Option<u64>,
    #[serde(rename = "timeNano", default)]
    time_nano: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Actor {
    #[serde(rename = "ID")]
    id: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_and_kept() {
        let line = br#"{"status":"die","id":"abc","from":"busybox","Type":"container",
            "Action":"die","Actor":{"ID":"abc","Attributes":{"exitCode":"5","name":"a"}},
            "scope":"local","time":1790000000,"timeNano":1790000000123456789}"#;
        let event = event(line).unwrap();
        assert_eq!(
            (event.scope.as_str(), event.actor.as_str()),
            ("container", "abc")
        );
        assert_eq!(event.action, EventAction::Die);
        assert_eq!(event.attributes["exitCode"], "5");
        assert_eq!(event.at, Timestamp::from_micros(1_790_000_000_123_456));
        assert_eq!(event.native.unwrap()["from"], "busybox");
    }

    #[test]
    fn events_of_other_kinds_are_read_too() {
        let line = br#"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":null},
            "time":5}"#;
        let event = event(line).unwrap();
        assert_eq!(event.action, EventAction::Other("connect".into()));
        assert_eq!(event.at, Timestamp::from_secs(5));
        assert!(super::event(b"[]").is_err());
    }

    async fn read(lines: &[String]) -> Vec<EngineEvent> {
        let text = lines.join("\n");
        let body = longshore_core::http::full_body(text);
        decode(body).map(Result::unwrap).collect().await
    }

    #[tokio::test]
    async fn a_fat_event_is_left_out_and_the_stream_goes_on() {
        let line = |action: &str, filling: usize| {
            format!(
                r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{}","Attributes":{{"a":"{}"}}}},"time":1}}"#,
                "a".repeat(64),
                "x".repeat(filling)
            )
        };
        let read = read(&[line("start", 10), line("stop", LONGEST), line("die", 10)]).await;
        let actions: Vec<_> = read.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["start", "die"]);
    }

    #[tokio::test]
    async fn only_events_about_containers_of_dockers_are_told() {
        let line = |scope: &str, id: &str| {
            format!(r#"{{"Type":"{scope}","Action":"start","Actor":{{"ID":"{id}"}},"time":1}}"#)
        };
        let id = "0123456789abcdef".repeat(4);
        let read = read(&[
            line("container", "../x"),
            line("container", &id[1..]),
            line("container", &id),
            line("image", "busybox:latest"),
        ])
        .await;
        let actors: Vec<_> = read.iter().map(|event| event.actor.as_str()).collect();
        assert_eq!(actors, [&id, "busybox:latest"]);
    }

    #[test]
    fn words_of_an_event_are_printable_and_bounded() {
        let long = "x".repeat(10_000);
        let line = format!(
            r#"{{"Type":"a\u001b[2J","Action":"exec_create: {long}","Actor":{{"ID":"\n{long}"}}}}"#
        );
        let event = event(line.as_bytes()).unwrap();
        assert_eq!(event.scope, "a\\u{1b}[2J");
        assert!(event.action.as_str().len() <= LONGEST_WORD);
        assert!(event.actor.starts_with("\\u{a}xx") && event.actor.len() <= LONGEST_WORD);
    }
}
