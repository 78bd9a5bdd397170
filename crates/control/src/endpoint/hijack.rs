//! Hijacked streams: the client's connection and the engine's become one raw stream, with half-close
//! in both directions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use longshore_core::{
    Action, AuditOutcome, BoxByteStream, BoxFuture, ByteStream, ClockExt, Error, Identity, Target,
    Timestamp,
    http::{HttpClient, Upgraded, empty_body},
};
use tokio::io::{AsyncWriteExt, copy, split};

use super::{
    Payload, Shared,
    call::{Call, RecordsItself},
    error::{ApiError, ApiResult},
    proxy::{request, unreachable},
    record::Record,
    replica::{PRIMARY_HOST, Primary},
};
use crate::NodeView;

/// What is hijacked: a request to an engine, or to the manager that leads.
pub(super) struct Session {
    pub(super) target: Target,
    pub(super) far: Far,
    pub(super) path: String,
    pub(super) body: Bytes,
}

/// Who has the other end of a stream.
pub(super) enum Far {
    Engine(Box<NodeView>),
    Primary(Primary),
}

impl Far {
    fn name(&self) -> String {
        match self {
            Self::Engine(node) => node.name.clone(),
            Self::Primary(primary) => format!("primary {}", primary.address),
        }
    }

    fn client<'a>(&'a self, shared: &Shared) -> ApiResult<&'a HttpClient> {
        match self {
            Self::Engine(node) => shared.client(node),
            Self::Primary(primary) => Ok(&primary.client),
        }
    }

    /// Passes on what came of a call: it tells of an engine's health.
    fn answered(
        &self,
        shared: &Shared,
        started: Timestamp,
        outcome: Result<Upgraded, Error>,
    ) -> ApiResult<Upgraded> {
        match self {
            Self::Engine(node) => {
                if let Some(id) = &node.id {
                    let outcome = outcome.as_ref().map(|_| ());
                    shared.plane.report(id, started, outcome);
                }
                outcome.map_err(|error| unreachable(node, &error))
            }
            Self::Primary(primary) => outcome.map_err(|error| primary.unreachable(&error)),
        }
    }

    /// When the stream has to end although both sides are there.
    fn is_over(&self) -> BoxFuture<'static, ()> {
        match self {
            Self::Engine(_) => Box::pin(std::future::pending()),
            Self::Primary(primary) => primary.replaced(),
        }
    }
}

/// Asks the engine for the raw stream and joins the client's connection to it.
pub(super) async fn hijack(shared: &Arc<Shared>, mut call: Call, session: Session) -> ApiResult {
    let Some(upgrade) = call.upgrade.take() else {
        return Err(ApiError::bad_request(
            "a raw stream needs the headers \"Connection: Upgrade\" and \"Upgrade: tcp\"",
        ));
    };
    let mut request = request(
        call.method.clone(),
        &session.path,
        &call.headers,
        session.body.clone(),
    )?;
    let protocol = call
        .headers
        .get(header::UPGRADE)
        .filter(|_| call.method == Method::GET)
        .cloned()
        .unwrap_or(HeaderValue::from_static("tcp"));
    request
        .headers_mut()
        .insert(header::UPGRADE, protocol.clone());
    if let Far::Primary(_) = session.far {
        request.headers_mut().insert(header::HOST, PRIMARY_HOST);
    } else {
        shared.lead()?;
    }
    let client = session.far.client(shared)?;
    let clock = shared.plane.clock();
    let started = clock.now();
    let upgraded = clock
        .timeout(
            shared.options.work_limit,
            "waiting for the engine",
            client.upgrade(request),
        )
        .await
        .and_then(|upgraded| upgraded);
    let (headers, engine) = match session.far.answered(shared, started, upgraded)? {
        Upgraded::Stream {
            headers, stream, ..
        } => (headers, stream),
        Upgraded::Refused { status, body } => {
            return Err(match &session.far {
                Far::Engine(_) => ApiError::from_engine(status, &body),
                Far::Primary(_) => ApiError::from_primary(status, &body),
            });
        }
    };

    let mut response: Response<Payload> = Response::new(empty_body());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    for (name, value) in &headers {
        if name == header::CONTENT_TYPE || name.as_str().starts_with("sec-websocket-") {
            answer.append(name.clone(), value.clone());
        }
    }
    answer
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static(
            "application/vnd.docker.raw-stream",
        ));
    if !call.legacy {
        answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        answer.insert(header::UPGRADE, protocol);
    }
    response.extensions_mut().insert(RecordsItself);

    let supervisor = Supervisor {
        shared: Arc::clone(shared),
        who: call.who.clone(),
        record: Record::new(&call, Action::Enter, session.target.clone()),
        target: session.target,
        node: session.far.name(),
        leave: call.leave,
    };
    shared.plane.shutdown().spawn(async move {
        match upgrade.await {
            Ok(client) => {
                let over = session.far.is_over();
                supervisor.run(TokioIo::new(client), engine, over).await;
            }
            Err(error) => {
                let reason = format!("the client's connection was not handed over: {error}");
                supervisor.record(AuditOutcome::Failed(reason)).await;
            }
        }
    });
    Ok(response)
}

