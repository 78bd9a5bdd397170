//! A gateway: the wire protocols over WebSocket, in front of one [`SessionHub`].
//!
//! | path | protocol |
//! | --- | --- |
//! | `/v1/exec` | [`longshore.exec.v1`](crate::protocol::native) |
//! | `/enter`, `/attach`, with `?method=web` as JSON, `/api/sessions/{id}/replay` | [LAIN Entry](crate::protocol::lain) |
//! | `/api/ping`, `/api/sessions`, `/api/commands` (no WebSocket) | LAIN Entry's HTTP API, over a [`RecordStore`] |
//! | `/api/config`, `/api/authorize`, `/api/logout` (no WebSocket) | the same, for pages whose users sign on, over a [`SignOn`] |
//! | `/api/v1/namespaces/{ns}/pods/{pod}/exec` and `attach` | [Kubernetes](crate::protocol::kubernetes) v5 and v4 |
//! | `/v1/sessions`, `/v1/sessions/{id}/signal`, `/v1/sessions/{id}` (no WebSocket) | sessions that go on, see below |
//! | `/ws?target=…`, `/token` | [ttyd's page](crate::protocol::ttyd) |
//! | `/terminal/` | no protocol: the files of a [web terminal](crate::web), if there is one |
//!
//! `/api/sessions` and `/api/commands` take what LAIN's do (`session_id`, `user`, `app_name`,
//! `since`, `limit`, `offset`, `content`), and `container`, `node`, `command`, `cleanup` and `until`; what each
//! means is [`SessionQuery`](crate::record::SessionQuery)'s.
//!
//! A replay takes `speed=2` (times as fast) and `idle=1.5` (seconds that a pause has at most).
//! `format=asciicast` gives the whole record at once instead, as
//! [asciicast](crate::record::AsciicastWriter), a line a text message, and closes with 1000 behind its
//! last line; both are looking on at the session's record, and on the audit record as `exec.replay`.
//!
//! `GET /v1/sessions` lists the sessions that go on, recorded or not, with the fields of `/api/sessions`
//! and `is_held` and `connections`; leave is asked for as for the records, to read
//! [`Place::Records`]. `POST /v1/sessions/{id}/signal?signal=TERM` sends a session's process a signal:
//! when it is answered, the signal is on its way. `DELETE /v1/sessions/{id}?why=…` ends a session as
//! `ended-by-operator`, and its client is told why. Both take leave to enter
//! [`Place::Session`], as it takes to type there, and are on the audit record as
//! `exec.signal` and `exec.end`.
//!
//! Tokens come in a header, a cookie or the first message, never in a URL.
//!
//! What is on its way to a client is bounded by its acknowledgements, or by its answers to pings where
//! its protocol has none, so no kernel buffer on the way holds more than about a quarter of a second's
//! worth. A server of one's own should set `TCP_NODELAY`, and `TCP_NOTSENT_LOWAT` to a few ten thousand
//! bytes if it serves other things on the same connections, as longshore's endpoint does.

mod admit;
mod export;
mod first;
mod held;
mod history;
mod kubernetes;
mod lain;
mod live;
mod liveness;
mod native;
mod options;
mod pump;
mod receipts;
mod refill;
mod replay;
mod route;
mod sign_on;
mod socket;
mod ttyd;
mod waiting;

