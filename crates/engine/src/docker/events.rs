use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt;
use longshore_core::{
    EngineEvent, EngineEvents, Error, EventAction, Result, Timestamp, WorkloadId, http::Body,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::lines::lines;

/// The events in a body, each with its record as it came.
pub(super) fn decode(body: Body) -> EngineEvents {
    lines(body)
        .map(|line| line.and_then(|line| event(&line)))
        .boxed()
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
    event.actor = id;
    event.scope = record.scope.unwrap_or_else(|| "container".to_owned());
    event.attributes = actor.attributes.unwrap_or_default();
    event.native = Some(Arc::new(native));
    Ok(event)
}

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
}
