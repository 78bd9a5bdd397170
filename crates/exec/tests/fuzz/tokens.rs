//! What the fuzz target for tokens does with bytes.

use std::sync::Arc;

use futures::FutureExt;
use longshore_core::{Action, SystemClock};
use longshore_exec::access::{
    AccessControl, AccessRequest, Credentials, JwtAccess, JwtKeys, JwtRules, Place,
};

/// Whatever is shown as a token, a key set or rules: refused, and nothing else.
pub(crate) fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let _ = (JwtKeys::parse(&text), JwtRules::parse(&text));
    let rules = r#"{"issuer": "i", "audiences": ["a"], "algorithms": ["HS256"], "grants": [{"everybody": true, "enter": ["*"]}]}"#;
    let access = JwtAccess::new(
        JwtRules::parse(rules).expect("rules"),
        JwtKeys::secret(None, &[7; 32]).expect("a secret"),
        Arc::new(SystemClock::new()),
    )
    .expect("a key for HS256");
    let credentials = Credentials::new(Some(text));
    let request = AccessRequest::new(credentials, Action::Enter, Place::Records);
    let answer = access.admit(&request).now_or_never().expect("no waiting");
    assert!(answer.is_err());
}
