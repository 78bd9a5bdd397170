use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use longshore_core::{ClockExt, EngineEvent, Error, Result};
use serde_json::{Value, json};

use super::{
    reply::{Reply, streamed},
    router::Call,
};

/// `GET /events`: one JSON object a line.
pub(super) async fn events(call: Call) -> Result<Reply> {
    let filters = call.query.filters()?;
    if let Some(unknown) = filters.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(Error::invalid(format!("Invalid filter '{unknown}'")));
    }
    let (since, until) = (call.query.time("since")?, call.query.time("until")?);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        return Err(Error::invalid("`since` cannot be after `until`"));
    }
    let engine = call.shared.engine()?;
    let events = engine.events(since).await?;
    drop(engine);
    let clock = std::sync::Arc::clone(&call.shared.clock);
    // What lies in the past still needs a moment to arrive.
    let deadline = until.map(|until| until.max(clock.now().after(MOMENT)));
    let lines = stream::unfold(Some(events), move |events| {
        let clock = std::sync::Arc::clone(&clock);
        let filters = filters.clone();
        async move {
            let mut events = events?;
            loop {
                let next = match deadline {
                    Some(deadline) => {
                        let left = deadline.since(clock.now());
                        clock.timeout(left, "events", events.next()).await.ok()?
                    }
                    None => events.next().await,
                };
                match next? {
                    Ok(event) if until.is_some_and(|until| event.at > until) => return None,
                    Ok(event) if fits(&event, &filters) => {
                        let line = Bytes::from(format!("{}\n", record(&event)));
                        return Some((Ok(line), Some(events)));
                    }
                    Ok(_) => {}
                    Err(error) => return Some((Err(error), None)),
                }
            }
        }
    });
    Ok(streamed("application/json", lines))
}

fn record(event: &EngineEvent) -> Value {
    if let Some(native) = &event.native {
        return (**native).clone();
    }
    let action = event.action.as_str();
    let mut record = json!({
        "Type": event.scope,
        "Action": action,
        "Actor": { "ID": event.actor, "Attributes": event.attributes },
        "scope": "local",
        "time": event.at.as_secs(),
        "timeNano": event.at.as_micros().saturating_mul(1000),
    });
    if event.scope == "container" || event.scope == "image" {
        record["status"] = json!(action);
        record["id"] = json!(event.actor);
        if let Some(image) = event.attributes.get("image") {
            record["from"] = json!(image);
        }
    }
    record
}

fn fits(event: &EngineEvent, filters: &BTreeMap<String, Vec<String>>) -> bool {
    filters.iter().all(|(name, values)| {
        let one = |value: &String| fits_one(event, name, value);
        values.is_empty()
            || match name.as_str() {
                "label" => values.iter().all(one),
                _ => values.iter().any(one),
            }
    })
}

fn fits_one(event: &EngineEvent, filter: &str, value: &str) -> bool {
    let attribute = |key: &str| event.attributes.get(key).map(String::as_str);
    let action = event.action.as_str();
    match filter {
        // `exec_start` stands for `exec_start: sh`, `health_status` for all results.
        "event" => action == value || action.split(':').next() == Some(value),
        "type" => event.scope == value,
        "scope" => value == "local",
        "label" => match value.split_once('=') {
            Some((key, wanted)) => attribute(key) == Some(wanted),
            None => attribute(value).is_some(),
        },
        "image" => match event.scope.as_str() {
            "image" => event.actor == value || attribute("name") == Some(value),
            _ => attribute("image").is_some_and(|image| {
                image == value
                    || image
                        .rsplit_once(':')
                        .is_some_and(|(bare, _)| bare == value)
            }),
        },
        // Actors of one kind, by id, its beginning, or name.
        kind => {
            event.scope == kind
                && (event.actor == value
                    || attribute("name") == Some(value.trim_start_matches('/'))
                    || (value.len() >= 12 && event.actor.starts_with(value)))
        }
    }
}

const KNOWN: [&str; 15] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
    "builder",
];
const MOMENT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use longshore_core::{EventAction, Timestamp, WorkloadId};

    use super::*;

    fn event() -> EngineEvent {
        let id = WorkloadId::new("0123456789abcdef").unwrap();
        let at = Timestamp::from_micros(5_000_001);
        let mut event = EngineEvent::workload(&id, EventAction::Die, at);
        event.attributes.insert("name".into(), "web".into());
        event.attributes.insert("image".into(), "app:1".into());
        event.attributes.insert("tier".into(), "front".into());
        event
    }

    #[test]
    fn an_event_has_dockers_shape() {
        let record = record(&event());
        assert_eq!(
            (&record["status"], &record["from"]),
            (&json!("die"), &json!("app:1"))
        );
        assert_eq!(
            (&record["time"], &record["timeNano"]),
            (&json!(5), &json!(5_000_001_000_u64))
        );
    }

    #[test]
    fn filters_choose_as_dockers_do() {
        let fits = |filter: &str, value: &str| {
            let filters = BTreeMap::from([(filter.to_owned(), vec![value.to_owned()])]);
            super::fits(&event(), &filters)
        };
        for (filter, value) in [
            ("container", "web"),
            ("container", "0123456789ab"),
            ("event", "die"),
            ("image", "app"),
            ("label", "tier=front"),
            ("type", "container"),
        ] {
            assert!(fits(filter, value), "{filter}={value}");
        }
        for (filter, value) in [("container", "0"), ("event", "start"), ("network", "web")] {
            assert!(!fits(filter, value), "{filter}={value}");
        }
    }
}
