use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{Router, body::Body as AxumBody};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Body as _, upgrade::OnUpgrade};
use longshore_core::{
    Access, Action, AuditOutcome, BoxFuture, Error, ErrorKind, Identity, Target, http::empty_body,
};
use tower_service::Service;

use super::{
    EndpointOptions, Payload, Shared,
    call::{Call, OnNode, RecordsItself, empty},
    containers, create,
    error::{ApiError, ApiResult},
    events, exec, explain, guard, images, info, inspect, list,
    listen::TapState,
    networks, pending, prune,
    query::Query,
    record::{self, Made, Record},
    replica,
    route::{ContainerOp, ImageOp, NetworkOp, Route, StackOp, VolumeOp},
    stacks, system,
    upload::Upload,
    version, volumes,
};
use crate::{ContainerView, ControlPlane};

/// The endpoint as a router, to be mounted in a program's own server or merged with its routes.
/// [`EndpointService`] says what such a program has to see to.
pub fn router(plane: ControlPlane, options: EndpointOptions) -> Router {
    Router::new().fallback_service(EndpointService::new(plane, options))
}

/// The endpoint by itself, to be served by [`serve`](super::serve) or any other HTTP/1.1 server.
/// Clones are one endpoint.
///
/// A program that serves it says who asks by an [`Identity`] in the request's extensions; without
/// one the caller is `anonymous`. Only [`serve`](super::serve) checks on plain TCP that a request
/// names this machine (`Host`), which keeps web pages out that turn their own name to it: a program
/// that serves plain TCP by itself has to do so, too. Hijacked streams need the server's upgrade
/// support.
#[derive(Clone)]
pub struct EndpointService(Arc<Shared>);

impl EndpointService {
    /// The endpoint of a control plane.
    pub fn new(plane: ControlPlane, options: EndpointOptions) -> Self {
        Self(Arc::new(Shared {
            list: list::ListCache::default(),
            descriptions: super::Descriptions::default(),
            primary: replica::LastPrimary::default(),
            platforms: create::PlatformCache::default(),
            strays: create::StraySearches::default(),
            pending: pending::PendingWork::default(),
            execs: exec::ExecOwners::new(options.exec_capacity),
            plane,
            options,
        }))
    }
}

impl fmt::Debug for EndpointService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointService")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

impl Service<Request<AxumBody>> for EndpointService {
    type Response = Response<AxumBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<AxumBody>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { Ok(handle(shared, request).await.map(AxumBody::new)) })
    }
}

async fn handle(shared: Arc<Shared>, request: Request<AxumBody>) -> Response<Payload> {
    let admitted = guard::check(&request, shared.options.cors);
    let call = take_apart(&shared, request);
    let asked = call.version;
    let head_only = call.method == Method::HEAD;
    let answered = match admitted {
        Ok(()) => answer(&shared, call).await,
        Err(error) => Err(error),
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(status = %error.status(), reason = error.reason(), message = error.message(), "request failed");
            error.into_response(asked)
        }
    };
    if head_only && !response.status().is_success() {
        *response.body_mut() = empty_body();
    }
    response.extensions_mut().clear();
    let headers = response.headers_mut();
    if let Ok(version) = HeaderValue::from_str(&shared.options.api_version.to_string()) {
        headers.insert(HeaderName::from_static("api-version"), version);
    }
    let mut put = |name: &'static str, value: &'static str| {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    };
    put("docker-experimental", "false");
    put("ostype", "linux");
    put("server", SERVER);
    if shared.options.cors {
        put("access-control-allow-origin", "*");
        put(
            "access-control-allow-headers",
            "Origin, X-Requested-With, Content-Type, Accept",
        );
        put(
            "access-control-allow-methods",
            "GET, POST, DELETE, PUT, OPTIONS, HEAD",
        );
    }
    response
}

