use std::{fmt, str::FromStr};

use longshore_core::{Error, Result};
use serde::Deserialize;

/// A version of Docker's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The oldest that this client speaks: Docker 1.12.
    const OLDEST: Self = Self::new(1, 24);
    /// The newest that this client speaks.
    const NEWEST: Self = Self::new(1, 53);

    const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// From an engine's answer to `GET /version`: the newest version that both sides speak.
    pub(super) fn negotiate(answer: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "ApiVersion")]
            newest: String,
            #[serde(rename = "MinAPIVersion", default)]
            oldest: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(answer).map_err(|error| {
            Error::protocol("the engine's answer to GET /version is not Docker's")
                .with_source(error)
        })?;
        let newest: Self = answer.newest.parse()?;
        let oldest = match answer.oldest.as_deref() {
            None | Some("") => Self::OLDEST,
            Some(text) => text.parse()?,
        };
        if newest < Self::OLDEST {
            return Err(Error::unsupported(format!(
                "the engine speaks Docker API {newest} at most, and at least {} is needed: \
                 upgrade the engine",
                Self::OLDEST
            )));
        }
        if oldest > Self::NEWEST {
            return Err(Error::unsupported(format!(
                "the engine speaks Docker API {oldest} at least, and this client {} at most: \
                 upgrade longshore",
                Self::NEWEST
            )));
        }
        Ok(newest.min(Self::NEWEST))
    }
}

impl FromStr for ApiVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self::new(major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| {
                let text: String = text.chars().take(20).collect();
                Error::protocol(format!("the engine names an invalid API version {text:?}"))
            })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::ErrorKind;

    use super::*;

    fn negotiate(newest: &str, oldest: &str) -> Result<String> {
        let answer = format!(r#"{{"ApiVersion":{newest:?},"MinAPIVersion":{oldest:?}}}"#);
        ApiVersion::negotiate(answer.as_bytes()).map(|version| version.to_string())
    }

    #[test]
    fn the_newest_common_version_is_taken() {
        assert_eq!(negotiate("1.41", "1.12").unwrap(), "1.41");
        assert_eq!(negotiate("1.60", "1.44").unwrap(), "1.53");
        let answer = ApiVersion::negotiate(br#"{"ApiVersion":"1.9"}"#);
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn without_a_common_version_the_older_side_is_named() {
        assert_eq!(
            negotiate("1.18", "1.12").unwrap_err().message(),
            "the engine speaks Docker API 1.18 at most, and at least 1.24 is needed: upgrade the \
             engine"
        );
        assert_eq!(
            negotiate("1.99", "1.80").unwrap_err().message(),
            "the engine speaks Docker API 1.80 at least, and this client 1.53 at most: upgrade \
             longshore"
        );
    }

    #[test]
    fn what_is_not_docker_is_a_protocol_error() {
        for answer in [&b"hello"[..], b"{}", br#"{"ApiVersion":"new"}"#] {
            let error = ApiVersion::negotiate(answer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
    }
}
