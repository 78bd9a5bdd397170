//! `GET /containers/{name}/json`: asked live, with the node added. Only the published ports are
//! read; everything else of the engine's answer passes through byte for byte.

use std::{borrow::Cow, ops::Range};

use http::{HeaderMap, Method, StatusCode};
use longshore_core::http::empty_body;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};
use serde_json::{Value, value::RawValue};

use super::{
    Shared,
    call::{Call, raw_json},
    error::{ApiError, ApiResult},
    list::is_unspecified,
    proxy::request,
};

/// What may have to change in an engine's answer, as it stands there.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "NetworkSettings")]
    settings: Option<Settings<'a>>,
    #[serde(borrow, rename = "Node", default, deserialize_with = "even_null")]
    node: Option<&'a RawValue>,
}

fn even_null<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(value).map(Some)
}

#[derive(Deserialize)]
struct Settings<'a> {
    #[serde(borrow, rename = "Ports")]
    ports: Option<&'a RawValue>,
}

pub(super) async fn inspect(shared: &Shared, call: &Call, name: &str) -> ApiResult {
    let missing = || format!("No such container {name}");
    let owned = shared.found_healthy(call, name, missing)?;
    let path = format!("/containers/{}/json", owned.id());
    let target = shared.target_at(&owned.node, call.version, &path, &call.raw_query);
    let request = request(Method::GET, &target, &HeaderMap::new(), empty_body())?;
    let asked = shared
        .ask(&owned.node, shared.options.call_limit, request)
        .await;
    let (_, body) = match asked {
        Err(error) if error.status() == StatusCode::NOT_FOUND => {
            shared.observe(&owned).await;
            return Err(ApiError::not_found(missing()));
        }
        other => other?,
    };
    let described = shared.descriptions.of(&owned.node);
    let body = decorate(&body, &owned.node.ip, &described).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_GATEWAY,
            "protocol",
            format!(
                "the answer of node {} is malformed: {error}",
                owned.node.name
            ),
        )
    })?;
    Ok(raw_json(StatusCode::OK, body))
}

