use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use longshore_core::{
    Action, AuditEvent, AuditOutcome, ClockExt, Error, ErrorKind, Identity, Result, Target,
};

use super::{Shared, history};
use crate::access::{SignOn, SignedOn};

/// What LAIN's web page asks before it has a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SignOnRoute {
    Config,
    /// With the code.
    Authorize(String),
    Logout,
}

impl Shared {
    /// Cancel safe.
    pub(super) async fn sign_on(
        &self,
        method: &Method,
        route: SignOnRoute,
    ) -> Response<Full<Bytes>> {
        let answer = match (method, route) {
            (&Method::GET, SignOnRoute::Config) => self.config(),
            (&Method::GET, SignOnRoute::Authorize(code)) => self.authorize(&code).await,
            (&Method::GET, SignOnRoute::Logout) => {
                let mut response = history::answer(StatusCode::OK, "\"OK\"".to_owned());
                set_cookie(&mut response, "", Duration::ZERO).map(|()| response)
            }
            _ => Err(Error::unsupported("only GET is answered here")),
        };
        answer.unwrap_or_else(|error| {
            tracing::debug!(error = error.chain(), "a sign-on was refused");
            history::refusal(&error)
        })
    }

    fn ask_at(&self) -> Result<&dyn SignOn> {
        let none = || Error::not_found("no sign-on is configured here");
        self.sign_on.as_deref().ok_or_else(none)
    }

    fn config(&self) -> Result<Response<Full<Bytes>>> {
        let site = self.ask_at()?.site();
        let text = serde_json::json!({ "sso": {
            "domain": site.domain,
            "client_id": site.client_id,
            "redirect_uri": site.redirect_uri,
            "scope": site.scope,
        }});
        Ok(history::answer(StatusCode::OK, text.to_string()))
    }

    async fn authorize(&self, code: &str) -> Result<Response<Full<Bytes>>> {
        let sign_on = self.ask_at()?;
        if !(1..=LONGEST_CODE).contains(&code.len()) {
            return Err(Error::invalid(format!(
                "code has {} bytes; 1 to {LONGEST_CODE} can be one",
                code.len()
            )));
        }
        // Anybody can make this server ask.
        let Ok(_permit) = self.sign_ons.try_acquire() else {
            let text = "too many are signing on: try again";
            return Err(Error::new(ErrorKind::ResourceExhausted, text));
        };
        let limit = self.options.admit_limit;
        let signed = self
            .clock
            .timeout(limit, "the sign-on", sign_on.sign_on(code))
            .await
            .and_then(|signed| signed);
        let signed = match signed {
            Ok(signed) => signed,
            Err(error) => {
                let outcome = AuditOutcome::Denied(error.to_string());
                let _ = self.record_sign_on("unknown", outcome).await;
                return Err(error);
            }
        };
        self.record_sign_on(&signed.user, AuditOutcome::Done)
            .await?;
        let mut response = history::answer(StatusCode::TEMPORARY_REDIRECT, String::new());
        let SignedOn {
            token,
            valid_for,
            user,
        } = signed;
        set_cookie(&mut response, &token, valid_for)?;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("user", &user)
            .finish();
        let place = HeaderValue::from_str(&format!("{}?{query}", self.options.sign_on_landing))
            .map_err(|_| Error::internal("the page behind the sign-on has no address"))?;
        response.headers_mut().insert(header::LOCATION, place);
        Ok(response)
    }

    async fn record_sign_on(&self, who: &str, outcome: AuditOutcome) -> Result<()> {
        let who = Identity::new(who, "token");
        let target = Target::new("sign-on", self.ask_at()?.site().domain.clone());
        let now = self.clock.now();
        let event = AuditEvent::new(now, who, Action::Read, "exec.sign-on", target, outcome);
        self.record(event).await
    }
}

/// The cookie goes back to this server only, over TLS only, and no script reads it.
fn set_cookie(response: &mut Response<Full<Bytes>>, token: &str, life: Duration) -> Result<()> {
    // RFC 6265, section 4.1.1.
    let is_good =
        |byte: u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    if token.len() > LONGEST_TOKEN || !token.bytes().all(is_good) {
        return Err(Error::protocol(
            "the sign-on's token does not fit into a cookie",
        ));
    }
    let cookie = format!(
        "access_token={token}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Strict",
        life.as_secs()
    );
    let mut cookie = HeaderValue::from_str(&cookie)
        .map_err(|_| Error::protocol("the sign-on's token does not fit into a cookie"))?;
    cookie.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(())
}

const LONGEST_CODE: usize = 2048;
/// What browsers keep (RFC 6265, section 6.1).
const LONGEST_TOKEN: usize = 4000;
pub(super) const MOST_SIGN_ONS: usize = 32;
