//! A page whose own name was turned to this server (DNS rebinding): to the browser it asks its own
//! site, so its requests may carry no `Origin`.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use longshore_core::{Error, Result};
use longshore_exec::{
    access::{AccessControl, AccessRequest, Admission, NameProven, OriginCheck, StaticDirectory},
    gateway::GatewayOptions,
    record::{MemoryRecords, RecordLimits},
};

use crate::server::Server;

/// Panics: what is refused for its `Host` is refused before anybody is asked about it.
#[derive(Debug)]
struct NeverAsked;

#[async_trait]
impl AccessControl for NeverAsked {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        panic!("asked about {}", request.place);
    }
}

#[derive(Debug)]
struct Refuses;

#[async_trait]
impl AccessControl for Refuses {
    async fn admit(&self, _: &AccessRequest) -> Result<Admission> {
        Err(Error::new(
            longshore_core::ErrorKind::PermissionDenied,
            "no",
        ))
    }
}

fn server(access: impl AccessControl) -> Arc<Server> {
    let records = Arc::new(MemoryRecords::new(RecordLimits::default()));
    Server::new(
        StaticDirectory::new(),
        GatewayOptions::default(),
        |gateway| {
            gateway
                .with_access(Arc::new(access))
                .with_records(records)
                .with_origin(OriginCheck::new().with_host("entry.lain"))
        },
    )
}

async fn ask(server: &Server, path: &str, host: &str, proven: bool) -> (StatusCode, String) {
    let mut request = Request::get(path)
        .header("host", host)
        .body(())
        .expect("a request");
    if proven {
        request.extensions_mut().insert(NameProven);
    }
    let answer = server.gateway.handle(request).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const PATHS: [&str; 11] = [
    "/api/ping",
    "/api/sessions",
    "/api/commands",
    "/api/config",
    "/api/authorize?code=1",
    "/api/logout",
    "/api/sessions/1/replay",
    "/v1/exec",
    "/enter",
    "/ws?target=web",
    "/token",
];

#[tokio::test]
async fn no_path_answers_under_a_foreign_name() {
    let server = server(NeverAsked);
    for path in PATHS {
        for host in [
            "evil.example",
            "evil.example:7681",
            "localhost.evil.example",
        ] {
            let (status, text) = ask(&server, path, host, false).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path} {host}");
            assert!(text.contains("is not a name of this server"), "{text}");
            assert!(text.contains("OriginCheck::with_host"), "{text}");
        }
    }
}

#[tokio::test]
async fn its_own_names_and_addresses_go_on_to_access_control() {
    let server = server(Refuses);
    for host in ["localhost:1", "127.0.0.1:1", "[::1]:1", "entry.lain"] {
        let (status, text) = ask(&server, "/api/sessions", host, false).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{host}: {text}");
    }
    let (status, _) = ask(&server, "/api/sessions", "manager.example", true).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}
