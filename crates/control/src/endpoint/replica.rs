//! A replica's side of the endpoint: it answers `/_ping` and `/info` itself and passes everything
//! else to the primary, hijacked streams included.
//!
//! The caller needs leave here, as everywhere; the primary then sees this manager as the caller, so
//! managers must be allowed what their clients are. A call that was passed on once is not passed on
//! again: managers that don't agree yet on who leads say so instead of playing ball.

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, future::BoxFuture, stream};
use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt;
use longshore_core::{
    Announcement, ClockExt, Endpoint, Error, Leader, LeaderElection,
    http::{HttpClient, full_body, read_body, stream_body},
};

use super::{
    Payload, Shared,
    call::{Call, OnNode},
    error::{ApiError, ApiResult},
    exec::is_detached,
    hijack::{Far, Session, hijack},
    proxy::{keep_known, request},
    route::{ContainerOp, Route},
};

/// The manager that leads, when it is another one.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    pub(super) address: String,
    pub(super) client: HttpClient,
    election: Arc<dyn LeaderElection>,
}

/// The primary that was reached last, with its pool of connections.
#[derive(Debug, Default)]
pub(super) struct LastPrimary(Mutex<Option<Primary>>);

impl Primary {
    pub(super) fn unreachable(&self, error: &Error) -> ApiError {
        let (address, error) = (&self.address, error.chain());
        ApiError::try_again(format!(
            "Unable to reach primary cluster manager ({address}): {error}"
        ))
    }

    /// Resolves when another manager leads. A time without a leader is none: the primary may win
    /// again.
    pub(super) fn replaced(&self) -> BoxFuture<'static, ()> {
        let (mut news, address) = (self.election.watch(), self.address.clone());
        Box::pin(async move {
            while let Some(leader) = news.next().await {
                match leader {
                    Leader::Nobody => {}
                    Leader::Elsewhere(other) if other == address => {}
                    _ => return,
                }
            }
            std::future::pending::<()>().await;
        })
    }
}

impl Shared {
    /// Right before something is changed on a node: the leadership with which the call was taken may
    /// be over by now.
    pub(super) fn lead(&self) -> ApiResult<()> {
        match self.plane.inner.token() {
            Ok(_) => Ok(()),
            Err(error) => Err(ApiError::try_again(error.to_string())),
        }
    }

    /// The primary, unless that is this manager. While nobody leads, waits for
    /// [`primary_limit`](super::EndpointOptions::primary_limit).
    pub(super) async fn primary_elsewhere(&self) -> ApiResult<Option<Primary>> {
        let Some(election) = self.plane.election() else {
            return Ok(None);
        };
        let limit = self.options.primary_limit;
        let leader = match election.leader() {
            Leader::Nobody => {
                let elected = elected(election);
                let clock = self.plane.clock();
                let waited = clock.timeout(limit, "the election", elected).await;
                waited.unwrap_or_default()
            }
            leader => leader,
        };
        match leader {
            Leader::Here { .. } => Ok(None),
            Leader::Elsewhere(address) => self.primary_at(address, election).await.map(Some),
            _ => Err(ApiError::try_again(format!(
                "No elected primary cluster manager: nobody has led for {limit:?}; look at the \
                 managers' logs and at their key-value store"
            ))),
        }
    }

    async fn primary_at(
        &self,
        address: String,
        election: &Arc<dyn LeaderElection>,
    ) -> ApiResult<Primary> {
        let last = || {
            self.primary
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = last().as_ref().filter(|known| known.address == address) {
            return Ok(known.clone());
        }
        let endpoint = Endpoint::from_str(&address).map_err(|error| {
            ApiError::try_again(format!(
                "No elected primary cluster manager: the leader advertises {address:?}: {}",
                error.message()
            ))
        })?;
        // Managers are reached as engines are: with the same TLS configuration.
        let manager = Announcement::new(endpoint);
        let made = self.plane.engines().engine_at(&manager);
        let engine = made.await.map_err(|error| {
            let error = error.chain();
            ApiError::internal(format!(
                "Unable to reach primary cluster manager ({address}): {error}"
            ))
        })?;
        let primary = Primary {
            client: HttpClient::new(engine.connector(), Arc::clone(self.plane.clock())),
            election: Arc::clone(election),
            address,
        };
        *last() = Some(primary.clone());
        Ok(primary)
    }
}

/// Waits until somebody leads.
async fn elected(election: &Arc<dyn LeaderElection>) -> Leader {
    let mut news = election.watch();
    while let Some(leader) = news.next().await {
        if leader != Leader::Nobody {
            return leader;
        }
    }
    std::future::pending().await
}

impl Route {
    /// Whether every manager answers this itself.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Ping | Self::Info)
    }

