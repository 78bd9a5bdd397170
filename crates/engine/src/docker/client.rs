use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{BollardRequest, Docker, errors::Error as BollardError};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use longshore_core::{
    Clock, ClockExt, Connector, Error, Result,
    http::{Body, HttpClient, empty_body, read_body},
};

use super::{error, version::ApiVersion};

/// One engine's HTTP API: bollard for plain typed calls, the same pooled connections directly for
/// what streams or is kept as the engine sent it.
///
/// bollard sends requests without a version in the path, decodes logs by guessing, and drops the
/// fields that it does not know; hence the second way.
pub(super) struct Client {
    docker: Docker,
    calls: Arc<Calls>,
}

impl Client {
    pub(super) fn new(connector: Arc<dyn Connector>, clock: Arc<dyn Clock>) -> Result<Self> {
        let calls = Arc::new(Calls {
            http: HttpClient::new(connector, Arc::clone(&clock)),
            clock,
            version: Mutex::new(None),
        });
        let transport = Arc::clone(&calls);
        let docker = Docker::connect_with_custom_transport(
            move |request| {
                let calls = Arc::clone(&transport);
                async move { calls.carry(request).await }
            },
            Some("http://longshore"),
            // Deadlines are ours, by the injected clock.
            NO_LIMIT.as_secs(),
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|error| Error::internal("the Docker client can't be made").with_source(error))?;
        Ok(Self { docker, calls })
    }

    pub(super) fn connector(&self) -> &Arc<dyn Connector> {
        self.calls.http.connector()
    }

    /// A call through bollard, within `limit`.
    pub(super) async fn typed<'a, T, F>(
        &'a self,
        operation: &'static str,
        limit: Duration,
        call: impl FnOnce(&'a Docker) -> F + Send,
    ) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T, BollardError>> + Send,
    {
        let call = call(&self.docker);
        let result = self.limited(limit, call).await;
        let result = result.and_then(|answer| answer.map_err(error::from_bollard));
        self.told(operation, result)
    }

    /// A call whose answer is read whole, at most `largest` bytes of it.
    pub(super) async fn read(
        &self,
        operation: &'static str,
        limit: Duration,
        method: Method,
        path: &str,
        largest: usize,
    ) -> Result<Bytes> {
        let call = async {
            let response = self.calls.send(method, path, &[]).await?;
            read_body(response.into_body(), largest).await
        };
        let result = self.limited(limit, call).await.and_then(|read| read);
        self.told(operation, result)
    }

    /// A call whose answer streams. `limit` bounds the time until its head.
    pub(super) async fn stream(
        &self,
        operation: &'static str,
        limit: Duration,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Body> {
        let call = self.calls.send(method, path, headers);
        let result = self.limited(limit, call).await.and_then(|sent| sent);
        self.told(operation, result.map(Response::into_body))
    }

    async fn limited<F>(&self, limit: Duration, call: F) -> Result<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        if limit == NO_LIMIT {
            return Ok(call.await);
        }
        let clock = &self.calls.clock;
        clock.timeout(limit, "the engine's answer", call).await
    }

    fn told<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let error = match error.context("engine") {
                Some(_) => error,
                None => error.with_context("engine", self.connector().describe()),
            };
            error.with_backend("docker").with_operation(operation)
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("http", &self.calls.http)
            .finish_non_exhaustive()
    }
}

struct Calls {
    http: HttpClient,
    clock: Arc<dyn Clock>,
    version: Mutex<Option<ApiVersion>>,
}

impl Calls {
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Response<Body>> {
        let version = self.version().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v{version}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(empty_body())
            .map_err(|error| Error::invalid("the request can't be written").with_source(error))?;
        let response = self.http.send(request).await?;
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = read_body(body, ERROR_LIMIT).await.unwrap_or_default();
        self.doubt(head.status);
        Err(error::from_status(head.status, &error::message_of(&body)))
    }

    /// A request of bollard's, in origin form and with the version that both sides speak.
    async fn carry(&self, request: BollardRequest) -> Result<Response<Incoming>, BollardError> {
        let refuse = |error: Error| BollardError::from(std::io::Error::other(error));
        let version = self.version().await.map_err(refuse)?;
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let largest = largest_answer(path);
        head.uri = Uri::try_from(format!("/v{version}{path}"))?;
        let body = body
            .map_err(|error| Error::internal("the request's body can't be read").with_source(error))
            .boxed_unsync();
        let response = self
            .http
            .send_incoming(Request::from_parts(head, body), largest)
            .await
            .map_err(refuse)?;
        self.doubt(response.status());
        Ok(response)
    }

    /// The version that both sides speak, agreed on at the first call.
    async fn version(&self) -> Result<ApiVersion> {
        if let Some(version) = *self.agreed() {
            return Ok(version);
        }
        let request = Request::get("/version")
            .body(empty_body())
            .map_err(|error| Error::internal("no request").with_source(error))?;
        let response = self.http.send(request).await?;
        let status = response.status();
        let body = read_body(response.into_body(), ERROR_LIMIT).await?;
        if !status.is_success() {
            return Err(error::from_status(status, &error::message_of(&body)));
        }
        let version = ApiVersion::negotiate(&body)?;
        *self.agreed() = Some(version);
        Ok(version)
    }

    /// An engine that refuses a request as malformed may have been replaced by another version:
    /// the next call agrees anew.
    fn doubt(&self, status: StatusCode) {
        if status == StatusCode::BAD_REQUEST {
            *self.agreed() = None;
        }
    }

    fn agreed(&self) -> std::sync::MutexGuard<'_, Option<ApiVersion>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For calls that end when their subject does.
pub(super) const NO_LIMIT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const ERROR_LIMIT: usize = 64 << 10;

/// How much an engine may answer to a call of bollard's, which reads answers whole.
fn largest_answer(path: &str) -> u64 {
    let path = path.split('?').next().unwrap_or(path);
    match path {
        "/images/json" => 16 << 20,
        // A container's inspection.
        _ if path.ends_with("/json") => 2 << 20,
        // `/info`, samples of usage, the answers to changes, errors.
        _ => 1 << 20,
    }
}
