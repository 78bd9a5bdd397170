//! Sessions that go on, for who runs the place: what there is, a signal to one, an end of one.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use longshore_core::{
    Action, AuditOutcome, Error, ErrorKind, Identity, Labels, Result, SessionId, Signal, printable,
};

use super::{
    Shared,
    history::{Session, json},
};
use crate::{
    access::{AccessRequest, Credentials, Place},
    session::{EndReason, SessionEnd},
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LiveRoute {
    /// All that go on.
    List,
    /// A signal for the process of this one.
    Signal(String, Option<String>),
    /// The end of this one, and what its client is told.
    End(String, Option<String>),
}

impl LiveRoute {
    /// Those that change something are asked for by a method that no link has.
    fn method(&self) -> Method {
        match self {
            Self::List => Method::GET,
            Self::Signal(..) => Method::POST,
            Self::End(..) => Method::DELETE,
        }
    }
}

/// A question, without the request that it came in.
pub(super) struct LiveQuestion {
    pub(super) method: Method,
    pub(super) route: LiveRoute,
    pub(super) credentials: Credentials,
}

impl Shared {
    /// Cancel safe: what was begun is carried out, and is on the record.
    pub(super) async fn live(&self, question: LiveQuestion) -> Response<Full<Bytes>> {
        let wanted = question.route.method();
        if question.method != wanted {
            let error = Error::unsupported(format!("only {wanted} is answered here"));
            return refusal(&error);
        }
        let answered = match question.route {
            LiveRoute::List => self.list(question.credentials).await,
            LiveRoute::Signal(session, signal) => {
                self.signal(question.credentials, session, signal).await
            }
            LiveRoute::End(session, why) => self.end(question.credentials, session, why).await,
        };
        match answered {
            Ok(text) => answer(StatusCode::OK, text),
            Err(error) => {
                tracing::debug!(
                    error = error.chain(),
                    "a question about live sessions was refused"
                );
                refusal(&error)
            }
        }
    }

    /// Who may look at all records sees who is where now.
    async fn list(&self, credentials: Credentials) -> Result<String> {
        let request = AccessRequest::new(credentials, Action::Read, Place::Records);
        self.admit(&request, "exec.live", None).await?;
        let mut live = self.hub.sessions();
        live.retain(|session| session.end.is_none());
        live.sort_by_key(|session| std::cmp::Reverse(session.began));
        json(&live.into_iter().map(Session::from).collect::<Vec<_>>())
    }

    async fn signal(
        &self,
        credentials: Credentials,
        session: String,
        signal: Option<String>,
    ) -> Result<String> {
        let signal = signal.ok_or_else(|| Error::invalid("which signal? ?signal=TERM"))?;
        if signal.len() > LONGEST_SIGNAL {
            return Err(Error::invalid("no signal has so long a name"));
        }
        let signal: Signal = signal.parse()?;
        let labels = Labels::new().with("signal", signal.to_string());
        let change = self.may_change(credentials, session, "exec.signal", labels);
        let change = change.await?;
        let done = self.hub.signal(&change.session, signal);
        self.changed(change, done).await?;
        Ok(serde_json::json!({ "signal": signal.to_string() }).to_string())
    }

    async fn end(
        &self,
        credentials: Credentials,
        session: String,
        why: Option<String>,
    ) -> Result<String> {
        let why = why.unwrap_or_default();
        if why.len() > LONGEST_WHY {
            return Err(Error::invalid(format!(
                "why is longer than {LONGEST_WHY} bytes"
            )));
        }
        let why = printable(&why, LONGEST_WHY).into_owned();
        let labels = Labels::new().with("why", why.clone());
        let change = self.may_change(credentials, session, "exec.end", labels);
        let change = change.await?;
        let end = SessionEnd::new(EndReason::EndedByOperator);
        let end = match why.is_empty() {
            true => end,
            false => end.with_text(why),
        };
        let done = self.hub.end(&change.session, end);
        self.changed(change, done).await?;
        Ok("{}".to_owned())
    }

    /// Leave to change something in a session, which is on the record before that happens. It is the
    /// leave of who may type there.
    async fn may_change(
        &self,
        credentials: Credentials,
        session: String,
        operation: &'static str,
        labels: Labels,
    ) -> Result<Change> {
        // First: what can't be an id does not come to be on the record as one.
        let id = SessionId::new(session.clone())?;
        let request = AccessRequest::new(credentials, Action::Enter, Place::Session(session));
        let admission = self
            .admit_with(&request, operation, None, labels.clone())
            .await?;
        Ok(Change {
            session: id,
            who: admission.who,
            operation,
            labels,
        })
    }

    /// What came of it is on the record, too, also when whoever asked has gone.
    async fn changed(&self, change: Change, done: Result<()>) -> Result<()> {
        let outcome = match &done {
            Ok(()) => AuditOutcome::Done,
            Err(error) => AuditOutcome::Failed(error.to_string()),
        };
        let shared = self.clone();
        let recording = self.shutdown.spawn(async move {
            let Change {
                session,
                who,
                operation,
                labels,
            } = change;
            // A failure is in the log.
            let _ = shared
                .record_change(&session, Some(&who), operation, labels, outcome)
                .await;
        });
        let _ = recording.await;
        done
    }
}

/// Something that somebody may change.
struct Change {
    session: SessionId,
    who: Identity,
    operation: &'static str,
    labels: Labels,
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refusal(error: &Error) -> Response<Full<Bytes>> {
    let status = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Closed => StatusCode::CONFLICT,
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable | ErrorKind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer(
        status,
        serde_json::json!({ "message": error.message() }).to_string(),
    )
}

const LONGEST_SIGNAL: usize = 16;
const LONGEST_WHY: usize = 256;