use std::{net::IpAddr, pin::pin, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use longshore_core::{AuditSink, Clock, Error, ErrorKind, Identity, Result, Shutdown};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use options::GatewayOptions;

use self::{
    first::FirstBound,
    history::Question,
    live::LiveQuestion,
    route::Route,
    sign_on::{MOST_SIGN_ONS, SignOnRoute},
    waiting::{Waiting, WaitingRoom},
};
use crate::{
    access::{AccessControl, Credentials, Directory, NobodyMay, OriginCheck, Place, SignOn},
    record::RecordStore,
    session::{RecordingSource, SessionHub},
    web::{self, Assets},
};

/// The gateway, as a function from request to response: mount it in any HTTP server that can hand
/// over upgraded connections, below any path that it strips. Clones share everything.
///
/// Until [`with_access`](Self::with_access) nobody may get in.
///
/// ```
/// # use std::{net::IpAddr, sync::Arc};
/// # use longshore_core::{OsRandom, Shutdown, SystemClock};
/// # use longshore_exec::{ScriptedExec, access::{AnybodyMay, StaticDirectory}, gateway::Gateway, session::SessionHub};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), http::Error> {
/// let clock = Arc::new(SystemClock::new());
/// let shutdown = Shutdown::new();
/// let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone());
/// let directory = StaticDirectory::new().with_engine(Arc::new(ScriptedExec::new()));
/// let gateway = Gateway::new(hub, Arc::new(directory), clock, shutdown)
///     .with_access(Arc::new(AnybodyMay));
///
/// // In axum: axum::Router::new().fallback(move |request| async move { gateway.handle(request).await })
/// let answer = gateway.handle(http::Request::get("/v1/exec").body(())?).await;
/// assert_eq!(answer.status(), 426);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Gateway {
    shared: Shared,
}

#[derive(Clone, Debug)]
struct Shared {
    hub: SessionHub,
    directory: Arc<dyn Directory>,
    access: Arc<dyn AccessControl>,
    audit: Option<Arc<dyn AuditSink>>,
    recordings: Option<Arc<dyn RecordingSource>>,
    records: Option<Arc<dyn RecordStore>>,
    page: Option<Arc<dyn Assets>>,
    sign_on: Option<Arc<dyn SignOn>>,
    sign_ons: Arc<Semaphore>,
    origin: OriginCheck,
    options: Arc<GatewayOptions>,
    connections: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    waiting: Arc<WaitingRoom>,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
}

