use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Request;
use longshore_core::{Action, Clock, Connector, Error, ErrorKind, Identity, Result};
use serde::Deserialize;

use super::{
    AccessControl, AccessRequest, Admission, Place,
    lain::{LainSite, refused},
};

/// LAIN's console decides: who has a role in the application may enter its containers; who it is,
/// the single sign-on says.
///
/// `GET /api/v1/repos/<app>/roles/` with the header `access-token`, allowed if `role.role` is not
/// empty; then `GET /api/me` with the token as bearer, whose `email` is the user. Unlike LAIN, only
/// a status of 2xx counts.
#[derive(Clone, Debug)]
pub struct LainConsole {
    console: LainSite,
    sso: Option<LainSite>,
    auditors: Option<String>,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct Roles {
    #[serde(default)]
    role: Option<Role>,
}

#[derive(Deserialize)]
struct Role {
    #[serde(default)]
    role: Option<String>,
}

impl LainConsole {
    /// The console behind this connector, under this name; each question may take 4 s.
    pub fn new(
        connector: Arc<dyn Connector>,
        host: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let limit = Duration::from_secs(4);
        Self {
            console: LainSite::new(connector, host, Arc::clone(&clock), "console", limit),
            sso: None,
            auditors: None,
            clock,
        }
    }

    /// Asks the single sign-on who a token belongs to. Without it, users are called by their role.
    #[must_use]
    pub fn with_sso(mut self, connector: Arc<dyn Connector>, host: impl Into<String>) -> Self {
        let (clock, limit) = (Arc::clone(&self.clock), self.console.limit);
        self.sso = Some(LainSite::new(connector, host, clock, "sign-on", limit));
        self
    }

    /// Lets a group of the single sign-on look at the records of sessions and replay them: LAIN's
    /// own is `entry`. Without one nobody may.
    #[must_use]
    pub fn with_auditors(mut self, group: impl Into<String>) -> Self {
        self.auditors = Some(group.into());
        self
    }

    /// Sets how long each question may take.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.console.limit = limit;
        if let Some(sso) = &mut self.sso {
            sso.limit = limit;
        }
        self
    }

    async fn enter(&self, app: &str, token: &str) -> Result<Identity> {
        let question =
            Request::get(format!("/api/v1/repos/{app}/roles/")).header("access-token", token);
        let roles: Roles = self.console.ask(question, None).await?;
        let role = roles
            .role
            .and_then(|role| role.role)
            .filter(|role| !role.is_empty());
        let Some(role) = role else {
            return Err(
                refused("the user has no role in this application").with_context("app", app)
            );
        };
        match &self.sso {
            None => Ok(Identity::new(format!("{role}@{app}"), "token")),
            Some(sso) => Ok(sso.me(token).await?.identity()),
        }
    }

    async fn audit(&self, token: &str) -> Result<Identity> {
        let (Some(sso), Some(group)) = (&self.sso, &self.auditors) else {
            return Err(refused("no group of LAIN's may look at records"));
        };
        let me = sso.me(token).await?;
        match me.groups.contains(group) {
            true => Ok(me.identity()),
            false => Err(refused(
                "the user is not in the group that may look at records",
            )),
        }
    }
}

#[async_trait]
impl AccessControl for LainConsole {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        // The gateway lets nothing else through; the path depends on it.
        if !request.place.is_sane() {
            return Err(refused("the application's name is malformed"));
        }
        let Some(token) = &request.credentials.token else {
            return Err(Error::new(ErrorKind::Unauthenticated, "there is no token"));
        };
        let who = match (&request.place, request.action) {
            (Place::Lain { app, .. }, _) => self.enter(app, token).await?,
            (Place::Records | Place::Session(_), Action::Read) => self.audit(token).await?,
            _ => return Err(refused("LAIN knows applications only")),
        };
        Ok(Admission::new(who))
    }
}
