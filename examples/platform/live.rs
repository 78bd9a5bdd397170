//! Sessions that go on: which there are, `platform signal` and `platform end`.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use longshore::{
    Connector, Error, ErrorKind, Result,
    core::{Signal, printable},
};
use serde_json::Value;

use crate::{
    Failure,
    cli::{End, SendSignal},
    client::{self, connector},
    say::note,
};

/// `platform signal`
pub async fn signal(args: SendSignal) -> std::result::Result<(), Failure> {
    let signal: Signal = args.signal.parse().map_err(|_| {
        let given = printable(&args.signal, 40);
        Failure::new(format!(
            "{given:?} is no signal: expected a name such as TERM, HUP or USR1, or a number from 1 to 64"
        ))
    })?;
    let connector = connector(&args.host)?;
    let session = find(connector.clone(), &args.session).await?;
    let path = format!("/v1/sessions/{session}/signal?signal={}", signal.number());
    let asked = ask(connector, Method::POST, &path).await;
    asked.map_err(|error| refused(&error, &session))?;
    note(format_args!("{signal} is on its way to session {session}"));
    Ok(())
}

/// `platform end`
pub async fn end(args: End) -> std::result::Result<(), Failure> {
    let connector = connector(&args.host)?;
    let session = find(connector.clone(), &args.session).await?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(why) = &args.why {
        query.append_pair("why", why);
    }
    let path = format!("/v1/sessions/{session}?{}", query.finish());
    let asked = ask(connector, Method::DELETE, &path).await;
    asked.map_err(|error| refused(&error, &session))?;
    note(format_args!("session {session} is ended"));
    Ok(())
}

/// All that go on; none where the endpoint knows no such list.
///
/// # Errors
/// The endpoint can't be asked, or refuses.
pub async fn list(connector: Arc<dyn Connector>) -> Result<Vec<Value>> {
    let listed = ask(connector, Method::GET, "/v1/sessions").await?;
    match listed {
        Value::Array(listed) => Ok(listed),
        _ => Err(Error::protocol("the endpoint's list of sessions is none")),
    }
}

/// The session whose id this is, or the only one that goes on whose id begins so.
///
/// # Errors
/// There is none, or several.
pub async fn find(
    connector: Arc<dyn Connector>,
    given: &str,
) -> std::result::Result<String, Failure> {
    let is_sane = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if given.is_empty() || given.len() > LONGEST_ID || !given.bytes().all(is_sane) {
        let given = printable(given, 40);
        return Err(Failure::new(format!(
            "{given:?} is no session's id; 'platform sessions --live' shows those that go on"
        )));
    }
    if given.len() >= WHOLE_ID {
        return Ok(given.to_owned());
    }
    let listed = list(connector)
        .await
        .map_err(|error| refused(&error, given))?;
    let ids = listed.iter().filter_map(|it| it["session_id"].as_str());
    one_of(ids, given)
}

fn one_of<'a>(
    ids: impl Iterator<Item = &'a str>,
    given: &str,
) -> std::result::Result<String, Failure> {
    let mut found: Vec<&str> = ids.filter(|id| id.starts_with(given)).collect();
    found.sort_unstable();
    match found.as_slice() {
        [] => Err(Failure::new(format!(
            "no session goes on whose id begins with {given}; 'platform sessions --live' shows which do"
        ))),
        [one] if one.bytes().all(|byte| byte.is_ascii_graphic()) => Ok((*one).to_owned()),
        several => {
            let shown: Vec<_> = several
                .iter()
                .take(MOST_SHOWN)
                .map(|id| printable(id, LONGEST_ID))
                .collect();
            Err(Failure::new(format!(
                "{} sessions' ids begin with {given}: {}; give more of it",
                several.len(),
                shown.join(", ")
            )))
        }
    }
}

async fn ask(connector: Arc<dyn Connector>, method: Method, path: &str) -> Result<Value> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .body(Bytes::new())
        .map_err(|error| Error::invalid("the session's id is malformed").with_source(error))?;
    client::json(connector, request).await
}

/// What the endpoint's no means, and what to do.
pub fn refused(error: &Error, session: &str) -> Failure {
    let why = error.message();
    Failure::new(match error.context("status") {
        Some("403") => format!(
            "you may not do that: {why}; the control plane decides by who you are for it (your user on \
             its socket, your certificate on TLS)"
        ),
        Some("404") if why.contains("session") => format!(
            "session {session} does not go on here; 'platform sessions --live' shows which do"
        ),
        Some("404" | "405") => format!(
            "{why}: the endpoint has no list of live sessions; is it a longshore control plane of this version?"
        ),
        Some("409") => format!("session {session} has ended already"),
        Some(_) => why.to_owned(),
        None if error.kind() == ErrorKind::InvalidInput => why.to_owned(),
        None => error.chain(),
    })
}

/// Ids of our gateways have 32 characters.
const WHOLE_ID: usize = 32;
const LONGEST_ID: usize = 128;
const MOST_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_names_one_session_or_none() {
        let ids = ["ab12", "ab34", "cd56"];
        let find = |given: &str| one_of(ids.into_iter(), given);
        assert_eq!(find("c").ok().as_deref(), Some("cd56"));
        assert_eq!(find("ab3").ok().as_deref(), Some("ab34"));
        let several = find("ab").unwrap_err().message;
        assert!(
            several.contains("2 sessions") && several.contains("ab12, ab34"),
            "{several}"
        );
        assert!(find("x").unwrap_err().message.contains("--live"));
    }

    #[test]
    fn what_the_endpoint_refuses_is_told_with_what_to_do() {
        let told = |status: u16, text: &str| {
            let error = Error::invalid(text.to_owned()).with_context("status", status);
            refused(&error, "ab").message
        };
        assert!(told(403, "not allowed").contains("who you are"));
        assert!(told(404, "no such session, or").contains("--live"));
        assert!(told(404, "page not found").contains("longshore"));
        assert!(told(409, "x").contains("has ended already"));
        assert_eq!(told(429, "8 signals wait"), "8 signals wait");
    }
}
