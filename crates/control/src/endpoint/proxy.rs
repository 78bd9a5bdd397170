//! Requests to the engine of one node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use longshore_core::{
    ClockExt, Error, NodeHealth,
    http::{HttpClient, empty_body, read_body},
};
use tokio::sync::Notify;

use super::{
    Payload, Shared,
    call::{Call, OnNode},
    error::{ApiError, ApiResult},
    upload::Upload,
    version,
};
use crate::{ApiVersion, ContainerView, NodeView};

/// A container and the node it is on.
pub(super) struct Owned {
    pub(super) view: Arc<ContainerView>,
    pub(super) node: NodeView,
}

impl Owned {
    pub(super) fn id(&self) -> &str {
        self.view.workload.id.as_str()
    }
}

impl Shared {
    /// Finds a container and its node, whatever the node's health.
    pub(super) fn find(
        &self,
        reference: &str,
        missing: impl FnOnce() -> String,
    ) -> ApiResult<Owned> {
        let view = self
            .plane
            .container(reference)
            .map_err(|error| ApiError::lookup(&error, missing))?;
        self.with_node(view, reference)
    }

    fn with_node(&self, view: Arc<ContainerView>, reference: &str) -> ApiResult<Owned> {
        let node = self.plane.node(view.node.as_str()).ok_or_else(|| {
            ApiError::unavailable(format!(
                "Container {reference} running on unhealthy node {}",
                view.node_name
            ))
        })?;
        Ok(Owned { view, node })
    }

    /// As [`find`](Self::find), refused unless the node is healthy.
    pub(super) fn find_healthy(
        &self,
        reference: &str,
        missing: impl FnOnce() -> String,
    ) -> ApiResult<Owned> {
        healthy(self.find(reference, missing)?, reference)
    }

    /// As [`find_healthy`](Self::find_healthy), for the container that leave to read was given for.
    pub(super) fn found_healthy(
        &self,
        call: &Call,
        reference: &str,
        missing: impl FnOnce() -> String,
    ) -> ApiResult<Owned> {
        match &call.found {
            Some(view) => healthy(self.with_node(Arc::clone(view), reference)?, reference),
            None => self.find_healthy(reference, missing),
        }
    }

    /// Healthy nodes in natural order.
    pub(super) fn healthy_nodes(&self) -> Vec<NodeView> {
        let mut nodes = self.plane.nodes();
        nodes.retain(|node| node.health == NodeHealth::Healthy && node.http().is_some());
        nodes
    }

