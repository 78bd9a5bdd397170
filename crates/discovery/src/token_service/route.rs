//! What a request's target names. Pure.

use std::time::Duration;

use http::Uri;
use longshore_core::{Error, Result};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// `None` for all clusters.
    pub(super) token: Option<String>,
    pub(super) ttl: Option<Duration>,
    pub(super) index: Option<u64>,
    pub(super) wait: Option<Duration>,
}

impl Route {
    /// Whatever path the service is mounted below, the target ends with `/clusters` or
    /// `/clusters/TOKEN`.
    pub(super) fn parse(uri: &Uri) -> Result<Self> {
        let mut parts = uri.path().trim_end_matches('/').rsplit('/');
        let (last, before) = (parts.next().unwrap_or(""), parts.next());
        let token = match (before, last) {
            (Some("clusters"), token) if is_token(token) => Some(token.to_owned()),
            (_, "clusters") => None,
            _ => return Err(Error::not_found("there is nothing here; see …/clusters")),
        };
        let mut route = Self {
            token,
            ..Self::default()
        };
        for pair in uri.query().unwrap_or("").split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = || {
                value.parse::<u64>().map_err(|_| {
                    let shown: String = value.chars().take(40).collect();
                    Error::invalid(format!("{key} is a whole number"))
                        .with_context("value", shown.escape_debug())
                })
            };
            match key {
                "ttl" => route.ttl = Some(Duration::from_secs(number()?)),
                "wait" => route.wait = Some(Duration::from_secs(number()?)),
                "index" => route.index = Some(number()?),
                _ => {}
            }
        }
        Ok(route)
    }
}

/// What may be a token: also those of other services that are moved here.
pub(crate) fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed)
}
