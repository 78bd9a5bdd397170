use std::time::Duration;

use longshore_core::{Action, Cleanup, Error, Result};
use serde::Deserialize;

use super::{Claims, JwtAlgorithm};
use crate::access::{Place, grants::Grants};

/// Which tokens count, and what those who have them may do, as a file has it.
///
/// | field | meaning |
/// | --- | --- |
/// | `issuer` | what `iss` must be |
/// | `audiences` | one of which `aud` must name |
/// | `algorithms` | how tokens may be signed |
/// | `leeway_seconds` | how far the issuer's clock may be off: 30, at most 300 |
/// | `user_claim` | whose name is the user: `sub`; a JSON pointer (`/a/b`) leads into others |
/// | `groups_claim` | a name or a list of names: `groups` |
/// | `grants_claim` | a claim `{"enter": […], "read": […], "least_cleanup": …}` by which the issuer itself says where its users may go; not looked at unless it is named here |
/// | `grants` | by `user`, by `group`, or for `everybody` with a good token: where they may enter and look, and the `least_cleanup` there, as in a [`TokenPolicy`](crate::access::TokenPolicy); of several that open a place the one counts that allows most |
#[derive(Clone, Debug)]
pub struct JwtRules {
    written: Written,
    algorithms: Vec<JwtAlgorithm>,
    grants: Vec<(Whom, Grants)>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    #[serde(default = "leeway")]
    leeway_seconds: u64,
    #[serde(default = "user")]
    user_claim: String,
    #[serde(default = "groups")]
    groups_claim: String,
    #[serde(default)]
    grants_claim: Option<String>,
    #[serde(default)]
    grants: Vec<WrittenGrant>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGrant {
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    everybody: bool,
    #[serde(default)]
    enter: Vec<String>,
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    least_cleanup: Option<Cleanup>,
}

#[derive(Clone, Debug)]
enum Whom {
    User(String),
    Group(String),
    Everybody,
}

impl JwtRules {
    /// Reads the file's text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput): it is not of that shape;
    /// the message names the place.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong =
            |text: String| Error::invalid(format!("the rules for tokens are wrong: {text}"));
        let mut written: Written =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let empty = |name: &str| wrong(format!("{name} is empty, so no token could count"));
        if written.issuer.is_empty() {
            return Err(empty("issuer"));
        }
        if written.audiences.is_empty() || written.audiences.iter().any(String::is_empty) {
            return Err(empty("audiences"));
        }
        if written.algorithms.is_empty() {
            return Err(empty("algorithms"));
        }
        if written.leeway_seconds > MOST_LEEWAY {
            return Err(wrong(format!("leeway_seconds is more than {MOST_LEEWAY}")));
        }
        let algorithms = written.algorithms.iter().map(|name| {
            JwtAlgorithm::parse(name).map_err(|error| wrong(error.message().to_owned()))
        });
        let algorithms = algorithms.collect::<Result<_>>()?;
        let grants = std::mem::take(&mut written.grants);
        let grants = grants.into_iter().map(|grant| {
            let whom = match (grant.user, grant.group, grant.everybody) {
                (Some(user), None, false) => Whom::User(user),
                (None, Some(group), false) => Whom::Group(group),
                (None, None, true) => Whom::Everybody,
                _ => {
                    return Err(wrong(
                        "a grant needs one of user, group and everybody: true".to_owned(),
                    ));
                }
            };
            let grants = Grants::parse(&grant.enter, &grant.read)
                .map_err(|error| wrong(error.to_string()))?
                .with_least_cleanup(grant.least_cleanup);
            Ok((whom, grants))
        });
        let grants = grants.collect::<Result<_>>()?;
        Ok(Self {
            written,
            algorithms,
            grants,
        })
    }

    pub(super) fn algorithms(&self) -> &[JwtAlgorithm] {
        &self.algorithms
    }

    pub(super) fn issuer(&self) -> &str {
        &self.written.issuer
    }

    pub(super) fn is_for_us(&self, audience: &str) -> bool {
        self.written.audiences.iter().any(|own| own == audience)
    }

    pub(super) fn leeway(&self) -> Duration {
        Duration::from_secs(self.written.leeway_seconds)
    }

    pub(super) fn user_claim(&self) -> &str {
        &self.written.user_claim
    }

    pub(super) fn groups_claim(&self) -> &str {
        &self.written.groups_claim
    }

    pub(super) fn grants_claim(&self) -> Option<&str> {
        self.written.grants_claim.as_deref()
    }

    /// `None`: it is not allowed. Else the least cleanup there, `Some(None)` where that is left to the
    /// gateway.
    pub(super) fn allow(
        &self,
        claims: &Claims,
        action: Action,
        place: &Place,
    ) -> Option<Option<Cleanup>> {
        let holds = |whom: &Whom| match whom {
            Whom::User(user) => *user == claims.user,
            Whom::Group(group) => claims.groups.contains(group),
            Whom::Everybody => true,
        };
        let own = self.grants.iter().filter(|(whom, _)| holds(whom));
        let all = own.map(|(_, grants)| grants).chain([&claims.grants]);
        let open = all.filter(|grants| grants.allow(action, place));
        let least = open.map(Grants::least_cleanup);
        // One that leaves it to the gateway allows most.
        least.reduce(|one, other| Some(one?.max(other?)))
    }
}

fn leeway() -> u64 {
    30
}

fn user() -> String {
    "sub".to_owned()
}

fn groups() -> String {
    "groups".to_owned()
}

const MOST_LEEWAY: u64 = 300;
