mod algorithm;
mod claims;
mod keys;
mod rules;
mod token;

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use longshore_core::{Access, Clock, Error, ErrorKind, Identity, Result};

pub use self::{algorithm::JwtAlgorithm, keys::JwtKeys, rules::JwtRules};
use self::{claims::Claims, token::Token};
use super::{AccessControl, AccessRequest, Admission};

/// Access by JSON Web Tokens (RFC 7519) of one issuer, signed (RFC 7515), as RFC 8725 wants them
/// checked.
///
/// A token counts if it is signed by one of the keys with a listed algorithm that is the key's own,
/// comes from the issuer, is for one of the audiences, and holds now, by the clock that is given. It
/// must have an end (`exp`): leave holds until then, so a session ends with its token. What its
/// user and groups may do is in the rules. Keys that a token brings along or points to are not
/// looked at. Several issuers are several of these, so that none can name the other's users.
///
/// ```
/// use std::sync::Arc;
/// use longshore_core::SystemClock;
/// use longshore_exec::access::{JwtAccess, JwtKeys, JwtRules};
///
/// let rules = JwtRules::parse(r#"{
///     "issuer": "https://sso.example",
///     "audiences": ["longshore"],
///     "algorithms": ["EdDSA"],
///     "grants": [
///         {"group": "developers", "enter": ["lain:shop/web/*"], "read": ["lain:*"]},
///         {"user": "ann@example", "read": ["records:*"]}
///     ]
/// }"#)?;
/// let keys = JwtKeys::parse(r#"{"keys": [{
///     "kty": "OKP", "crv": "Ed25519", "kid": "2026",
///     "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
/// }]}"#)?;
/// let access = JwtAccess::new(rules, keys, Arc::new(SystemClock::new()))?;
/// # Ok::<_, longshore_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct JwtAccess {
    rules: Arc<JwtRules>,
    keys: Arc<RwLock<Arc<JwtKeys>>>,
    clock: Arc<dyn Clock>,
}

impl JwtAccess {
    /// By these rules, keys and time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`]: no key fits a listed algorithm, so no token could ever count.
    pub fn new(rules: JwtRules, keys: JwtKeys, clock: Arc<dyn Clock>) -> Result<Self> {
        keys.check(&rules)?;
        Ok(Self {
            rules: Arc::new(rules),
            keys: Arc::new(RwLock::new(Arc::new(keys))),
            clock,
        })
    }

    /// Takes other keys from now on, for all clones. Sessions by a key that is not among them end
    /// when they are asked about again, five minutes later at most.
    ///
    /// # Errors
    /// As [`new`](Self::new); the keys from before stay then.
    pub fn replace_keys(&self, keys: JwtKeys) -> Result<()> {
        keys.check(&self.rules)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    fn claims(&self, token: &str) -> Result<Claims> {
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let payload = Token::parse(token)?.verify(&keys, self.rules.algorithms())?;
        Claims::read(&payload, &self.rules, self.clock.now())
    }
}

#[async_trait]
impl AccessControl for JwtAccess {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let token = request.credentials.token.as_deref();
        let token = token.ok_or_else(|| untrusted("there is no token"))?;
        let claims = self.claims(token)?;
        let allowed = self.rules.allow(&claims, request.action, &request.place);
        let Some(least_cleanup) = allowed else {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "the rules for tokens do not allow it",
            )
            .with_context("user", longshore_core::printable(&claims.user, 100))
            .with_context("place", &request.place));
        };
        let mut access = Access::default();
        access.valid_for = Some(claims.until.since(self.clock.now()));
        // Another issuer's user of this name is somebody else.
        let proof = format!("token of {}", self.rules.issuer());
        Ok(Admission::new(Identity::new(claims.user, proof))
            .with_access(access)
            .with_least_cleanup(least_cleanup))
    }
}

/// Never with a part of the token in it.
fn untrusted(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unauthenticated, text)
}

#[cfg(test)]
mod tests;
