use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use longshore_core::{Action, Cleanup, Error, ErrorKind, Result, SessionId, Timestamp};
use serde::Serialize;

use super::Shared;
use crate::{
    access::{AccessRequest, Credentials, Place},
    record::{
        CommandGuess, CommandQuery, RecordStore, SessionQuery, SessionStatus, SessionSummary,
    },
    session::{Opened, SessionAbout},
};

/// What LAIN Entry's HTTP API is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HistoryRoute {
    Ping,
    /// With the pairs of the query.
    Sessions(Vec<(String, String)>),
    Commands(Vec<(String, String)>),
}

/// A question, without the request that it came in.
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) route: HistoryRoute,
    pub(super) credentials: Credentials,
}

impl Shared {
    /// Cancel safe.
    pub(super) async fn history(&self, question: Question) -> Response<Full<Bytes>> {
        let answer = match question.method {
            Method::GET => self.look_up(question).await,
            _ => Err(Error::unsupported("only GET is answered here")),
        };
        match answer {
            Ok(text) => self::answer(StatusCode::OK, text),
            Err(error) => {
                tracing::debug!(
                    error = error.chain(),
                    "a question about sessions was refused"
                );
                refusal(&error)
            }
        }
    }

    async fn look_up(&self, question: Question) -> Result<String> {
        let (pairs, operation) = match &question.route {
            HistoryRoute::Ping => return Ok("\"OK\"".to_owned()),
            HistoryRoute::Sessions(pairs) => (pairs, "exec.sessions"),
            HistoryRoute::Commands(pairs) => (pairs, "exec.commands"),
        };
        let request = AccessRequest::new(question.credentials, Action::Read, Place::Records);
        self.admit(&request, operation, None).await?;
        let records = self.records.as_deref();
        let records = records.ok_or_else(|| Error::not_found("no records are kept here"))?;
        let query = sessions(pairs)?;
        match &question.route {
            HistoryRoute::Commands(pairs) => {
                let content = text(pairs, "content")?;
                let query = CommandQuery::new(query).with_content(content);
                let mut shown = Vec::new();
                for command in records.commands(&query).await? {
                    shown.extend(Command::of(command, records).await?);
                }
                json(&shown)
            }
            _ => {
                let sessions = records.sessions(&query).await?;
                json(&sessions.into_iter().map(Session::from).collect::<Vec<_>>())
            }
        }
    }
}

/// An answer in the API's own form.
pub(super) fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same, of a no.
pub(super) fn refusal(error: &Error) -> Response<Full<Bytes>> {
    let text = serde_json::json!({ "message": error.message() });
    answer(status(error.kind()), text.to_string())
}

/// Where a request comes from: what the server around the gateway says, or, if that is trusted, a
/// proxy before it.
pub(super) fn source(
    known: Option<IpAddr>,
    headers: &HeaderMap,
    trusts_proxy: bool,
) -> Option<IpAddr> {
    let named = || headers.get("x-real-ip")?.to_str().ok()?.trim().parse().ok();
    trusts_proxy.then(named).flatten().or(known)
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::ResourceExhausted => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn sessions(pairs: &[(String, String)]) -> Result<SessionQuery> {
    let limit = number(pairs, "limit", 20)?.min(MOST) as usize;
    let offset = number(pairs, "offset", 0)?;
    let query = SessionQuery::default()
        .with_session(text(pairs, "session_id")?)
        .with_since(Timestamp::from_secs(number(pairs, "since", 0)?))
        .with_page(limit, usize::try_from(offset).unwrap_or(usize::MAX))
        .with_patterns(text(pairs, "user")?, text(pairs, "app_name")?)
        // LAIN has none of these.
        .with_place(text(pairs, "container")?, text(pairs, "node")?)
        .with_command(text(pairs, "command")?)
        .with_cleanup(text(pairs, "cleanup")?);
    Ok(match number(pairs, "until", 0)? {
        0 => query,
        until => query.with_until(Timestamp::from_secs(until)),
    })
}

fn text<'a>(pairs: &'a [(String, String)], name: &str) -> Result<&'a str> {
    let found = pairs.iter().find(|(key, _)| key == name);
    let text = found.map_or("", |(_, value)| value.as_str());
    if text.len() > LONGEST {
        return Err(Error::invalid(format!(
            "{name} is longer than {LONGEST} bytes"
        )));
    }
    Ok(text)
}