    fn may_hijack(&self) -> bool {
        matches!(
            self,
            Self::ExecStart(_)
                | Self::Container(_, ContainerOp::Attach | ContainerOp::AttachWebSocket)
        )
    }
}

/// Passes a call on to the primary.
pub(super) async fn forward(
    shared: &Arc<Shared>,
    mut call: Call,
    route: &Route,
    primary: Primary,
) -> ApiResult {
    let mark = HeaderValue::from_static("1");
    if call.headers.insert(FORWARDED, mark).is_some() {
        return Err(ApiError::try_again(
            "No elected primary cluster manager: the managers do not agree yet on who leads",
        ));
    }
    if let (Some(meant), Route::PendingCancel(reference)) = (call.meant.take(), route) {
        // What leave was given for, whatever the words mean by now.
        call.path = format!("/longshore/v1/pending/{}", meant.id(reference)?);
    }
    let path = call.target();
    let mut body = call.take_body();
    if route.may_hijack() && call.upgrade.is_some() {
        call.put_body(body);
        let held = call.read_body(shared).await?;
        if !matches!(route, Route::ExecStart(_)) || !is_detached(&held)? {
            let session = Session {
                target: shared.target(route),
                far: Far::Primary(primary),
                path,
                body: held,
            };
            return hijack(shared, call, session).await;
        }
        body = full_body(held);
    }
    let mut request = request(call.method.clone(), &path, &call.headers, body)?;
    request.headers_mut().insert(header::HOST, PRIMARY_HOST);
    let sent = primary.client.send(request).await;
    let mut response = sent.map_err(|error| primary.unreachable(&error))?;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if is_error && call.method != http::Method::HEAD {
        let read = shared.plane.clock().timeout(
            shared.options.call_limit,
            "waiting for the primary",
            read_body(response.into_body(), MAX_ERROR),
        );
        let body = read.await.and_then(|read| read).unwrap_or_default();
        return Err(ApiError::from_primary(status, &body));
    }
    keep_known(response.headers_mut());
    response.extensions_mut().clear();
    let name = format!("primary {}", primary.address);
    response.extensions_mut().insert(OnNode(name));
    Ok(until_replaced(response, &primary))
}

/// A body that breaks off when another manager becomes primary, so that a client which follows
/// events or a log learns of it and asks again.
fn until_replaced(response: Response<Payload>, primary: &Primary) -> Response<Payload> {
    if hyper::body::Body::size_hint(response.body())
        .exact()
        .is_some()
    {
        return response;
    }
    let replaced = primary.replaced();
    response.map(|body| {
        let pieces = body.into_data_stream();
        let state = Some((pieces, replaced));
        stream_body(stream::unfold(state, |state| async move {
            let (mut pieces, mut replaced) = state?;
            tokio::select! {
                biased;
                () = &mut replaced => {
                    let error = Error::unavailable("another manager became primary");
                    Some((Err(error), None))
                }
                piece = pieces.next() => Some((piece?, Some((pieces, replaced)))),
            }
        }))
    })
}

/// On calls that a replica passed on.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("longshore-forwarded");
/// On plain TCP an endpoint wants to be called by a name of its own machine, and a manager does not
/// know by which names the primary goes.
pub(super) const PRIMARY_HOST: HeaderValue = HeaderValue::from_static("localhost");
const MAX_ERROR: usize = 64 * 1024;