    pub(super) fn client<'a>(&self, node: &'a NodeView) -> ApiResult<&'a HttpClient> {
        node.http().ok_or_else(|| {
            ApiError::unavailable(format!(
                "node {} can't be reached: {}",
                node.name,
                node.error.as_deref().unwrap_or("it never connected")
            ))
        })
    }

    /// The path at the engine, in the version of the client as near as the engine can.
    pub(super) fn target_at(
        &self,
        node: &NodeView,
        asked: Option<ApiVersion>,
        path: &str,
        query: &str,
    ) -> String {
        let separator = if query.is_empty() || query.starts_with('?') {
            ""
        } else {
            "?"
        };
        match &node.info {
            Some(info) if !info.api_version.is_empty() => {
                let asked = asked.unwrap_or(self.options.api_version);
                let version = version::for_engine(asked, &info.min_api_version, &info.api_version);
                format!("/v{version}{path}{separator}{query}")
            }
            _ => format!("{path}{separator}{query}"),
        }
    }

    /// Sends a request to a node's engine and gives the head of its answer. Statuses are no errors.
    pub(super) async fn send(
        &self,
        node: &NodeView,
        limit: Option<Duration>,
        request: Request<Payload>,
    ) -> ApiResult {
        if !request.method().is_safe() {
            self.lead()?;
        }
        let client = self.client(node)?;
        let clock = self.plane.clock();
        let upload = request.extensions().get::<Upload>().cloned();
        let started = clock.now();
        let sent = match limit {
            Some(limit) => clock
                .timeout(limit, "waiting for the engine", client.send(request))
                .await
                .and_then(|sent| sent),
            None => patiently(client, request).await,
        };
        // A client that breaks its upload off says nothing about the node.
        if let Some(id) = &node.id
            && !upload.is_some_and(|upload| upload.failed())
        {
            self.plane.report(id, started, sent.as_ref().map(|_| ()));
        }
        sent.map_err(|error| unreachable(node, &error))
    }

    /// A plain question: the whole answer in memory, an error status is an error.
    pub(super) async fn ask(
        &self,
        node: &NodeView,
        limit: Duration,
        request: Request<Payload>,
    ) -> ApiResult<(http::StatusCode, bytes::Bytes)> {
        let clock = self.plane.clock();
        let exchange = async {
            let response = self.send(node, None, request).await?;
            let status = response.status();
            let body = read_body(response.into_body(), self.options.answer_limit)
                .await
                .map_err(|error| unreachable(node, &error))?;
            if !is_answer(status) {
                return Err(ApiError::from_engine(status, &body));
            }
            Ok((status, body))
        };
        clock
            .timeout(limit, "waiting for the engine", exchange)
            .await
            .map_err(|error| unreachable(node, &error))?
    }

    /// `GET`, parsed.
    pub(super) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        node: &NodeView,
        asked: Option<ApiVersion>,
        path: &str,
        query: &str,
    ) -> ApiResult<T> {
        let target = self.target_at(node, asked, path, query);
        let request = request(Method::GET, &target, &HeaderMap::new(), empty_body())?;
        let (_, body) = self.ask(node, self.options.call_limit, request).await?;
        serde_json::from_slice(&body).map_err(|error| {
            ApiError::new(
                http::StatusCode::BAD_GATEWAY,
                "protocol",
                format!(
                    "the answer of node {} to {path} is malformed: {error}",
                    node.name
                ),
            )
        })
    }

    /// Passes a call on to a node's engine under another path, body and answer streaming.
    pub(super) async fn forward(
        &self,
        node: &NodeView,
        call: &mut Call,
        path: &str,
        query: &str,
        limit: Option<Duration>,
    ) -> ApiResult {
        let target = self.target_at(node, call.version, path, query);
        let body = call.take_body();
        let mut request = request(call.method.clone(), &target, &call.headers, body)?;
        request.extensions_mut().insert(call.upload.clone());
        let response = self.send(node, limit, request).await?;
        self.relay(node, response).await
    }

    /// Turns an engine's answer into ours: only headers about the answer itself stay, an error gets
    /// our form. Nobody asked for another protocol or to be sent elsewhere.
    pub(super) async fn relay(&self, node: &NodeView, response: Response<Payload>) -> ApiResult {
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ApiError::new(
                StatusCode::BAD_GATEWAY,
                "protocol",
                format!("node {} switched protocols without being asked", node.name),
            ));
        }
        if !is_answer(status) {
            let is_head = response
                .headers()
                .contains_key("x-docker-container-path-stat");
            if !is_head {
                let body = self
                    .plane
                    .clock()
                    .timeout(
                        self.options.call_limit,
                        "waiting for the engine",
                        read_body(response.into_body(), MAX_ERROR),
                    )
                    .await
                    .and_then(|read| read)
                    .unwrap_or_default();
                return Err(ApiError::from_engine(status, &body));
            }
        }
        let mut response = response;
        keep_known(response.headers_mut());
        response.extensions_mut().clear();
        response.extensions_mut().insert(OnNode(node.name.clone()));
        Ok(response)
    }

    /// Looks at a container again after a call that changed it, so that the next list shows it.
    pub(super) async fn observe(&self, owned: &Owned) {
        let (node, id) = (&owned.view.node, &owned.view.workload.id);
        if let Err(error) = self.plane.observe_now(node, id).await {
            tracing::debug!(error = %error.chain(), %node, container = %id, "not looked at again");
        }
    }

    /// Looks at a node's containers and images again.
    pub(super) async fn refresh(&self, node: &NodeView) {
        if let Some(id) = &node.id
            && let Err(error) = self.plane.refresh_node(id).await
        {
            tracing::debug!(error = %error.chain(), node = node.name, "not looked at again");
        }
    }
}

