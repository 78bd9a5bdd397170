//! Images that go to every node: pull, load, import. Each engine's part is independent: one that
//! fails or stalls does not cut the others short.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, channel::mpsc, stream::FuturesUnordered};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt;
use longshore_core::{
    ClockExt,
    http::{empty_body, stream_body},
};
use serde_json::json;

use crate::{
    NodeView,
    endpoint::{
        Payload, Shared,
        call::{Call, raw_json},
        create::{follow, pull},
        error::{ApiError, ApiResult},
        proxy::request,
        text::prose_value,
    },
};

/// `POST /images/create`: a pull on all nodes, or an import.
pub(in crate::endpoint) async fn create(shared: &Arc<Shared>, call: Call) -> ApiResult {
    let source = call.query.text("fromSrc").to_owned();
    if !source.is_empty() {
        return spread(shared, call, "/images/create", "Import").await;
    }
    let image = call.query.text("fromImage");
    if image.is_empty() {
        return Err(ApiError::bad_request("the image's name is missing"));
    }
    let tag = call.query.text("tag");
    let image = match tag {
        "" => image.to_owned(),
        digest if digest.contains(':') => format!("{image}@{digest}"),
        tag => format!("{image}:{tag}"),
    };
    let nodes = targets(shared)?;
    let (lines, answer) = mpsc::channel::<Bytes>(64);
    let task = pull_everywhere(Arc::clone(shared), call, nodes, image, lines);
    shared.plane.shutdown().spawn_until(task);
    let mut response = raw_json(StatusCode::OK, Bytes::new());
    *response.body_mut() = stream_body(answer.map(Ok));
    Ok(response)
}

fn targets(shared: &Shared) -> ApiResult<Vec<NodeView>> {
    let nodes = shared.healthy_nodes();
    if nodes.is_empty() {
        return Err(ApiError::unavailable(
            "No healthy node available in the cluster",
        ));
    }
    Ok(nodes)
}

fn line(value: &serde_json::Value) -> Bytes {
    let mut value = value.clone();
    prose_value(&mut value);
    format!("{value}\r\n").into()
}

/// Ends early when the client stops listening.
async fn pull_everywhere(
    shared: Arc<Shared>,
    call: Call,
    nodes: Vec<NodeView>,
    image: String,
    mut lines: mpsc::Sender<Bytes>,
) {
    let pulls: FuturesUnordered<_> = nodes
        .iter()
        .map(|node| {
            let mut progress = lines.clone();
            let (shared, call, image) = (&shared, &call, &image);
            async move {
                let start = json!({"id": node.name, "status": format!("Pulling {image}...")});
                let _ = progress.send(line(&start)).await;
                let result = pull(shared, call, node, image, |step| {
                    let status = format!("Pulling {image}... : {}", step.status);
                    // Progress is for people: what does not fit is left out.
                    let _ = progress.try_send(line(&json!({"id": node.name, "status": status})));
                })
                .await;
                (node, result)
            }
        })
        .collect();
    let mut outcomes = Outcomes::default();
    let mut pulls = pulls;
    while let Some((node, result)) = pulls.next().await {
        let said = match &result {
            Ok(()) => format!("Pulling {image}... : downloaded"),
            Err(error) => format!("Pulling {image}... : {}", error.message()),
        };
        outcomes.add(node, &result);
        let said = json!({"id": node.name, "status": said});
        if lines.send(line(&said)).await.is_err() {
            return;
        }
    }
    if let Some(last) = outcomes.error() {
        let _ = lines.send(line(&last)).await;
    }
}

/// What became of a call to all nodes.
#[derive(Debug, Default)]
struct Outcomes {
    succeeded: usize,
    errors: Vec<(String, String)>,
}

impl Outcomes {
    fn add(&mut self, node: &NodeView, result: &ApiResult<()>) {
        match result {
            Ok(()) => self.succeeded += 1,
            Err(error) => self
                .errors
                .push((node.name.clone(), error.message().to_owned())),
        }
    }

    /// The last line of the answer; none if some node succeeded and all others only run another
    /// system than the image is for.
    fn error(&self) -> Option<serde_json::Value> {
        let only_mismatches = self
            .errors
            .iter()
            .all(|(_, message)| mismatch(message).is_some() || is_mismatch(message));
        if self.errors.is_empty() || (self.succeeded > 0 && only_mismatches) {
            return None;
        }
        let lines: Vec<String> = self
            .errors
            .iter()
            .map(|(node, message)| format!("{node}: {message}"))
            .collect();
        let message = lines.join("\n");
        Some(json!({"errorDetail": {"message": message}, "error": message}))
    }
}

fn is_mismatch(message: &str) -> bool {
    message.contains("no matching manifest for")
        || message.contains("cannot be used on this platform")
}

/// `cannot load X image on Y`.
fn mismatch(message: &str) -> Option<(&str, &str)> {
    let rest = message.split_once("cannot load ")?.1;
    let (image, engine) = rest.split_once(" image on ")?;
    Some((image, engine.trim()))
}

/// `POST /images/load`.
pub(in crate::endpoint) async fn load(shared: &Arc<Shared>, call: Call) -> ApiResult {
    spread(shared, call, "/images/load", "Load").await
}

