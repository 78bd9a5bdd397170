use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use longshore_core::{ClockExt, http::empty_body};
use serde::Deserialize;

use crate::{
    NodeView,
    endpoint::{
        Payload, Shared,
        call::Call,
        error::{ApiError, ApiResult},
        proxy::{request, unreachable},
        query::Query,
    },
};

/// One line of an engine's progress: text for people, or why it failed.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::endpoint) struct PullStep {
    #[serde(default)]
    pub(in crate::endpoint) status: String,
    #[serde(default)]
    pub(in crate::endpoint) stream: String,
    #[serde(default)]
    error: Option<String>,
}

/// Pulls an image on a node, with the credentials of the call that wants it.
pub(in crate::endpoint) async fn pull(
    shared: &Shared,
    call: &Call,
    node: &NodeView,
    image: &str,
    on_step: impl FnMut(&PullStep) + Send,
) -> ApiResult<()> {
    let (repository, tag) = reference_parts(image);
    let mut query = Query::default();
    query.set("fromImage", Some(repository.to_owned()));
    query.set("tag", Some(tag.to_owned()));
    if !call.query.text("platform").is_empty() {
        query.set("platform", Some(call.query.text("platform").to_owned()));
    }
    let target = shared.target_at(node, call.version, "/images/create", &query.encode());
    let mut headers = HeaderMap::new();
    if let Some(credentials) = call.headers.get("x-registry-auth") {
        headers.insert("x-registry-auth", credentials.clone());
    }
    let request = request(Method::POST, &target, &headers, empty_body())?;
    let pulling = async {
        let response = shared.send(node, None, request).await?;
        follow(shared, node, response, on_step).await
    };
    shared
        .plane
        .clock()
        .timeout(shared.options.pull_limit, "pulling an image", pulling)
        .await
        .map_err(|error| unreachable(node, &error))??;
    shared.refresh(node).await;
    Ok(())
}

/// Reads an engine's JSON lines to their end; an error among them is the whole call's.
pub(in crate::endpoint) async fn follow(
    shared: &Shared,
    node: &NodeView,
    response: http::Response<Payload>,
    mut on_step: impl FnMut(&PullStep) + Send,
) -> ApiResult<()> {
    let response = shared.relay(node, response).await?;
    let mut body = response.into_body();
    let mut lines = Lines::default();
    let mut failed = None;
    let mut take = |line: &[u8]| {
        let Ok(step) = serde_json::from_slice::<PullStep>(line) else {
            return;
        };
        match &step.error {
            Some(error) => failed = Some(error.clone()),
            None => on_step(&step),
        }
    };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreachable(node, &error))?;
        if let Ok(data) = frame.into_data() {
            lines.push(&data).iter().for_each(|line| take(line));
        }
    }
    take(&lines.rest);
    let Some(message) = failed else {
        return Ok(());
    };
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if says(&["not found", "does not exist", "manifest unknown"]) {
        return Err(ApiError::not_found(message));
    }
    // A registry that knows the user and lets him not have it will not do so later.
    let is_refused = says(&["unauthorized", "denied"]);
    let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "engine", message);
    Err(match is_refused {
        true => error.with_passing(false),
        false => error,
    })
}

/// Cuts a stream into lines; a line beyond the limit is dropped.
#[derive(Debug, Default)]
struct Lines {
    rest: BytesMut,
    overlong: bool,
}

impl Lines {
    fn push(&mut self, data: &[u8]) -> Vec<Bytes> {
        let mut lines = Vec::new();
        for byte_run in data.split_inclusive(|byte| *byte == b'\n') {
            let ends = byte_run.ends_with(b"\n");
            if self.rest.len() + byte_run.len() > MAX_LINE {
                self.rest.clear();
                self.overlong = true;
            }
            if !self.overlong {
                self.rest.extend_from_slice(byte_run);
            }
            if ends {
                let line = self.rest.split().freeze();
                if !line.is_empty() {
                    lines.push(line);
                }
                self.overlong = false;
            }
        }
        lines
    }
}

/// Repository and tag or digest of an image reference; without either the tag is `latest`.
pub(in crate::endpoint) fn reference_parts(image: &str) -> (&str, &str) {
    if let Some((repository, digest)) = image.split_once('@') {
        return (repository, digest);
    }
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, "latest"),
    }
}

const MAX_LINE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_port_is_not_a_tag() {
        assert_eq!(reference_parts("redis"), ("redis", "latest"));
        assert_eq!(reference_parts("h:5000/a/b"), ("h:5000/a/b", "latest"));
        assert_eq!(reference_parts("h:5000/a/b:1"), ("h:5000/a/b", "1"));
        assert_eq!(reference_parts("a@sha256:0f"), ("a", "sha256:0f"));
    }

    #[test]
    fn lines_come_whole_and_overlong_ones_are_dropped() {
        let mut lines = Lines::default();
        assert!(lines.push(b"{\"a\"").is_empty());
        assert_eq!(lines.push(b":1}\n{}\nx"), [&b"{\"a\":1}\n"[..], b"{}\n"]);
        assert!(lines.push(&vec![b'y'; MAX_LINE]).is_empty());
        assert_eq!(lines.push(b"z\nok\n"), [&b"ok\n"[..]]);
    }
}