fn take_apart(shared: &Shared, request: Request<AxumBody>) -> Call {
    let (mut parts, body) = request.into_parts();
    let (version, path) = version::strip(parts.uri.path());
    let path = path.to_owned();
    let raw_query = parts.uri.query().unwrap_or("").to_owned();
    let body = if body.is_end_stream() {
        empty_body()
    } else {
        body.map_err(|error| Error::closed("the request body broke off").with_source(error))
            .boxed_unsync()
    };
    let (upload, clock) = (Upload::default(), shared.plane.clock());
    let body = upload.watch(body, Arc::clone(clock), shared.options.body_idle_limit);
    let tap = parts.extensions.remove::<Arc<TapState>>();
    Call {
        who: parts
            .extensions
            .remove::<Identity>()
            .unwrap_or_else(|| Identity::new("anonymous", "none")),
        upgrade: parts.extensions.remove::<OnUpgrade>(),
        legacy: tap.is_some_and(|tap| tap.is_legacy()),
        method: parts.method,
        version,
        path,
        query: Query::parse(&raw_query),
        raw_query,
        headers: parts.headers,
        body: Mutex::new(body),
        upload,
        parsed: None,
        detail: String::new(),
        leave: None,
        primary: None,
        found: None,
        meant: None,
    }
}

async fn answer(shared: &Arc<Shared>, mut call: Call) -> ApiResult {
    let options = &shared.options;
    if let Some(asked) = call.version {
        version::check(asked, options.min_api_version, options.max_api_version)?;
    }
    if options.cors && call.method == Method::OPTIONS {
        return Ok(empty(StatusCode::OK));
    }
    let route = Route::parse(&call.method, &call.path)
        .ok_or_else(|| ApiError::not_found("page not found"))?;
    guard::check_type(&route, &mut call)?;
    if !route.is_local() {
        // Here, so that a client which leaves while nobody leads is not waited for.
        call.primary = shared.primary_elsewhere().await?;
    }
    let Some(action) = route.action() else {
        return dispatch(shared, call, route).await;
    };
    if action == Action::Read {
        call.found = shared.found(&route);
        let target = target_of(&route, call.found.as_deref());
        let leave = shared.authorize(&call.who, action, &target).await;
        leave.map_err(|error| refused(&error))?;
        return dispatch(shared, call, route).await;
    }
    // What changes something is carried through also when the client goes away, so that the record
    // says how it ended and no half-made thing stays behind.
    let task = {
        let shared = Arc::clone(shared);
        async move { recorded(&shared, call, route, action).await }
    };
    match shared.plane.shutdown().spawn(task).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::internal("the request handler failed")),
    }
}

/// Asks for leave, records the start, does it, records the end.
async fn recorded(shared: &Arc<Shared>, mut call: Call, route: Route, action: Action) -> ApiResult {
    let mut target = shared.target(&route);
    if let Route::PendingCancel(reference) = &route {
        let meant = pending::meant(shared, call.primary.as_ref(), reference).await?;
        target = meant.1.unwrap_or(target);
        call.meant = Some(meant.0);
    }
    let logged = record::target(&call, &route, &target);
    let mut record = Record::new(&call, action, logged.clone());
    let leave = match shared.authorize(&call.who, action, &target).await {
        Ok(access) if route == Route::PendingEnqueue => {
            pending::may_ask(shared, &call).await.map(|()| access)
        }
        leave => leave,
    };
    match leave {
        Ok(access) => call.leave = access.valid_for,
        Err(error) => {
            let outcome = AuditOutcome::Denied(error.to_string());
            if let Err(failure) = record.write(shared, outcome, None).await {
                tracing::error!(%failure, "a denied call could not be recorded");
            }
            return Err(refused(&error));
        }
    }
    let mut looked = record::look_into(shared, &mut call, &route).await;
    if let (Ok(()), Some(_), Route::Stack(name, StackOp::Deploy)) = (&looked, &call.primary, &route)
    {
        // The primary asks about this manager.
        looked = stacks::may_deploy(shared, &mut call, name).await;
    }
    record = Record::new(&call, action, logged);
    if let Err(failure) = record.write(shared, AuditOutcome::Started, None).await {
        let operation = record.operation();
        tracing::error!(error = %failure.chain(), %operation, "refused: it can't be recorded");
        return Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "audit",
            format!("refused, because the audit log can't be written: {failure}"),
        ));
    }
    let result = match looked {
        Ok(()) => Box::pin(dispatch(shared, call, route)).await,
        Err(error) => Err(error),
    };
    let (outcome, node) = match &result {
        Ok(response) if response.extensions().get::<RecordsItself>().is_some() => return result,
        Ok(response) => {
            if let Some(made) = response.extensions().get::<Made>() {
                record.made(&made.0);
            }
            let node = response.extensions().get::<OnNode>();
            (AuditOutcome::Done, node.map(|node| node.0.as_str()))
        }
        Err(error) => (AuditOutcome::Failed(error.message().to_owned()), None),
    };
    if let Err(failure) = record.write(shared, outcome, node).await {
        let operation = record.operation();
        tracing::error!(error = %failure.chain(), %operation, "its end could not be recorded");
    }
    result
}