impl Gateway {
    /// A gateway that lets nobody in yet. Its connections end with the shutdown.
    pub fn new(
        hub: SessionHub,
        directory: Arc<dyn Directory>,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Self {
        let options = GatewayOptions::default();
        Self {
            shared: Shared {
                hub,
                directory,
                access: Arc::new(NobodyMay),
                audit: None,
                recordings: None,
                records: None,
                page: None,
                sign_on: None,
                sign_ons: Arc::new(Semaphore::new(MOST_SIGN_ONS)),
                origin: OriginCheck::new(),
                connections: Arc::new(Semaphore::new(options.connections)),
                turned_away: Arc::new(Semaphore::new(MOST_TURNED_AWAY)),
                waiting: Arc::new(WaitingRoom::new(options.waiting)),
                options: Arc::new(options),
                clock,
                shutdown,
            },
        }
    }

    /// Says who may get in.
    #[must_use]
    pub fn with_access(mut self, access: Arc<dyn AccessControl>) -> Self {
        self.shared.access = access;
        self
    }

    /// Keeps a record of who opened, attached to, watched and replayed what; of each session also how it
    /// ended, what was to happen to its processes then, and in an `exec.cleanup` of its own what its
    /// backend could not end of them, or could not look at.
    #[must_use]
    pub fn with_audit(mut self, audit: Arc<dyn AuditSink>) -> Self {
        self.shared.audit = Some(audit);
        self
    }

    /// Serves recordings.
    #[must_use]
    pub fn with_recordings(mut self, recordings: Arc<dyn RecordingSource>) -> Self {
        self.shared.recordings = Some(recordings);
        self
    }

    /// Serves recordings and the index of sessions, and gives clients of the native protocol what they
    /// have missed of their own session and is not in memory any more; if the hub records into this
    /// store, their sessions go on while they are away, as far as it has room, unless they are shown
    /// screens.
    /// Who may look is asked about the place [`Records`](crate::access::Place::Records).
    #[must_use]
    pub fn with_records(mut self, records: Arc<dyn RecordStore>) -> Self {
        self.shared.records = Some(Arc::clone(&records));
        self.with_recordings(records)
    }

    /// Serves a web terminal below `/terminal/`.
    #[must_use]
    pub fn with_page(mut self, page: Arc<dyn Assets>) -> Self {
        self.shared.page = Some(page);
        self
    }

    /// Lets users of web pages sign on. What they get is a cookie with the token, for records and
    /// replays; what it is good for is access control's word.
    ///
    /// LAIN's pages send no `state` (RFC 6749, section 10.12), so a link can sign somebody on as
    /// somebody else, whose records he then looks at.
    #[must_use]
    pub fn with_sign_on(mut self, sign_on: Arc<dyn SignOn>) -> Self {
        self.shared.sign_on = Some(sign_on);
        self
    }

    /// Says under which names this server may be called, besides addresses and `localhost`.
    #[must_use]
    pub fn with_origin(mut self, origin: OriginCheck) -> Self {
        self.shared.origin = origin;
        self
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(mut self, options: GatewayOptions) -> Self {
        let connections = options.connections.min(Semaphore::MAX_PERMITS);
        self.shared.connections = Arc::new(Semaphore::new(connections));
        self.shared.waiting = Arc::new(WaitingRoom::new(options.waiting));
        self.shared.options = Arc::new(options);
        self
    }

    /// Answers one request; a connection that is upgraded is served by a task of its own. Must be
    /// called within a runtime. Dropping the future has no other effect than a lost answer.
    ///
    /// An [`Identity`] among the request's extensions is what the server around it has proven, an
    /// [`IpAddr`] the client's address, for records;
    /// [`NameProven`](crate::access::NameProven) says that `Host` needs no check.
    pub async fn handle<B>(&self, mut request: Request<B>) -> Response<Full<Bytes>> {
        let answer = self.answer(&mut request);
        drop(request);
        match answer {
            Ok(Answer::Response(response)) => response,
            Ok(Answer::History(question)) => self.shared.history(question).await,
            Ok(Answer::Live(question)) => self.shared.live(question).await,
            Ok(Answer::SignOn(method, route)) => self.shared.sign_on(&method, route).await,
            Err(refused) => *refused,
        }
    }

    fn answer<B>(&self, request: &mut Request<B>) -> Result<Answer, Refused> {
        let shared = &self.shared;
        let headers = request.headers();
        let route = Route::parse(request.uri());
        if let (Some(Route::Page(file)), Some(page)) = (&route, &shared.page) {
            // Links from other sites may lead here: these are files that everybody may read.
            return Ok(match file {
                Some(file) => {
                    Answer::Response(web::serve(&**page, file, request.method(), headers))
                }
                None => Answer::Response(web::redirect(request.uri().query())),
            });
        }
        // The sign-on's own page leads there.
        let is_led_to = matches!(route, Some(Route::SignOn(SignOnRoute::Authorize(_))));
        let checked = match is_led_to {
            true => shared.origin.check_names(request),
            false => shared.origin.check(request),
        };
        checked.map_err(|error| refuse(StatusCode::FORBIDDEN, &error))?;
        let route = match route {
            Some(Route::Page(_)) => {
                let error = Error::not_found(
                    "there is no web terminal here: the gateway was given no page \
                     (Gateway::with_page; platform: build it with --features web)",
                );
                return Err(refuse(StatusCode::NOT_FOUND, &error));
            }
            None => {
                let error = Error::not_found("no such path");
                return Err(refuse(StatusCode::NOT_FOUND, &error));
            }
            Some(Route::SignOn(route)) => {
                return Ok(Answer::SignOn(request.method().clone(), route));
            }
            Some(Route::TtydToken) => return Ok(Answer::Response(ttyd::token(headers))),
            Some(route) => route,
        };
        let known = request.extensions().get::<Identity>().cloned();
        let peer = request.extensions().get::<IpAddr>().copied();
        let source = history::source(peer, headers, shared.options.trusts_real_ip);
        if let Route::History(history) = &route {
            let history = history.clone();
            return Ok(Answer::History(Question {
                method: request.method().clone(),
                route: history,
                credentials: route.hello(headers, known, source).credentials,
            }));
        }
        if let Route::Live(live) = &route {
            let live = live.clone();
            return Ok(Answer::Live(LiveQuestion {
                method: request.method().clone(),
                route: live,
                credentials: route.hello(headers, known, source).credentials,
            }));
        }
        let handshake = socket::Handshake::check(request.method(), headers)?;
        let hello = route.hello(headers, known, source);
        let (permit, place, evicted) = match Arc::clone(&shared.connections).try_acquire_owned() {
            Ok(permit) => {
                let place = shared.waiting.enter();
                let evicted = place.evicted().clone();
                (permit, place, evicted)
            }
            // A few at a time are told so in their own protocol, which takes a connection.
            Err(_) => match Arc::clone(&shared.turned_away).try_acquire_owned() {
                Ok(permit) => (permit, shared.waiting.turn_away(), CancellationToken::new()),
                Err(_) => return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, &crowded())),
            },
        };
        let subprotocol = hello.subprotocol;
        let upgrade = hyper::upgrade::on(&mut *request);
        let served = shared.clone();
        let stranger = Stranger {
            bound: FirstBound::default(),
            place,
        };
        shared.shutdown.spawn(async move {
            let whole = async {
                let bound = stranger.bound.clone();
                if let Some(socket) = socket::accept(upgrade, &served, bound).await {
                    served.serve(hello, socket, stranger).await;
                }
            };
            let mut whole = pin!(whole);
            tokio::select! {
                () = &mut whole => {}
                () = evicted.cancelled() => {
                    tracing::debug!("a connection without leave was closed for a newer one");
                    // It is told so as far as that takes no time.
                    let _ = futures::poll!(whole);
                }
            }
            drop(permit);
        });
        Ok(Answer::Response(handshake.response(subprotocol)))
    }
}

