use std::collections::BTreeMap;

use longshore_core::{Error, Result, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// The query of a request.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// A value; an empty one counts as missing.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, value)| found == key && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Docker's truth: everything but empty, `0`, `no`, `false` and `none`.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| {
            !matches!(
                value.to_ascii_lowercase().as_str(),
                "0" | "no" | "false" | "none"
            )
        })
    }

    pub(super) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        self.get(key)
            .map(|value| {
                value.parse().map_err(|_| {
                    Error::invalid(format!("invalid {key} {value:?}: expected a number"))
                })
            })
            .transpose()
    }

    /// Seconds since the epoch, with a fraction if need be, or RFC 3339.
    pub(super) fn time(&self, key: &str) -> Result<Option<Timestamp>> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        if let Some(at) = seconds(text) {
            return Ok(Some(at));
        }
        Timestamp::parse_rfc3339(text).map_err(|_| {
            Error::invalid(format!(
                "invalid {key} {text:?}: expected seconds since the epoch or RFC 3339"
            ))
        })
    }

    /// Docker's filters: a JSON map of lists, or of maps to true.
    pub(super) fn filters(&self) -> Result<BTreeMap<String, Vec<String>>> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            List(Vec<String>),
            Map(BTreeMap<String, bool>),
        }
        let Some(text) = self.get("filters") else {
            return Ok(BTreeMap::new());
        };
        let parsed: BTreeMap<String, Values> = json(text.as_bytes(), "filters")?;
        let values = |values| match values {
            Values::List(list) => list,
            Values::Map(map) => map
                .into_iter()
                .filter_map(|(key, on)| on.then_some(key))
                .collect(),
        };
        Ok(parsed
            .into_iter()
            .map(|(key, found)| (key, values(found)))
            .collect())
    }
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let micros: u64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    Some(Timestamp::from_micros(
        whole.checked_mul(1_000_000)?.checked_add(micros)?,
    ))
}

/// Undoes percent-encoding; `plus` says whether `+` is a blank. What is no escape stays.
pub(super) fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (escaped, bytes[at]) {
            (Some(byte), _) => {
                decoded.push(byte);
                at += 2;
            }
            (None, b'+') if plus => decoded.push(b' '),
            (None, byte) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A JSON value; an empty body is the empty object, as for Docker.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    let bytes = if bytes.trim_ascii().is_empty() {
        b"{}"
    } else {
        bytes
    };
    serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid(format!("invalid {what}: {error}")).with_source(error))
}

/// A JSON object.
pub(super) fn object(bytes: &[u8], what: &str) -> Result<Value> {
    let value: Value = json(bytes, what)?;
    match value {
        Value::Object(_) => Ok(value),
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        _ => Err(Error::invalid(format!(
            "invalid {what}: expected a JSON object"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries_are_read_as_docker_reads_them() {
        let query = Query::parse("a=1&b=no&c=x%20y+z&d=&e");
        assert!(query.flag("a") && !query.flag("b") && !query.flag("d") && !query.flag("e"));
        assert_eq!(query.get("c"), Some("x y z"));
        assert!(query.number::<u32>("c").is_err());
    }

    #[test]
    fn filters_come_in_two_forms() {
        let query = Query::parse("filters=%7B%22a%22:%5B%22x%22%5D,%22b%22:%7B%22y%22:true%7D%7D");
        let filters = query.filters().unwrap();
        assert_eq!(
            (&filters["a"][..], &filters["b"][..]),
            (&["x".into()][..], &["y".into()][..])
        );
        assert!(Query::parse("filters=nope").filters().is_err());
    }

    #[test]
    fn times_come_in_two_forms() {
        let time = |text: &str| {
            Query::parse(&format!("t={text}"))
                .time("t")
                .unwrap()
                .unwrap()
        };
        assert_eq!(time("5.25"), Timestamp::from_micros(5_250_000));
        assert_eq!(time("5.123456789"), Timestamp::from_micros(5_123_456));
        assert_eq!(time("1970-01-01T00:00:05Z"), Timestamp::from_secs(5));
        assert!(Query::parse("t=soon").time("t").is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_read_without_panic(text in ".*") {
            let query = Query::parse(&text);
            let _ = (query.filters(), query.time("t"));
        }
    }
}
