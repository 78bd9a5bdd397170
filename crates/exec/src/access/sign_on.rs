use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{Request, header};
use longshore_core::{Clock, Connector, Error, Result};
use serde::Deserialize;

use super::lain::{LainSite, refused};

/// Where a page sends its user to sign on, as `GET /api/config` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignOnSite {
    /// The host of the sign-on.
    pub domain: String,
    /// The name that this server has there.
    pub client_id: String,
    /// Where the sign-on sends the user back to: this server's `/api/authorize`.
    pub redirect_uri: String,
    /// What is asked for.
    pub scope: String,
}

impl SignOnSite {
    /// All four.
    pub fn new(
        domain: impl Into<String>,
        client_id: impl Into<String>,
        redirect_uri: impl Into<String>,
        scope: impl Into<String>,
    ) -> Self {
        Self {
            domain: domain.into(),
            client_id: client_id.into(),
            redirect_uri: redirect_uri.into(),
            scope: scope.into(),
        }
    }
}

/// A user who has signed on.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedOn {
    /// What access control is shown from now on.
    pub token: String,
    /// For how long.
    pub valid_for: Duration,
    /// Who it is.
    pub user: String,
}

/// Hides the token.
impl fmt::Debug for SignedOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedOn")
            .field("user", &self.user)
            .field("valid_for", &self.valid_for)
            .finish_non_exhaustive()
    }
}

/// Signs users of web pages on, by the code that a single sign-on has given them (OAuth 2.0, RFC
/// 6749, section 4.1).
#[async_trait]
pub trait SignOn: fmt::Debug + Send + Sync + 'static {
    /// What pages have to know.
    fn site(&self) -> &SignOnSite;

    /// Takes a code for a token.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](longshore_core::ErrorKind::PermissionDenied): the code is not
    /// good. Anything else: nobody could say. No error names a secret.
    ///
    /// # Cancel safety
    /// Safe; the code may be used up.
    async fn sign_on(&self, code: &str) -> Result<SignedOn>;
}

/// LAIN's single sign-on: `POST /oauth2/token` with the code and this server's secret, then
/// `GET /api/me` for who it is.
#[derive(Clone)]
pub struct LainSignOn {
    sso: LainSite,
    site: SignOnSite,
    secret: String,
    path: String,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl LainSignOn {
    /// The sign-on behind this connector, named by `site`, where this server has a secret. Each
    /// question may take 4 s.
    pub fn new(
        connector: Arc<dyn Connector>,
        site: SignOnSite,
        secret: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let limit = Duration::from_secs(4);
        Self {
            sso: LainSite::new(connector, &site.domain, clock, "sign-on", limit),
            site,
            secret: secret.into(),
            path: "/oauth2/token".to_owned(),
        }
    }

    /// Sets the path that codes are taken at.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets how long each question may take.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.sso.limit = limit;
        self
    }
}

#[async_trait]
impl SignOn for LainSignOn {
    fn site(&self) -> &SignOnSite {
        &self.site
    }

    async fn sign_on(&self, code: &str) -> Result<SignedOn> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.site.redirect_uri)
            .append_pair("client_id", &self.site.client_id)
            .append_pair("client_secret", &self.secret)
            .finish();
        let question = Request::post(&self.path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let given: Given = self.sso.ask(question, Some(form)).await?;
        if given.access_token.is_empty() {
            return Err(refused("the sign-on gave no token"));
        }
        // Without a word about its end (RFC 6749, section 5.1) it is not kept for long.
        let seconds = match given.expires_in {
            0 => SHORTEST_TOKEN,
            seconds => seconds.min(LONGEST_TOKEN),
        };
        let me = self.sso.me(&given.access_token).await?;
        if me.email.len() > LONGEST_NAME {
            return Err(Error::protocol(
                "the sign-on's name of the user is too long",
            ));
        }
        Ok(SignedOn {
            token: given.access_token,
            valid_for: Duration::from_secs(seconds),
            user: me.email,
        })
    }
}

/// Hides the secret.
impl fmt::Debug for LainSignOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LainSignOn")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

const SHORTEST_TOKEN: u64 = 600;
/// A month: what browsers keep a cookie for is not the sign-on's to stretch without end.
const LONGEST_TOKEN: u64 = 30 * 86_400;
const LONGEST_NAME: usize = 256;