pub(super) fn refused(error: &Error) -> ApiError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => ApiError::from_error(error),
        _ => ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.kind().as_str(),
            format!("it can't be decided whether this is allowed: {error}"),
        ),
    }
}

impl Shared {
    pub(super) async fn authorize(
        &self,
        who: &Identity,
        action: Action,
        target: &Target,
    ) -> Result<Access, Error> {
        self.plane.authorizer().authorize(who, action, target).await
    }

    /// What a route is about, with the labels of a container that is known.
    pub(super) fn target(&self, route: &Route) -> Target {
        target_of(route, self.found(route).as_deref())
    }

    /// The container that a route is about, if it is known.
    fn found(&self, route: &Route) -> Option<Arc<ContainerView>> {
        match route {
            Route::Container(name, _) => self.plane.container(name).ok(),
            Route::ExecInspect(id) | Route::ExecStart(id) | Route::ExecResize(id) => {
                let owner = self.execs.owner(id)?;
                self.plane.container(owner.container.as_str()).ok()
            }
            _ => None,
        }
    }
}

fn target_of(route: &Route, container: Option<&ContainerView>) -> Target {
    let target = route.target();
    match container {
        Some(view) => target.with_labels(view.workload.labels.clone()),
        None => target,
    }
}

async fn dispatch(shared: &Arc<Shared>, call: Call, route: Route) -> ApiResult {
    let upload = call.upload.clone();
    let result = routed(shared, call, route).await;
    // Whatever the engine made of a body without an end.
    result.map_err(|error| upload.stalled().unwrap_or(error))
}