/// Adds `Node` and puts the node's address in place of "all addresses" in published ports.
///
/// The answer is cut and joined, not built anew: this is on the way of every `docker inspect`, and
/// where it publishes no port it need not even be parsed.
fn decorate(body: &[u8], ip: &str, node: &[u8]) -> serde_json::Result<Vec<u8>> {
    let text = std::str::from_utf8(body).map_err(serde_json::Error::custom)?;
    let end = end_of_object(text)?;
    let mut edits: Vec<(Range<usize>, Cow<'_, [u8]>)> = Vec::with_capacity(3);
    let mut old_node = None;
    if has(body, b"\"HostIp\"") || has(body, b"\"Node\"") {
        let answer: Answer<'_> = serde_json::from_str(text)?;
        old_node = answer.node.map(|raw| span(text, raw.get()));
        let ports = answer.settings.and_then(|settings| settings.ports);
        if let Some(raw) = ports.filter(|_| !ip.is_empty()) {
            let mut value: Value = serde_json::from_str(raw.get())?;
            localize(&mut value, ip);
            let new = serde_json::to_vec(&value)?;
            edits.push((span(text, raw.get()), new.into()));
        }
    }
    if let Some(at) = old_node {
        edits.push((at, node.into()));
    } else {
        let is_empty = text[..end].trim_ascii_end().ends_with('{');
        let key: &[u8] = if is_empty {
            b"\"Node\":"
        } else {
            b",\"Node\":"
        };
        edits.extend([(end..end, key.into()), (end..end, node.into())]);
    }
    edits.sort_by_key(|(at, _)| at.start);
    let added: usize = edits.iter().map(|(_, new)| new.len()).sum();
    let mut out = Vec::with_capacity(body.len() + added);
    let mut done = 0;
    for (at, new) in edits {
        out.extend_from_slice(&body[done..at.start]);
        out.extend_from_slice(&new);
        done = at.end;
    }
    out.extend_from_slice(&body[done..]);
    Ok(out)
}

fn has(body: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(body, word).is_some()
}

/// Where the brace is that ends the answer.
fn end_of_object(text: &str) -> serde_json::Result<usize> {
    let trimmed = text.trim_ascii_end();
    if text.trim_ascii_start().starts_with('{') && trimmed.ends_with('}') {
        return Ok(trimmed.len() - 1);
    }
    // Says what is wrong with it, and where; else it is JSON, but no object.
    serde_json::from_str::<IgnoredAny>(text)?;
    Err(serde_json::Error::custom("not a JSON object"))
}

/// Where a part that was borrowed from `text` stands in it.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// IPv4's and IPv6's "all addresses" become one and the same binding.
fn localize(ports: &mut Value, ip: &str) {
    let lists = ports
        .as_object_mut()
        .into_iter()
        .flat_map(|map| map.values_mut());
    for list in lists.filter_map(Value::as_array_mut) {
        let mut seen = Vec::with_capacity(list.len());
        for mut binding in list.drain(..) {
            let address = binding.get("HostIp").and_then(Value::as_str).unwrap_or("");
            if is_unspecified(address) {
                binding["HostIp"] = ip.into();
            }
            if !seen.contains(&binding) {
                seen.push(binding);
            }
        }
        *list = seen;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: &str) {
        let out = decorate(answer.as_bytes(), "10.0.0.1", br#"{"Name":"n"}"#).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn untouched_parts_pass_byte_for_byte() {
        check(
            r#"{"Id":"a","Big":12345678901234567890,"Odd":{"b":1.0e2, "a":[ ]}} "#,
            r#"{"Id":"a","Big":12345678901234567890,"Odd":{"b":1.0e2, "a":[ ]},"Node":{"Name":"n"}} "#,
        );
        check(" { }", r#" { "Node":{"Name":"n"}}"#);
    }

    #[test]
    fn ports_and_an_older_node_are_replaced_where_they_stand() {
        let ports = r#""Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"80"}]}"#;
        let local = r#""Ports":{"80/tcp":[{"HostIp":"10.0.0.1","HostPort":"80"}]}"#;
        let settings = |ports| format!(r#""NetworkSettings":{{"A": 1,{ports}, "Z":[1.0]}}"#);
        check(
            &format!(r#"{{"Node":null,{},"Id":"a"}}"#, settings(ports)),
            &format!(r#"{{"Node":{{"Name":"n"}},{},"Id":"a"}}"#, settings(local)),
        );
        check(
            &format!(r#"{{{},"Node":{{"ID":"x"}}}}"#, settings(ports)),
            &format!(r#"{{{},"Node":{{"Name":"n"}}}}"#, settings(local)),
        );
        // The word alone, as text or deeper down, is no node.
        check(
            r#"{"Cmd":["\"Node\""],"Deep":{"Node":1}}"#,
            r#"{"Cmd":["\"Node\""],"Deep":{"Node":1},"Node":{"Name":"n"}}"#,
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for answer in ["", "[]", "null", "{\"Id\":", "nonsense", "{\"HostIp\"}"] {
            assert!(
                decorate(answer.as_bytes(), "", b"null").is_err(),
                "{answer}"
            );
        }
        assert!(decorate(b"{\"\xff\":1}", "", b"null").is_err());
    }

    #[test]
    fn all_addresses_become_the_node_s() {
        let mut ports = json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "80"},
            {"HostIp": "::", "HostPort": "80"}, {"HostIp": "127.0.0.1", "HostPort": "81"}],
            "90/tcp": null});
        localize(&mut ports, "10.0.0.1");
        assert_eq!(
            ports,
            json!({"80/tcp": [{"HostIp": "10.0.0.1", "HostPort": "80"},
                {"HostIp": "127.0.0.1", "HostPort": "81"}], "90/tcp": null})
        );
    }
}
