use std::{sync::Arc, time::Duration};

use http::{Request, header};
use longshore_core::{
    Clock, ClockExt, Connector, Error, ErrorKind, Identity, Result,
    http::{HttpClient, empty_body, full_body, read_body},
};
use serde::{Deserialize, de::DeserializeOwned};

/// A server of LAIN's: its console, or its single sign-on.
#[derive(Clone, Debug)]
pub(super) struct LainSite {
    client: HttpClient,
    host: String,
    pub(super) limit: Duration,
    clock: Arc<dyn Clock>,
}

/// Whose a token is, as the single sign-on says.
#[derive(Deserialize)]
pub(super) struct Me {
    #[serde(default)]
    pub(super) email: String,
    #[serde(default)]
    pub(super) groups: Vec<String>,
}

impl Me {
    pub(super) fn identity(&self) -> Identity {
        Identity::new(&self.email, "token")
    }
}

impl LainSite {
    pub(super) fn new(
        connector: Arc<dyn Connector>,
        host: impl Into<String>,
        clock: Arc<dyn Clock>,
        peer: &'static str,
        limit: Duration,
    ) -> Self {
        Self {
            client: HttpClient::new(connector, Arc::clone(&clock)).with_peer(peer),
            host: host.into(),
            limit,
            clock,
        }
    }

    /// Asks who has this token.
    pub(super) async fn me(&self, token: &str) -> Result<Me> {
        let question =
            Request::get("/api/me").header(header::AUTHORIZATION, format!("Bearer {token}"));
        let me: Me = self.ask(question, None).await?;
        if me.email.is_empty() || me.email.chars().any(char::is_control) {
            return Err(refused("the sign-on does not say whose the token is"));
        }
        Ok(me)
    }

    /// Sends a question, with a form where there is one. Only a status of 2xx counts. Cancel safe.
    pub(super) async fn ask<T: DeserializeOwned + Send>(
        &self,
        question: http::request::Builder,
        form: Option<String>,
    ) -> Result<T> {
        let body = form.map_or_else(empty_body, full_body);
        let question = question
            .header(header::HOST, &self.host)
            .body(body)
            .map_err(|_| refused("the token is not one that can be sent"))?;
        let answered = async {
            let response = self.client.send(question).await?;
            let status = response.status();
            if !status.is_success() {
                let text = format!("LAIN answered {status}");
                return Err(match status.as_u16() {
                    400 | 401 | 403 | 404 => refused(text),
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

pub(super) fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::PermissionDenied, text)
}

const LONGEST_ANSWER: usize = 64 << 10;