/// Whatever needs many variables waits in a box of its own: else every request, however simple, would
/// move and keep room for the most complicated one.
async fn routed(shared: &Arc<Shared>, mut call: Call, route: Route) -> ApiResult {
    if let Some(primary) = call.primary.take() {
        return Box::pin(replica::forward(shared, call, &route, primary)).await;
    }
    match route {
        Route::Ping => Ok(system::ping()),
        Route::Version => system::version(shared),
        Route::Info => info::info(shared),
        Route::Events => events::events(shared, &call),
        Route::Auth | Route::ImageSearch => Box::pin(system::any_engine(shared, call)).await,
        Route::DiskUsage => Box::pin(prune::disk_usage(shared, &call)).await,
        Route::Prune(kind) => Box::pin(prune::prune(shared, call, kind)).await,
        Route::BuildPrune => prune::build_cache(),
        Route::Build => Err(ApiError::not_implemented(
            "docker build is not served yet: build elsewhere and load or pull the image",
        )),
        Route::Containers => Box::pin(list::list(shared, &call.raw_query)).await,
        Route::ContainerCreate => Box::pin(create::create(shared, call)).await,
        Route::Commit => Box::pin(containers::commit(shared, call)).await,
        Route::Container(name, op) => container(shared, call, name, op).await,
        Route::ExecInspect(id) => Box::pin(exec::inspect(shared, call, &id)).await,
        Route::ExecStart(id) => Box::pin(exec::start(shared, call, &id)).await,
        Route::ExecResize(id) => Box::pin(exec::resize(shared, call, &id)).await,
        Route::Images => images::list(shared, &call),
        Route::ImageCreate => Box::pin(images::create(shared, call)).await,
        Route::ImageLoad => Box::pin(images::load(shared, call)).await,
        Route::ImageSaveMany => Box::pin(images::save_many(shared, call)).await,
        Route::ImageViz => Err(ApiError::not_implemented(
            "Not supported in clustering mode.",
        )),
        Route::Image(name, op) => match op {
            ImageOp::Inspect | ImageOp::History | ImageOp::Save => {
                Box::pin(images::read(shared, call, &name, op)).await
            }
            ImageOp::Push => Box::pin(images::push(shared, call, &name)).await,
            ImageOp::Tag => Box::pin(images::tag(shared, call, &name)).await,
            ImageOp::Remove => Box::pin(images::remove(shared, call, &name)).await,
        },
        Route::Networks => Box::pin(networks::list(shared, &call)).await,
        Route::NetworkCreate => Box::pin(networks::create(shared, call)).await,
        Route::Network(name, op) => match op {
            NetworkOp::Inspect => Box::pin(networks::inspect(shared, &call, &name)).await,
            NetworkOp::Remove => Box::pin(networks::remove(shared, call, &name)).await,
            NetworkOp::Connect | NetworkOp::Disconnect => {
                Box::pin(networks::attach(shared, call, &name, op)).await
            }
        },
        Route::Volumes => Box::pin(volumes::list(shared, &call)).await,
        Route::VolumeCreate => Box::pin(volumes::create(shared, call)).await,
        Route::Volume(name, op) => match op {
            VolumeOp::Inspect => Box::pin(volumes::inspect(shared, &call, &name)).await,
            VolumeOp::Remove => Box::pin(volumes::remove(shared, call, &name)).await,
        },
        Route::Explain => explain::container(shared, &call),
        Route::ExplainRequest => Box::pin(explain::request(shared, call)).await,
        Route::Nodes => explain::nodes(shared),
        Route::Stacks => stacks::list(shared),
        Route::Stack(name, op) => match op {
            StackOp::Deploy => Box::pin(stacks::deploy(shared, call, &name)).await,
            StackOp::Remove => Box::pin(stacks::remove(shared, &name)).await,
        },
        Route::Pending => pending::list(shared),
        Route::PendingEnqueue => Box::pin(pending::enqueue(shared, call)).await,
        Route::PendingCancel(work) => {
            let meant = call.meant.take().unwrap_or(pending::Meant::Nothing);
            pending::cancel(shared, &meant, &work)
        }
    }
}

async fn container(shared: &Arc<Shared>, call: Call, name: String, op: ContainerOp) -> ApiResult {
    match op {
        ContainerOp::Inspect => inspect::inspect(shared, &call, &name).await,
        ContainerOp::Start => Box::pin(containers::start(shared, call, &name)).await,
        ContainerOp::Remove => Box::pin(containers::remove(shared, call, &name)).await,
        ContainerOp::Rename => Box::pin(containers::rename(shared, call, &name)).await,
        ContainerOp::Wait => Box::pin(containers::wait(shared, call, &name)).await,
        ContainerOp::Attach | ContainerOp::AttachWebSocket => {
            Box::pin(containers::attach(shared, call, &name, op)).await
        }
        ContainerOp::ExecCreate => Box::pin(exec::create(shared, call, &name)).await,
        ContainerOp::Stop
        | ContainerOp::Restart
        | ContainerOp::Kill
        | ContainerOp::Pause
        | ContainerOp::Unpause
        | ContainerOp::Update => Box::pin(containers::change(shared, call, &name, op)).await,
        ContainerOp::Top
        | ContainerOp::Logs
        | ContainerOp::Stats
        | ContainerOp::Changes
        | ContainerOp::Export
        | ContainerOp::ArchiveRead
        | ContainerOp::ArchiveStat
        | ContainerOp::ArchiveWrite
        | ContainerOp::Copy
        | ContainerOp::Resize => Box::pin(containers::pass(shared, call, &name, op)).await,
    }
}

/// The server's name in answers.
pub(super) const SERVER: &str = concat!("longshore/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simple_request_does_not_move_the_room_of_a_complicated_one() {
        let size = size_of_future(|shared: Arc<Shared>, request| handle(shared, request));
        assert!(size <= 8192, "{size} bytes");
    }

    fn size_of_future<F>(_: impl FnOnce(Arc<Shared>, Request<AxumBody>) -> F) -> usize {
        size_of::<F>()
    }
}