/// Copies the body to all engines.
async fn spread(shared: &Arc<Shared>, mut call: Call, path: &str, verb: &str) -> ApiResult {
    let nodes = targets(shared)?;
    let body = call.take_body();
    let has_body = call.query.text("fromSrc").is_empty() || call.query.text("fromSrc") == "-";
    let mut sinks = Vec::with_capacity(nodes.len());
    let mut uploads = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let (sink, source) = mpsc::channel::<longshore_core::Result<Bytes>>(AHEAD);
        let body = if has_body {
            stream_body(source)
        } else {
            empty_body()
        };
        sinks.push((node.name.clone(), sink));
        uploads.push(upload(shared, &call, node, path, body));
    }
    let feeding = async {
        if has_body {
            feed(shared, body, sinks).await
        } else {
            drop(sinks);
            Ok(())
        }
    };
    let (fed, results) = tokio::join!(feeding, futures::future::join_all(uploads));
    fed?;
    let mut outcomes = Outcomes::default();
    let mut answer = Vec::new();
    for (node, result) in nodes.iter().zip(results) {
        let what = match verb {
            "Load" => "Loading Image...",
            _ => "Importing Image...",
        };
        let said = match &result {
            Ok(said) if said.is_empty() => what.to_owned(),
            Ok(said) => format!("{what} : {said}"),
            Err(error) => match mismatch(error.message()) {
                Some((image, engine)) => format!(
                    "{verb} skipped because image is for {image} and engine is running {engine}"
                ),
                None => format!("{what} : {}", error.message()),
            },
        };
        outcomes.add(node, &result.map(|_| ()));
        answer.extend_from_slice(&line(&json!({"id": node.name, "status": said})));
    }
    if let Some(last) = outcomes.error() {
        answer.extend_from_slice(&line(&last));
    }
    futures::future::join_all(nodes.iter().map(|node| shared.refresh(node))).await;
    Ok(raw_json(StatusCode::OK, answer))
}

/// Sends one engine its copy; gives what it said last.
async fn upload(
    shared: &Shared,
    call: &Call,
    node: &NodeView,
    path: &str,
    body: Payload,
) -> ApiResult<String> {
    let target = shared.target_at(node, call.version, path, &call.raw_query);
    let mut headers = HeaderMap::new();
    for name in [header::CONTENT_TYPE] {
        if let Some(value) = call.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let mut request = request(Method::POST, &target, &headers, body)?;
    request.extensions_mut().insert(call.upload.clone());
    let sending = async {
        let response = shared.send(node, None, request).await?;
        let mut last = String::new();
        follow(shared, node, response, |step| {
            let text = match step.stream.trim() {
                "" => step.status.trim(),
                stream => stream,
            };
            if !text.is_empty() {
                text.clone_into(&mut last);
            }
        })
        .await?;
        Ok(last)
    };
    shared
        .plane
        .clock()
        .timeout(shared.options.pull_limit, "loading an image", sending)
        .await
        .map_err(|error| ApiError::from_error(&error))?
}

/// Hands each piece of the body to every engine that still takes it. One that takes nothing for
/// [`STALL`] is given up.
async fn feed(
    shared: &Shared,
    mut body: Payload,
    mut sinks: Vec<(String, mpsc::Sender<longshore_core::Result<Bytes>>)>,
) -> ApiResult<()> {
    let clock = shared.plane.clock();
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data(),
            Err(error) => {
                // Half an image must not look like a whole one.
                for (_, sink) in &mut sinks {
                    let broken = longshore_core::Error::closed("the upload broke off");
                    let _ = clock
                        .timeout(STALL, "ending an upload", sink.send(Err(broken)))
                        .await;
                }
                return Err(ApiError::bad_request(format!(
                    "the request body is truncated: {error}"
                )));
            }
        };
        let Ok(data) = data else { continue };
        let sends = sinks.iter_mut().map(|(name, sink)| {
            let data = data.clone();
            async move {
                let sent = clock.timeout(STALL, "an upload", sink.send(Ok(data))).await;
                let taken = matches!(sent, Ok(Ok(())));
                if !taken {
                    tracing::info!(node = name, "takes no more of the upload");
                    let stalled = longshore_core::Error::closed("the upload stalled");
                    let _ = sink.try_send(Err(stalled));
                }
                taken
            }
        });
        let taken = futures::future::join_all(sends).await;
        let mut taken = taken.into_iter();
        sinks.retain(|_| taken.next().unwrap_or(false));
        if sinks.is_empty() {
            break;
        }
    }
    Ok(())
}

const AHEAD: usize = 16;
const STALL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(succeeded: usize, errors: &[&str]) -> Outcomes {
        Outcomes {
            succeeded,
            errors: errors
                .iter()
                .map(|message| ("n".to_owned(), (*message).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn only_other_systems_are_no_error_where_one_succeeded() {
        assert_eq!(
            mismatch("cannot load linux image on windows"),
            Some(("linux", "windows"))
        );
        let other = "cannot load linux image on windows";
        assert!(outcomes(1, &[other]).error().is_none());
        assert!(outcomes(0, &[other]).error().is_some());
        assert!(outcomes(1, &[other, "disk full"]).error().is_some());
        assert!(outcomes(2, &[]).error().is_none());
        assert_eq!(
            outcomes(1, &["disk full"]).error(),
            Some(json!({"errorDetail": {"message": "n: disk full"}, "error": "n: disk full"}))
        );
    }
}
