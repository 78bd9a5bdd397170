//! Sessions by JSON Web Tokens: they end with their token.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::StreamExt;
use longshore_core::{Clock, ClockExt, ErrorKind, ExecSession, SystemClock};
use longshore_exec::{
    access::{JwtAccess, JwtKeys, JwtRules, StaticDirectory},
    gateway::GatewayOptions,
    protocol::native::Open,
    session::EndReason,
};
use ring::hmac;
use serde_json::json;

use crate::{
    programs,
    server::{Server, id},
};

const SECRET: &[u8] = b"thirty-two bytes of a test secret";

fn server(clock: Arc<dyn Clock>) -> (Arc<Server>, JwtAccess) {
    let rules = json!({
        "issuer": "sso", "audiences": ["longshore"], "algorithms": ["HS256"],
        "leeway_seconds": 10, "grants": [{"group": "dev", "enter": ["web"]}],
    });
    let rules = JwtRules::parse(&rules.to_string()).unwrap();
    let keys = JwtKeys::secret(None, SECRET).unwrap();
    let access = JwtAccess::new(rules, keys, clock).unwrap();
    let given = access.clone();
    let exec = programs::scripted().with_workload(id("web"));
    let directory = StaticDirectory::new().with_engine(Arc::new(exec));
    let server = Server::new(directory, GatewayOptions::default(), |gateway| {
        gateway.with_access(Arc::new(given))
    });
    (server, access)
}

/// For so long from now.
fn open(clock: &dyn Clock, target: &str, valid: Duration) -> Open {
    let until = clock.now().after(valid).as_secs();
    let payload =
        json!({"iss": "sso", "aud": "longshore", "sub": "ann", "groups": ["dev"], "exp": until});
    let parts = [r#"{"alg":"HS256"}"#.to_owned(), payload.to_string()];
    let message = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    let mut open = Open::default();
    open.token = Some(format!("{message}.{signature}"));
    (open.target, open.argv) = (target.into(), vec!["forever".into()]);
    open
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token() {
    let clock = Arc::new(SystemClock::new());
    let (server, _) = server(clock.clone());
    let opening = open(&*clock, "web", Duration::from_secs(120));
    let start = clock.now();
    let session = server.client().open(opening).await.unwrap();
    session.started().await.unwrap();
    let mut output = session.take_output().unwrap();
    tokio::spawn(async move { while output.next().await.is_some() {} });
    // Its connection may come and go.
    clock.sleep(Duration::from_secs(60)).await;
    assert!(server.cut());
    let end = session.ended().await.unwrap();
    assert_eq!(end.reason, EndReason::AuthExpired);
    assert_eq!(end.reason.to_string(), "auth-expired");
    let lived = clock.now().since(start).as_secs_f64();
    assert!((128.0..134.0).contains(&lived), "{lived}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_taken_back_ends_its_sessions() {
    let clock = Arc::new(SystemClock::new());
    let (server, access) = server(clock.clone());
    let opening = open(&*clock, "web", Duration::from_secs(86_400));
    let session = server.client().open(opening).await.unwrap();
    session.started().await.unwrap();
    access
        .replace_keys(JwtKeys::secret(None, &[1; 32]).unwrap())
        .unwrap();
    let start = clock.now();
    assert_eq!(
        session.ended().await.unwrap().reason,
        EndReason::AuthExpired
    );
    assert!(clock.now().since(start) <= Duration::from_secs(305));
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_opens_nothing_and_a_good_one_only_its_place() {
    let clock = Arc::new(SystemClock::new());
    let (server, _) = server(clock.clone());
    let late = open(&*clock, "web", Duration::from_secs(60));
    clock.sleep(Duration::from_secs(71)).await;
    let elsewhere = open(&*clock, "db", Duration::from_secs(60));
    for refused in [late, elsewhere] {
        let error = server.client().open(refused).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    assert!(server.hub.sessions().is_empty());
}
