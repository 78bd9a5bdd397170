//! The same question to many engines at a time.

use futures::{StreamExt, stream};
use http::{HeaderMap, Method};
use longshore_core::http::full_body;
use serde::de::DeserializeOwned;

use super::{Shared, error::ApiResult, proxy::request};
use crate::{ApiVersion, NodeView};

/// One node's part of an answer.
#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) node: NodeView,
    pub(super) result: ApiResult<T>,
}

/// Runs a question against each node, a bounded number at a time, answers in the nodes' order.
pub(super) async fn each<T, F>(nodes: Vec<NodeView>, ask: impl Fn(NodeView) -> F) -> Vec<Part<T>>
where
    F: Future<Output = ApiResult<T>>,
{
    stream::iter(nodes)
        .map(|node| {
            let answer = ask(node.clone());
            async move {
                Part {
                    node,
                    result: answer.await,
                }
            }
        })
        .buffered(AT_A_TIME)
        .collect()
        .await
}

/// `GET` on all healthy nodes; nodes that fail are left out, with a line in the log.
pub(super) async fn get_all<T: DeserializeOwned>(
    shared: &Shared,
    asked: Option<ApiVersion>,
    path: &str,
    query: &str,
) -> (Vec<(NodeView, T)>, Vec<String>) {
    let parts = each(shared.healthy_nodes(), |node| async move {
        shared.get::<T>(&node, asked, path, query).await
    })
    .await;
    let mut answers = Vec::with_capacity(parts.len());
    let mut failures = Vec::new();
    for part in parts {
        match part.result {
            Ok(answer) => answers.push((part.node, answer)),
            Err(error) => {
                tracing::debug!(
                    node = part.node.name,
                    path,
                    message = error.message(),
                    "left out"
                );
                failures.push(format!("{}: {}", part.node.name, error.message()));
            }
        }
    }
    (answers, failures)
}

/// The same small request with a body to each of these nodes.
pub(super) async fn send_each(
    shared: &Shared,
    nodes: Vec<NodeView>,
    asked: Option<ApiVersion>,
    method: Method,
    (path, query): (&str, &str),
    headers: &HeaderMap,
    body: bytes::Bytes,
) -> Vec<Part<(http::StatusCode, bytes::Bytes)>> {
    each(nodes, |node| {
        let (method, body) = (method.clone(), body.clone());
        async move {
            let target = shared.target_at(&node, asked, path, query);
            let request = request(method, &target, headers, full_body(body))?;
            shared.ask(&node, shared.options.work_limit, request).await
        }
    })
    .await
}

const AT_A_TIME: usize = 64;