fn number(pairs: &[(String, String)], name: &str, default: u64) -> Result<u64> {
    match text(pairs, name)? {
        "" => Ok(default),
        text => text.parse().map_err(|_| {
            let shown = longshore_core::printable(text, 40);
            Error::invalid(format!("{name}={shown} is not a whole number from 0"))
        }),
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal("an answer can't be written as JSON").with_source(error))
}

/// Times in seconds since 1970. What is empty or zero is left out. The last fields are ours.
#[derive(Serialize)]
pub(super) struct Session {
    session_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    source_ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    app_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    proc_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    instance_no: String,
    container_id: String,
    /// The node's name: its address is not always known.
    #[serde(skip_serializing_if = "String::is_empty")]
    node_ip: String,
    status: &'static str,
    created_at: u64,
    #[serde(skip_serializing_if = "is_zero")]
    ended_at: u64,
    /// What was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    place: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    #[serde(skip_serializing_if = "is_zero")]
    rules_met: u64,
    /// Of those that go on: whether somebody holds it, and how many connections it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_held: Option<bool>,
    #[serde(skip_serializing_if = "is_zero")]
    connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup: Option<Cleanup>,
}

impl From<SessionSummary> for Session {
    fn from(summary: SessionSummary) -> Self {
        let end = summary.end.as_ref();
        Self {
            status: summary.status.as_str(),
            ended_at: summary.ended_at.map(Timestamp::as_secs).unwrap_or_default(),
            reason: end.map(|end| end.reason.to_string()).unwrap_or_default(),
            exit_code: end.and_then(|end| end.code),
            rules_met: summary.hits,
            ..Self::new(summary.session, summary.about, summary.created_at)
        }
    }
}

/// Of one that goes on.
impl From<Opened> for Session {
    fn from(opened: Opened) -> Self {
        Self {
            is_held: Some(opened.is_held),
            connections: opened.connections as u64,
            ..Self::new(opened.session, opened.about, opened.began)
        }
    }
}

impl Session {
    fn new(session: SessionId, about: SessionAbout, began: Timestamp) -> Self {
        let origin = about.origin;
        Self {
            session_id: session.into(),
            user: about.who.subject,
            source_ip: origin
                .source
                .map(|source| source.to_string())
                .unwrap_or_default(),
            app_name: origin.app,
            proc_name: origin.proc,
            instance_no: origin.instance,
            container_id: about.container,
            node_ip: origin.node.unwrap_or_default(),
            status: SessionStatus::Active.as_str(),
            created_at: began.as_secs(),
            ended_at: 0,
            place: origin.place,
            commands: about
                .commands
                .iter()
                .map(|command| command.join(" "))
                .collect(),
            reason: String::new(),
            exit_code: None,
            rules_met: 0,
            is_held: None,
            connections: 0,
            cleanup: about.cleanup,
        }
    }
}

#[derive(Serialize)]
struct Command {
    command_id: String,
    session_id: String,
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    app_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    proc_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    instance_no: String,
    content: String,
    created_at: u64,
    /// It was derived from what was typed.
    is_guess: bool,
}

impl Command {
    /// With its session's names; nothing if that was removed meanwhile.
    async fn of(command: CommandGuess, records: &dyn RecordStore) -> Result<Option<Self>> {
        let about = match records.session(&command.session).await {
            Ok(summary) => summary.about,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self {
            command_id: format!("{}-{}", command.session, command.number),
            session_id: command.session.into(),
            user: about.who.subject,
            app_name: about.origin.app,
            proc_name: about.origin.proc,
            instance_no: about.origin.instance,
            content: command.content,
            created_at: command.at.as_secs(),
            is_guess: true,
        }))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's shape")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

const MEDIA_TYPE: &str = "application/vnd.laincloud.entry.v3+json";
/// The longest pattern.
const LONGEST: usize = 256;
/// The largest page.
const MOST: u64 = 1000;
