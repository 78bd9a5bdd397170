use futures::StreamExt;
use longshore_core::{Error, ErrorKind, PullProgress, PullStream, Result, http::Body};
use serde::Deserialize;

use super::{
    error,
    lines::{Overlong, lines},
};

/// The query of `POST /images/create`. Without a tag Docker would fetch every tag there is.
pub(super) fn query(image: &str) -> Result<String> {
    let bad = |reason| Error::invalid(format!("invalid image reference {image:?}: {reason}"));
    if image.is_empty() {
        return Err(bad("it is empty"));
    }
    if !image
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@+".contains(&byte))
    {
        return Err(bad("only letters, digits and -_./:@+ are allowed"));
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    let tag = if image.contains('@') || last.contains(':') {
        ""
    } else {
        "&tag=latest"
    };
    Ok(format!(
        "fromImage={}{tag}",
        image.replace('+', "%2B").replace('@', "%40")
    ))
}

/// The steps in a body. An error among them is the last one.
pub(super) fn decode(body: Body) -> PullStream {
    lines(body, LONGEST_STEP, Overlong::Fails)
        .map(|line| line.and_then(|line| step(&line)))
        .scan(false, |failed, step| {
            let told = (!*failed).then_some(step);
            *failed |= matches!(told, Some(Err(_)));
            std::future::ready(told)
        })
        .boxed()
}

/// Longer lines are no steps.
const LONGEST_STEP: usize = 1 << 20;

fn step(line: &[u8]) -> Result<PullProgress> {
    let record: Record = serde_json::from_slice(line).map_err(|error| {
        Error::protocol("a step of the engine's pull is not Docker's").with_source(error)
    })?;
    if let Some(message) = record.error {
        return Err(failure(&message));
    }
    let mut progress = PullProgress::new(record.status.unwrap_or_default());
    progress.id = record.id;
    progress.amount = record
        .progress
        .and_then(|progress| Some((progress.current?, progress.total?)));
    Ok(progress)
}

fn failure(message: &str) -> Error {
    let says = |part: &str| message.contains(part);
    let kind = if says("not found") || says("manifest unknown") {
        ErrorKind::NotFound
    } else if says("denied") || says("unauthorized") {
        ErrorKind::PermissionDenied
    } else {
        ErrorKind::Unavailable
    };
    Error::new(kind, error::text(message))
}

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(rename = "progressDetail", default)]
    progress: Option<Amount>,
}

#[derive(Deserialize)]
struct Amount {
    #[serde(default)]
    current: Option<u64>,
    #[serde(default)]
    total: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_asks_for_one_tag() {
        assert_eq!(query("busybox").unwrap(), "fromImage=busybox&tag=latest");
        assert_eq!(query("a:5000/b").unwrap(), "fromImage=a:5000/b&tag=latest");
        assert_eq!(query("a:5000/b:1").unwrap(), "fromImage=a:5000/b:1");
        assert_eq!(query("a@sha256:12").unwrap(), "fromImage=a%40sha256:12");
        assert!(query("a&b").is_err() && query("").is_err());
    }

    #[test]
    fn an_error_among_the_steps_is_the_pulls() {
        let step = step(br#"{"errorDetail":{},"error":"manifest unknown"}"#);
        assert_eq!(step.unwrap_err().kind(), ErrorKind::NotFound);
        let progress = super::step(
            br#"{"status":"Downloading","id":"a","progressDetail":{"current":1,"total":2}}"#,
        )
        .unwrap();
        assert_eq!(progress.amount, Some((1, 2)));
    }
}