/// How a request is answered.
enum Answer {
    Response(Response<Full<Bytes>>),
    History(Question),
    Live(LiveQuestion),
    SignOn(Method, SignOnRoute),
}

/// What is known of a connection before its first message.
struct Hello {
    route: Route,
    credentials: Credentials,
    /// The WebSocket subprotocol that both sides know.
    subprotocol: Option<&'static str>,
    /// Where LAIN's stock client wants to get in, and its terminal.
    lain: Option<(Place, Option<String>)>,
}

/// A client that has no leave yet. One that is refused stays one until its connection is closed.
struct Stranger {
    bound: FirstBound,
    place: Waiting,
}

impl Stranger {
    /// It has said what it wants; whether it may is being asked.
    async fn is_asked_about<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        self.place.set_asked_about(true);
        let answer = self.unless_evicted(asking).await;
        if answer.is_err() {
            self.place.set_asked_about(false);
        }
        answer
    }

    /// Waits for this as long as it may stay.
    async fn unless_evicted<T>(&self, waiting: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.place.evicted().cancelled() => Err(crowded()),
            answer = waiting => answer,
        }
    }

    /// It has leave now.
    fn let_in(self) {
        self.bound.lift();
    }
}

impl Shared {
    async fn serve(&self, hello: Hello, socket: socket::Socket, stranger: Stranger) {
        match hello.route {
            Route::Native => self.serve_native(hello, socket, stranger).await,
            Route::Lain(_) => self.serve_lain(hello, socket, stranger).await,
            Route::Kubernetes(_) => self.serve_kubernetes(hello, socket, stranger).await,
            Route::Ttyd(_) => self.serve_ttyd(hello, socket, stranger).await,
            // Answered before.
            Route::TtydToken
            | Route::History(_)
            | Route::Live(_)
            | Route::SignOn(_)
            | Route::Page(_) => {}
        }
    }
}

fn crowded() -> Error {
    let text = "there are too many connections; try again later";
    Error::new(ErrorKind::ResourceExhausted, text)
}

/// How many connections beyond those that may be are told so at a time.
const MOST_TURNED_AWAY: usize = 64;

/// An answer that is no upgrade.
type Refused = Box<Response<Full<Bytes>>>;

fn refuse(status: StatusCode, error: &Error) -> Refused {
    let mut response = Response::new(Full::from(format!("{error}\n")));
    *response.status_mut() = status;
    Box::new(response)
}
