use std::{
    fmt::{self, Debug},
    net::IpAddr,
};

use async_trait::async_trait;
use longshore_core::{Access, Action, Cleanup, Error, ErrorKind, Identity, Result};

use super::Place;

/// What a client shows to say who it is. Never in a URL: in a header or in the first message.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// A bearer token.
    pub token: Option<String>,
    /// Who it is already known to be, by a client certificate or the server that the gateway is
    /// mounted in: an [`Identity`] among the request's extensions.
    pub identity: Option<Identity>,
    /// Where the client is, as far as that is known. For records; it proves nothing.
    pub source: Option<IpAddr>,
}

impl Credentials {
    /// A token, if there is one.
    pub fn new(token: Option<String>) -> Self {
        Self {
            token: token.filter(|token| !token.is_empty()),
            identity: None,
            source: None,
        }
    }

    /// Adds where the client is.
    #[must_use]
    pub fn with_source(mut self, source: Option<IpAddr>) -> Self {
        self.source = source;
        self
    }

    /// Adds who it is already known to be.
    #[must_use]
    pub fn with_identity(mut self, identity: Option<Identity>) -> Self {
        self.identity = identity;
        self
    }
}

/// Hides the token.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("has_token", &self.token.is_some())
            .field("identity", &self.identity)
            .finish()
    }
}

/// Who wants to do what, where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessRequest {
    /// What they show.
    pub credentials: Credentials,
    /// What they want: [`Action::Enter`], or [`Action::Read`] to attach without input, look on, or
    /// replay.
    pub action: Action,
    /// Where.
    pub place: Place,
    /// The command, if one was named.
    pub command: Vec<String>,
    /// `NAME=value` pairs that it is to get: they can change what a command does.
    pub env: Vec<String>,
    /// Where it is to run; empty: as the container.
    pub dir: String,
    /// As whom it is to run; empty: as the container.
    pub user: String,
    /// What is to happen to its processes at the session's end; `None`: what is done by default.
    pub cleanup: Option<Cleanup>,
}

impl AccessRequest {
    /// A question without a command.
    pub fn new(credentials: Credentials, action: Action, place: Place) -> Self {
        Self {
            credentials,
            action,
            place,
            command: Vec::new(),
            env: Vec::new(),
            dir: String::new(),
            user: String::new(),
            cleanup: None,
        }
    }

    /// Adds the command.
    #[must_use]
    pub fn with_command(mut self, command: Vec<String>) -> Self {
        self.command = command;
        self
    }

    /// Adds what the command is to get, and where and as whom it is to run.
    #[must_use]
    pub fn with_surroundings(mut self, env: Vec<String>, dir: String, user: String) -> Self {
        (self.env, self.dir, self.user) = (env, dir, user);
        self
    }

    /// Adds what is to happen to its processes.
    #[must_use]
    pub fn with_cleanup(mut self, cleanup: Option<Cleanup>) -> Self {
        self.cleanup = cleanup;
        self
    }
}

/// Leave: who it is, for how long, and what may be left behind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Admission {
    /// Who.
    pub who: Identity,
    /// For how long.
    pub access: Access,
    /// The least cleanup that may be asked for: to leave processes behind is a right of its own.
    /// `None`: what the gateway allows everybody
    /// ([`GatewayOptions::least_cleanup`](crate::gateway::GatewayOptions)), and never less than that.
    pub least_cleanup: Option<Cleanup>,
}

impl Admission {
    /// Leave until it is asked for again.
    pub fn new(who: Identity) -> Self {
        Self {
            who,
            access: Access::default(),
            least_cleanup: None,
        }
    }

    /// Says how long it holds.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Says what may be left behind.
    #[must_use]
    pub fn with_least_cleanup(mut self, least: Option<Cleanup>) -> Self {
        self.least_cleanup = least;
        self
    }

    /// Whether it covers what was asked for, at a gateway that allows nobody less than `least`. What
    /// is done by default is the operator's choice and needs no leave.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`]; the message names what may be asked for.
    pub fn allows(&self, cleanup: Option<Cleanup>, least: Cleanup) -> Result<()> {
        let least = self.least_cleanup.map_or(least, |own| own.min(least));
        match cleanup {
            Some(asked) if asked > least => Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("cleanup {asked} is not allowed, {least} at the least"),
            )),
            _ => Ok(()),
        }
    }
}

/// Decides who may get in. Every error is a refusal.
#[async_trait]
pub trait AccessControl: Debug + Send + Sync + 'static {
    /// Gives leave.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] or [`ErrorKind::Unauthenticated`] for a no, anything else
    /// when nobody could decide. No error names a secret.
    ///
    /// # Cancel safety
    /// Safe.
    async fn admit(&self, request: &AccessRequest) -> Result<Admission>;
}

/// Refuses everybody: what a gateway does until it is told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyMay;

#[async_trait]
impl AccessControl for NobodyMay {
    async fn admit(&self, _: &AccessRequest) -> Result<Admission> {
        Err(Error::new(
            ErrorKind::PermissionDenied,
            "no access control is configured, so nobody may get in",
        ))
    }
}

/// Lets everybody in, without a name. An explicit choice, never a default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnybodyMay;

#[async_trait]
impl AccessControl for AnybodyMay {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let known = request.credentials.identity.clone();
        let anonymous = || Identity::new("anonymous", "none");
        Ok(Admission::new(known.unwrap_or_else(anonymous)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(own: Option<Cleanup>, gateway: Cleanup, asked: Option<Cleanup>, may: bool) {
        let admission = Admission::new(Identity::new("ann", "token")).with_least_cleanup(own);
        let told = admission.allows(asked, gateway);
        assert_eq!(told.is_ok(), may, "{own:?} {gateway} {asked:?}");
        if let Err(error) = told {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn what_may_be_left_behind_is_the_less_of_what_gateway_and_access_control_allow() {
        let own = Cleanup::ALL.map(Some).into_iter().chain([None]);
        for own in own {
            for gateway in Cleanup::ALL {
                check(own, gateway, None, true);
                for asked in Cleanup::ALL {
                    let may = asked <= gateway && own.is_none_or(|own| asked <= own);
                    check(own, gateway, Some(asked), may);
                }
            }
        }
        // By default nothing.
        check(None, Cleanup::default(), Some(Cleanup::Foreground), false);
        check(None, Cleanup::default(), Some(Cleanup::Tree), true);
    }
}
