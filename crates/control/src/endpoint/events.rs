//! `GET /events`: the engines' events as one stream, each with its node.

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::StatusCode;
use longshore_core::{EngineEvent, Timestamp, http::stream_body};
use serde_json::{Value, json};

use super::{
    Shared,
    call::{Call, raw_json},
    error::{ApiError, ApiResult},
    query::Filters,
    text::plain_value,
};
use crate::{ClusterEvent, NodeRef};

pub(super) fn events(shared: &Shared, call: &Call) -> ApiResult {
    let filters = call.query.filters()?;
    filters.only(&KNOWN)?;
    let since = moment(call, "since")?;
    let until = moment(call, "until")?;
    let clock = std::sync::Arc::clone(shared.plane.clock());
    let events = shared.plane.events(since);
    let ending = async move {
        match until {
            Some(until) => clock.sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    let past = until.is_some_and(|until| until <= shared.plane.clock().now());
    let lines = stream::unfold((events, Box::pin(ending.fuse())), move |state| async move {
        let (mut events, mut ending) = state;
        // What is kept for replay is there at once, so it goes before the end.
        let next = if past {
            events.next().now_or_never().flatten()
        } else {
            tokio::select! {
                biased;
                event = events.next() => event,
                () = &mut ending => None,
            }
        };
        next.map(|event| (event, (events, ending)))
    })
    .filter_map(move |event| {
        let kept = until.is_none_or(|until| moment_of(&event) <= until);
        let mut value = render(&event);
        let line = (kept && matches(&filters, &value)).then(|| {
            plain_value(&mut value);
            let mut line = value.to_string();
            line.push('\n');
            Ok(Bytes::from(line))
        });
        std::future::ready(line)
    });
    let mut response = raw_json(StatusCode::OK, Bytes::new());
    *response.body_mut() = stream_body(lines);
    Ok(response)
}

/// `seconds[.nanoseconds]` since the epoch.
fn moment(call: &Call, key: &str) -> ApiResult<Option<Timestamp>> {
    let text = call.query.text(key);
    if text.is_empty() {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = match seconds.parse::<u64>() {
        Ok(seconds) if digits(fraction) && fraction.len() <= 9 => {
            let nanos: u64 = format!("{fraction:0<9}").parse().unwrap_or(0);
            Some(Timestamp::from_micros(
                seconds
                    .saturating_mul(1_000_000)
                    .saturating_add(nanos / 1000),
            ))
        }
        // Zero and before: everything that is kept.
        Err(_) if seconds.parse::<i64>().is_ok_and(|seconds| seconds < 0) => Some(Timestamp::ZERO),
        _ => None,
    };
    parsed.map(Some).ok_or_else(|| {
        ApiError::bad_request(format!(
            "invalid value {text:?} for {key}: expected seconds since the epoch"
        ))
    })
}

fn moment_of(event: &ClusterEvent) -> Timestamp {
    match event {
        ClusterEvent::Engine { event, .. } => event.at,
        ClusterEvent::Node { at, .. } | ClusterEvent::Alarm { at, .. } => *at,
        _ => Timestamp::ZERO,
    }
}

fn render(event: &ClusterEvent) -> Value {
    match event {
        ClusterEvent::Engine { node, event } => decorate(native(event), node),
        ClusterEvent::Node {
            node,
            kind,
            at,
            reason,
        } => {
            let mut value = synthetic(kind.as_str(), *at);
            value["Actor"]["Attributes"]["reason"] = reason.as_str().into();
            attach(&mut value, node);
            value
        }
        ClusterEvent::Alarm { at, reason } => {
            let mut value = synthetic("alarm", *at);
            value["Actor"]["Attributes"]["reason"] = reason.as_str().into();
            value
        }
        ClusterEvent::Lost(count) => {
            let mut value = synthetic("events_lost", Timestamp::ZERO);
            value["Actor"]["Attributes"]["count"] = count.to_string().into();
            value
        }
    }
}

/// An event of the cluster itself: `from` and type are `swarm`.
fn synthetic(status: &str, at: Timestamp) -> Value {
    let mut value = json!({
        "status": status,
        "from": "swarm",
        "Type": "swarm",
        "Action": status,
        "Actor": {"ID": "", "Attributes": {}},
        "scope": "swarm",
    });
    put_time(&mut value, at);
    value
}

fn put_time(value: &mut Value, at: Timestamp) {
    value["time"] = at.as_secs().into();
    value["timeNano"] = at.as_micros().saturating_mul(1000).into();
}

/// An engine's event in Docker's form: its own record where it gave one.
fn native(event: &EngineEvent) -> Value {
    if let Some(native) = event.native.as_deref()
        && native.is_object()
    {
        return native.clone();
    }
    let mut value = json!({
        "Type": event.scope,
        "Action": event.action.as_str(),
        "Actor": {"ID": event.actor, "Attributes": event.attributes},
        "scope": "local",
    });
    if event.scope == "container" || event.scope == "image" {
        value["status"] = event.action.as_str().into();
        value["id"] = event.actor.as_str().into();
        if let Some(image) = event.attributes.get("image") {
            value["from"] = image.as_str().into();
        }
    }
    put_time(&mut value, event.at);
    value
}

fn decorate(mut value: Value, node: &NodeRef) -> Value {
    let from = value.get("from").and_then(Value::as_str).unwrap_or("");
    value["from"] = format!("{from} node:{}", node.name).into();
    attach(&mut value, node);
    value
}

fn attach(value: &mut Value, node: &NodeRef) {
    if !value["Actor"]["Attributes"].is_object() {
        value["Actor"] = json!({"ID": value["Actor"]["ID"], "Attributes": {}});
    }
    let attributes = &mut value["Actor"]["Attributes"];
    attributes["node.name"] = node.name.as_str().into();
    attributes["node.id"] = node.id.as_str().into();
    attributes["node.addr"] = node.address.as_str().into();
    attributes["node.ip"] = node.ip.as_str().into();
    value["node"] = json!({
        "Name": node.name, "Id": node.id, "Addr": node.address, "Ip": node.ip,
    });
}

/// Docker's event filters, and `node`.
fn matches(filters: &Filters, event: &Value) -> bool {
    if filters.is_empty() {
        return true;
    }
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let attribute = |name: &str| {
        event
            .pointer("/Actor/Attributes")
            .and_then(|attributes| attributes.get(name)?.as_str())
    };
    let kind = text("/Type");
    let id = text("/Actor/ID");
    let about = |wanted_kind: &str, wanted: &str| {
        kind == wanted_kind
            && (id == wanted
                || attribute("name") == Some(wanted)
                || (wanted.len() >= 12 && id.starts_with(wanted)))
    };
    filters.any("event", |wanted| {
        let action = text("/Action");
        action == wanted || action.split(": ").next() == Some(wanted)
    }) && filters.any("type", |wanted| kind == wanted)
        && filters.any("scope", |wanted| text("/scope") == wanted)
        && filters.any("container", |wanted| about("container", wanted))
        && filters.any("volume", |wanted| about("volume", wanted))
        && filters.any("network", |wanted| about("network", wanted))
        && filters.any("daemon", |wanted| about("daemon", wanted))
        && filters.any("image", |wanted| {
            let image = if kind == "image" {
                attribute("name").unwrap_or(id)
            } else {
                attribute("image").unwrap_or("")
            };
            image == wanted || image.split(':').next() == Some(wanted) || id == wanted
        })
        && filters.any("node", |wanted| {
            attribute("node.name") == Some(wanted) || attribute("node.id") == Some(wanted)
        })
        && filters.labels(attribute)
}

const KNOWN: [&str; 11] = [
    "event",
    "type",
    "scope",
    "container",
    "volume",
    "network",
    "daemon",
    "image",
    "node",
    "label",
    "plugin",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeRef {
        NodeRef {
            name: "node-1".into(),
            id: "ID".into(),
            address: "10.0.0.1:2375".into(),
            ip: "10.0.0.1".into(),
        }
    }

    #[test]
    fn an_engine_event_names_its_node() {
        let event = decorate(
            json!({"status": "start", "id": "c", "from": "redis", "Type": "container",
                "Action": "start", "Actor": {"ID": "c", "Attributes": {"image": "redis"}},
                "time": 1, "timeNano": 1}),
            &node(),
        );
        assert_eq!(
            event,
            json!({"status": "start", "id": "c", "from": "redis node:node-1", "Type": "container",
                "Action": "start", "Actor": {"ID": "c", "Attributes": {"image": "redis",
                    "node.name": "node-1", "node.id": "ID", "node.addr": "10.0.0.1:2375",
                    "node.ip": "10.0.0.1"}},
                "time": 1, "timeNano": 1,
                "node": {"Name": "node-1", "Id": "ID", "Addr": "10.0.0.1:2375", "Ip": "10.0.0.1"}})
        );
    }

    #[test]
    fn an_event_without_attributes_gets_some() {
        let event = decorate(json!({"Type": "container"}), &node());
        assert_eq!(event["Actor"]["Attributes"]["node.name"], "node-1");
        assert_eq!(event["from"], " node:node-1");
    }

    #[test]
    fn filters_choose_events() {
        let event = json!({"Type": "container", "Action": "exec_start: sh", "scope": "local",
            "Actor": {"ID": "0123456789abcdef", "Attributes": {"name": "web", "image": "r/i:1",
                "node.name": "a", "team": "x"}}});
        let check = |text: &str| {
            let query = super::super::query::Query::parse(&format!("filters={text}"));
            matches(&query.filters().unwrap(), &event)
        };
        assert!(check(r#"{"event":["exec_start"]}"#));
        assert!(!check(r#"{"event":["start"]}"#));
        assert!(check(
            r#"{"container":["web"],"type":["container"],"node":["a"]}"#
        ));
        assert!(check(r#"{"container":["0123456789ab"]}"#));
        assert!(!check(r#"{"network":["web"]}"#));
        assert!(check(r#"{"image":["r/i:1","x"]}"#));
        assert!(check(r#"{"label":["team=x"]}"#));
        assert!(!check(r#"{"label":["team=y"]}"#));
    }
}
