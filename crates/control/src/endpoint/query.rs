use std::collections::BTreeMap;

use super::error::ApiError;

/// The query part of a request, read by Docker's rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .take(MAX_PAIRS)
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The first value of a key; empty if there is none.
    pub(super) fn text(&self, key: &str) -> &str {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map_or("", |(_, value)| value)
    }

    /// Everything, in its order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// All values of a key.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// False when empty, `0`, `no`, `false` or `none`, else true.
    pub(super) fn flag(&self, key: &str) -> bool {
        let value = self.text(key).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A bad integer reads as 0.
    pub(super) fn integer(&self, key: &str) -> i64 {
        self.text(key).trim().parse().unwrap_or(0)
    }

    /// Replaces a value, or removes it.
    pub(super) fn set(&mut self, key: &str, value: Option<String>) {
        self.0.retain(|(k, _)| k != key);
        if let Some(value) = value {
            self.0.push((key.to_owned(), value));
        }
    }

    /// The `filters` parameter.
    pub(super) fn filters(&self) -> Result<Filters, ApiError> {
        Filters::parse(self.text("filters"))
    }

    /// The text again, with a leading `?` unless empty.
    pub(super) fn encode(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut out = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        for (key, value) in &self.0 {
            out.append_pair(key, value);
        }
        out.finish()
    }
}

/// Docker's `filters`: a JSON object of lists, or (since API 1.22) of maps from value to true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    fn parse(text: &str) -> Result<Self, ApiError> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Values {
            List(Vec<String>),
            Map(BTreeMap<String, bool>),
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parsed: BTreeMap<String, Values> = serde_json::from_str(text)
            .map_err(|error| ApiError::bad_request(format!("invalid filters: {error}")))?;
        Ok(Self(
            parsed
                .into_iter()
                .map(|(key, values)| {
                    let values = match values {
                        Values::List(list) => list,
                        Values::Map(map) => map
                            .into_iter()
                            .filter_map(|(value, on)| on.then_some(value))
                            .collect(),
                    };
                    (key, values)
                })
                .collect(),
        ))
    }

    /// The values of a key; a missing key and an empty list are the same.
    pub(super) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(Vec::is_empty)
    }

    /// Refuses keys outside the list, as the engine does.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(ApiError::bad_request(format!("Invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// True without values; else whether one of them satisfies the test.
    pub(super) fn any(&self, key: &str, test: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| test(value))
    }

    /// Label filters: every one must hold; `key` or `key=value`.
    pub(super) fn labels<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.values("label")
            .iter()
            .all(|wanted| match wanted.split_once('=') {
                Some((key, value)) => get(key) == Some(value),
                None => get(wanted).is_some(),
            })
    }

    /// A filter that is on or off, as `dangling=true`.
    pub(super) fn switch(&self, key: &str) -> Result<Option<bool>, ApiError> {
        let mut found = None;
        for value in self.values(key) {
            found = Some(match value.to_ascii_lowercase().as_str() {
                "1" | "true" | "t" => true,
                "0" | "false" | "f" => false,
                _ => {
                    return Err(ApiError::bad_request(format!(
                        "Invalid filter: '{key}'='{value}'"
                    )));
                }
            });
        }
        Ok(found)
    }
}

const MAX_PAIRS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_follow_swarm() {
        for off in ["", "0", "no", "false", "none", "False", " 0 "] {
            assert!(!Query::parse(&format!("a={off}")).flag("a"), "{off:?}");
        }
        for on in ["1", "true", "yes", "x"] {
            assert!(Query::parse(&format!("a={on}")).flag("a"), "{on:?}");
        }
    }

    #[test]
    fn a_bad_integer_reads_as_zero() {
        assert_eq!(Query::parse("limit=x").integer("limit"), 0);
        assert_eq!(Query::parse("limit=-1").integer("limit"), -1);
    }

    #[test]
    fn queries_print_back() {
        let mut query = Query::parse("a=1&b=x%2Fy&a=2");
        assert_eq!(query.encode(), "?a=1&b=x%2Fy&a=2");
        query.set("a", None);
        query.set("c", Some("z".into()));
        assert_eq!(query.encode(), "?b=x%2Fy&c=z");
        assert_eq!(Query::default().encode(), "");
    }

    #[test]
    fn filters_come_as_lists_or_maps() {
        let list = Filters::parse(r#"{"name":["a","b"]}"#).unwrap();
        let map = Filters::parse(r#"{"name":{"a":true,"b":true,"c":false}}"#).unwrap();
        assert_eq!(list, map);
        let error = Filters::parse("[").unwrap_err();
        assert!(error.message().starts_with("invalid filters: "));
    }

    #[test]
    fn labels_must_all_hold() {
        let filters = Filters::parse(r#"{"label":["a","b=1"]}"#).unwrap();
        let get = |key: &str| match key {
            "a" => Some(""),
            "b" => Some("1"),
            _ => None,
        };
        assert!(filters.labels(get));
        assert!(!filters.labels(|key| get(key).filter(|_| key == "a")));
    }
}
