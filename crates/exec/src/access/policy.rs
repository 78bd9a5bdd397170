use async_trait::async_trait;
use longshore_core::{Access, Cleanup, Error, ErrorKind, Identity, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use subtle::ConstantTimeEq;

use super::{AccessControl, AccessRequest, Admission, grants::Grants};

/// Access by a list of tokens, as a file has it.
///
/// Tokens stand in it as SHA-256 in hexadecimal, so that whoever reads the file can't use it. Where
/// somebody may enter and look are lists of grants, each for places of one kind:
///
/// | written | opens |
/// | --- | --- |
/// | `container:web-1` | a container by the name or id that was asked for |
/// | `lain:shop/web/1` | an instance of a process of a LAIN application |
/// | `pod:default/web`, `pod:default/web/app` | a pod's first container, a named one |
/// | `session:0123…` | another session, to look on, and its replay |
/// | `records:*` | the records of all sessions |
/// | `web-1`, without a kind | a container; never anything else, whatever it looks like |
///
/// A `*` at the end stands for any rest: `lain:shop/web/*`, `pod:*`. A name with a colon in it needs
/// its kind: `container:node-1:web`.
///
/// `"least_cleanup"` is what of a session's processes may be left behind, as far as the gateway allows
/// it: `tree`, `foreground` or `none`. Without it, what the gateway allows everybody.
///
/// ```
/// use longshore_exec::access::TokenPolicy;
///
/// let policy = TokenPolicy::parse(r#"{"tokens": [{
///     "user": "ann",
///     "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
///     "enter": ["lain:shop/web/*", "container:web-*"],
///     "read": ["container:*", "records:*"],
///     "recheck_seconds": 60
/// }]}"#)?;
/// # Ok::<_, longshore_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    tokens: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    user: String,
    sha256: String,
    #[serde(default)]
    enter: Vec<String>,
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    recheck_seconds: Option<u64>,
    #[serde(default)]
    least_cleanup: Option<Cleanup>,
}

#[derive(Clone, Debug)]
struct Entry {
    user: String,
    hash: [u8; 32],
    grants: Grants,
    recheck: Option<Duration>,
}

impl TokenPolicy {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]: it is not of that shape; the message names the place.
    pub fn parse(text: &str) -> Result<Self> {
        let file: File = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("the token policy is wrong: {error}")))?;
        let tokens = file.tokens.into_iter().map(|written| {
            let hash = unhex(&written.sha256).ok_or_else(|| {
                Error::invalid(format!(
                    "the token policy is wrong: sha256 of {:?} is not 64 hexadecimal digits",
                    written.user
                ))
            })?;
            Ok(Entry {
                user: written.user,
                hash,
                grants: Grants::parse(&written.enter, &written.read)
                    .map_err(|error| Error::invalid(format!("the token policy is wrong: {error}")))?
                    .with_least_cleanup(written.least_cleanup),
                recheck: written.recheck_seconds.map(Duration::from_secs),
            })
        });
        Ok(Self {
            tokens: tokens.collect::<Result<_>>()?,
        })
    }
}

#[async_trait]
impl AccessControl for TokenPolicy {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let token = request.credentials.token.as_deref().unwrap_or_default();
        let hash: [u8; 32] = Sha256::digest(token).into();
        // All are compared, so that the time tells nothing.
        let known = self.tokens.iter().fold(None, |known, entry| {
            match bool::from(entry.hash.ct_eq(&hash)) {
                true => Some(entry),
                false => known,
            }
        });
        let Some(entry) = known else {
            return Err(Error::new(
                ErrorKind::Unauthenticated,
                "the token is not known",
            ));
        };
        if !entry.grants.allow(request.action, &request.place) {
            return Err(
                Error::new(ErrorKind::PermissionDenied, "the policy does not allow it")
                    .with_context("user", &entry.user)
                    .with_context("place", &request.place),
            );
        }
        let mut access = Access::default();
        access.valid_for = entry.recheck;
        Ok(Admission::new(Identity::new(&entry.user, "token"))
            .with_access(access)
            .with_least_cleanup(entry.grants.least_cleanup()))
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, place) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(place..place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use longshore_core::Action;

    use super::*;
    use crate::access::{Credentials, Place};

    fn policy() -> TokenPolicy {
        let hash = |token: &str| format!("{:x}", Sha256::digest(token));
        TokenPolicy::parse(&format!(
            r#"{{"tokens": [
                {{"user": "ann", "sha256": "{}", "enter": ["container:shop/web/*"], "read": ["*"], "recheck_seconds": 9, "least_cleanup": "foreground"}},
                {{"user": "bob", "sha256": "{}", "read": ["shop/web/1"]}}
            ]}}"#,
            hash("anns"),
            hash("bobs"),
        ))
        .unwrap()
    }

    async fn ask(token: &str, action: Action, place: &str) -> Result<Admission> {
        let credentials = Credentials::new(Some(token.to_owned()));
        let place = Place::Container(place.to_owned());
        policy()
            .admit(&AccessRequest::new(credentials, action, place))
            .await
    }

    #[tokio::test]
    async fn tokens_have_their_places_and_deeds() {
        let ann = ask("anns", Action::Enter, "shop/web/3").await.unwrap();
        assert_eq!(ann.who, Identity::new("ann", "token"));
        assert_eq!(ann.access.valid_for, Some(Duration::from_secs(9)));
        assert_eq!(ann.least_cleanup, Some(Cleanup::Foreground));
        let bob = ask("bobs", Action::Read, "shop/web/1").await.unwrap();
        assert_eq!(bob.least_cleanup, None);
        assert!(ask("anns", Action::Read, "other").await.is_ok());
        assert!(ask("bobs", Action::Read, "shop/web/1").await.is_ok());
        for (token, action, place, kind) in [
            (
                "anns",
                Action::Enter,
                "shop/db/1",
                ErrorKind::PermissionDenied,
            ),
            (
                "bobs",
                Action::Enter,
                "shop/web/1",
                ErrorKind::PermissionDenied,
            ),
            (
                "bobs",
                Action::Read,
                "shop/web/12",
                ErrorKind::PermissionDenied,
            ),
            (
                "anns",
                Action::Administer,
                "shop/web/1",
                ErrorKind::PermissionDenied,
            ),
            ("", Action::Read, "x", ErrorKind::Unauthenticated),
            ("guess", Action::Read, "x", ErrorKind::Unauthenticated),
        ] {
            let refused = ask(token, action, place).await.unwrap_err();
            assert_eq!(refused.kind(), kind, "{token} {place}");
            assert!(token.is_empty() || !format!("{refused:?}").contains(token));
        }
    }

    #[test]
    fn a_file_that_is_wrong_says_where() {
        for bad in [
            "",
            r#"{"tokens": [{"user": "ann", "sha256": "00"}]}"#,
            r#"{"tokens": [{"user": "ann", "sha256": "x", "enters": []}]}"#,
            &format!(
                r#"{{"tokens": [{{"user": "ann", "sha256": "{}", "enter": ["lian:*"]}}]}}"#,
                "00".repeat(32)
            ),
            &format!(
                r#"{{"tokens": [{{"user": "ann", "sha256": "{}", "least_cleanup": "nothing"}}]}}"#,
                "00".repeat(32)
            ),
        ] {
            let error = TokenPolicy::parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
        }
    }
}