/// Watches over one session: leave is asked for again, its end is recorded.
struct Supervisor {
    shared: Arc<Shared>,
    who: Identity,
    record: Record,
    target: Target,
    node: String,
    leave: Option<Duration>,
}

impl Supervisor {
    async fn run(
        self,
        client: impl ByteStream,
        engine: BoxByteStream,
        over: BoxFuture<'static, ()>,
    ) {
        let clock = self.shared.plane.clock();
        let linger = self.shared.options.linger;
        let leaving = async {
            self.shared.plane.shutdown().requested().await;
            clock.sleep(linger).await;
        };
        let outcome = tokio::select! {
            () = join(client, engine, clock.sleep(linger)) => AuditOutcome::Done,
            error = self.leave_ends() => AuditOutcome::Denied(error.to_string()),
            () = over => AuditOutcome::Failed("another manager became primary".to_owned()),
            () = leaving => AuditOutcome::Failed("the control plane shut down".to_owned()),
        };
        self.record(outcome).await;
    }

    /// Asks for leave again whenever it runs out; returns when it is refused.
    async fn leave_ends(&self) -> Error {
        let mut leave = self.leave;
        loop {
            match leave {
                Some(valid_for) => self.shared.plane.clock().sleep(valid_for).await,
                None => std::future::pending().await,
            }
            let asked = self
                .shared
                .authorize(&self.who, Action::Enter, &self.target);
            match asked.await {
                Ok(access) => leave = access.valid_for,
                Err(error) => return error,
            }
        }
    }

    async fn record(&self, outcome: AuditOutcome) {
        let written = self.record.write(&self.shared, outcome, Some(&self.node));
        if let Err(failure) = written.await {
            tracing::error!(error = %failure.chain(), "the end of a session could not be recorded");
        }
    }
}

/// Copies both ways until both are done. The end of one direction closes only that half at the
/// other side. When the engine's output has ended the session is over, and the client has `linger`
/// to close its own half.
async fn join(
    client: impl ByteStream,
    engine: BoxByteStream,
    linger: impl Future<Output = ()> + Send,
) {
    let (mut client_read, mut client_write) = split(client);
    let (mut engine_read, mut engine_write) = split(engine);
    let input = async {
        copy(&mut client_read, &mut engine_write).await?;
        engine_write.shutdown().await
    };
    let output = async {
        copy(&mut engine_read, &mut client_write).await?;
        client_write.shutdown().await
    };
    tokio::pin!(input, output);
    let ended = tokio::select! {
        result = &mut input => match result {
            // The client's input ended: the output goes on.
            Ok(()) => output.await,
            // Stdin that the process no longer reads is no reason to lose its output.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => output.await,
            Err(error) => Err(error),
        },
        result = &mut output => match result {
            Ok(()) => {
                tokio::select! {
                    result = input => result,
                    () = linger => Ok(()),
                }
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a raw stream broke");
    }
}