fn healthy(owned: Owned, reference: &str) -> ApiResult<Owned> {
    if owned.node.health == NodeHealth::Healthy {
        return Ok(owned);
    }
    Err(ApiError::unavailable(format!(
        "Container {reference} running on unhealthy node {}",
        owned.node.name
    )))
}

/// Whether a status is neither an error nor something that no engine's answer has.
fn is_answer(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::NOT_MODIFIED
}

/// Drops every header that is not about the answer itself: a node has no say in what a client's
/// browser does with cookies, origins or redirects.
pub(super) fn keep_known(headers: &mut HeaderMap) {
    let given = std::mem::take(headers);
    let mut last = None;
    for (name, value) in given {
        // The name stands at its first value only.
        last = name.or(last);
        if let Some(name) = &last
            && (KNOWN.contains(name) || name.as_str().starts_with("x-docker-"))
        {
            headers.append(name.clone(), value);
        }
    }
}

/// Sends where the answer may take its time, but not by saying again and again that it will come.
pub(super) async fn patiently(
    client: &HttpClient,
    mut request: Request<Payload>,
) -> longshore_core::Result<Response<Payload>> {
    let enough = Arc::new(Notify::new());
    let (told, heard) = (Arc::clone(&enough), AtomicUsize::new(0));
    hyper::ext::on_informational(&mut request, move |_| {
        if heard.fetch_add(1, Ordering::Relaxed) == MAX_INFORMATIONAL {
            told.notify_one();
        }
    });
    tokio::select! {
        biased;
        () = enough.notified() => Err(Error::protocol(format!(
            "more than {MAX_INFORMATIONAL} provisional answers came before the answer"
        ))),
        sent = client.send(request) => sent,
    }
}

/// A request to an engine with the client's headers, as far as they are about the request itself.
pub(super) fn request<B>(
    method: Method,
    target: &str,
    headers: &HeaderMap,
    body: B,
) -> ApiResult<Request<B>> {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .body(body)
        .map_err(|error| ApiError::bad_request(format!("invalid request target: {error}")))?;
    for (name, value) in headers {
        if !HOP_BY_HOP.contains(name) && !PRIVATE.contains(name) {
            request.headers_mut().append(name.clone(), value.clone());
        }
    }
    Ok(request)
}

pub(super) fn unreachable(node: &NodeView, error: &Error) -> ApiError {
    let status = match error.kind() {
        longshore_core::ErrorKind::Timeout => http::StatusCode::GATEWAY_TIMEOUT,
        _ => http::StatusCode::INTERNAL_SERVER_ERROR,
    };
    let unreachable = ApiError::new(
        status,
        error.kind().as_str(),
        format!("node {} can't be reached: {}", node.name, error.chain()),
    );
    match error.operation() {
        // Nothing was sent.
        Some("http.connect") => unreachable,
        _ => unreachable.with_answer_lost(),
    }
}

/// Headers that belong to one connection.
pub(super) const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Headers of a request that are not the engine's business, or that the HTTP library sets.
const PRIVATE: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::ORIGIN,
    header::REFERER,
    HeaderName::from_static("sec-fetch-site"),
    header::EXPECT,
    header::CONTENT_LENGTH,
];

/// Headers of an answer that clients may see.
const KNOWN: [HeaderName; 12] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::PRAGMA,
    header::RETRY_AFTER,
    header::WARNING,
];
const MAX_INFORMATIONAL: usize = 64;
const MAX_ERROR: usize = 64 * 1024;
