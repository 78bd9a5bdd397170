use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{Request, header};
use longshore_core::{
    Clock, ClockExt, Connector, Error, ErrorKind, Identity, Result,
    http::{HttpClient, empty_body, read_body},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{AccessControl, AccessRequest, Admission, Place};

/// LAIN's console decides: who has a role in the application may enter its containers; who it is,
/// the single sign-on says.
///
/// `GET /api/v1/repos/<app>/roles/` with the header `access-token`, allowed if `role.role` is not
/// empty; then `GET /api/me` with the token as bearer, whose `email` is the user. Unlike LAIN, only
/// a status of 2xx counts.
#[derive(Clone, Debug)]
pub struct LainConsole {
    console: HttpClient,
    host: String,
    sso: Option<(HttpClient, String)>,
    limit: Duration,
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

#[derive(Deserialize)]
struct Me {
    #[serde(default)]
    email: String,
}

impl LainConsole {
    /// The console behind this connector, under this name; each question may take 4 s.
    pub fn new(
        connector: Arc<dyn Connector>,
        host: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            console: HttpClient::new(connector, Arc::clone(&clock)).with_peer("console"),
            host: host.into(),
            sso: None,
            limit: Duration::from_secs(4),
            clock,
        }
    }

    /// Asks the single sign-on who a token belongs to. Without it, users are called by their role.
    #[must_use]
    pub fn with_sso(mut self, connector: Arc<dyn Connector>, host: impl Into<String>) -> Self {
        let client = HttpClient::new(connector, Arc::clone(&self.clock)).with_peer("sign-on");
        self.sso = Some((client, host.into()));
        self
    }

    /// Sets how long each question may take.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    async fn ask<T: DeserializeOwned + Send>(
        &self,
        client: &HttpClient,
        request: http::request::Builder,
    ) -> Result<T> {
        let request = request
            .body(empty_body())
            .map_err(|_| refused("the token is not one that can be sent"))?;
        let answered = async {
            let response = client.send(request).await?;
            let status = response.status();
            if !status.is_success() {
                let text = format!("LAIN answered {status}");
                return Err(match status.as_u16() {
                    401 | 403 | 404 => refused(text),
                    _ => Error::unavailable(text),
                });
            }
            read_body(response.into_body(), LONGEST_ANSWER).await
        };
        let body = self
            .clock
            .timeout(self.limit, "LAIN's answer", answered)
            .await??;
        serde_json::from_slice(&body)
            .map_err(|_| Error::protocol("LAIN's answer is not the JSON it should be"))
    }
}

#[async_trait]
impl AccessControl for LainConsole {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let Place::Lain { app, .. } = &request.place else {
            return Err(refused("LAIN knows applications only"));
        };
        // The gateway lets nothing else through; the path depends on it.
        if !request.place.is_sane() {
            return Err(refused("the application's name is malformed"));
        }
        let Some(token) = &request.credentials.token else {
            return Err(Error::new(ErrorKind::Unauthenticated, "there is no token"));
        };
        let question = Request::get(format!("/api/v1/repos/{app}/roles/"))
            .header(header::HOST, &self.host)
            .header("access-token", token);
        let roles: Roles = self.ask(&self.console, question).await?;
        let role = roles
            .role
            .and_then(|role| role.role)
            .filter(|role| !role.is_empty());
        let Some(role) = role else {
            return Err(
                refused("the user has no role in this application").with_context("app", app)
            );
        };
        let who = match &self.sso {
            None => format!("{role}@{app}"),
            Some((client, host)) => {
                let question = Request::get("/api/me")
                    .header(header::HOST, host)
                    .header(header::AUTHORIZATION, format!("Bearer {token}"));
                let me: Me = self.ask(client, question).await?;
                if me.email.is_empty() {
                    return Err(refused("the sign-on does not say whose the token is"));
                }
                me.email
            }
        };
        Ok(Admission::new(Identity::new(who, "token")))
    }
}

fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::PermissionDenied, text)
}

const LONGEST_ANSWER: usize = 64 << 10;
