//! LAIN's `/api/config`, `/api/authorize` and `/api/logout`, asked as a browser asks, in bytes, and
//! what their cookie is good for.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{BoxByteStream, Connector, Result, SystemClock};
use longshore_exec::{
    access::{LainConsole, LainSignOn, SignOnSite, StaticDirectory},
    gateway::GatewayOptions,
    record::{MemoryRecords, RecordLimits},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::Server;

/// The single sign-on in memory: a code `good` is worth a token, once.
#[derive(Clone, Debug)]
struct Sso {
    token: &'static str,
    groups: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Sso {
    fn answer(&self, path: &str, bearer: &str, form: &str) -> (u16, String) {
        match path {
            "/oauth2/token" if form.contains("&code=good&") => (
                200,
                format!(
                    r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3600}}"#,
                    self.token
                ),
            ),
            "/oauth2/token" if form.contains("&code=broken&") => (500, String::new()),
            "/oauth2/token" => (400, r#"{"error":"invalid_grant"}"#.to_owned()),
            "/api/me" if bearer == format!("Bearer {}", self.token) => (
                200,
                format!(
                    r#"{{"email":"ann+é@lain.example","groups":[{}]}}"#,
                    self.groups
                ),
            ),
            _ => (401, String::new()),
        }
    }
}

#[async_trait]
impl Connector for Sso {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, far) = tokio::io::duplex(4096);
        let this = self.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let this = this.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let form = String::from_utf8(body.to_vec()).unwrap();
                    let bearer = head.headers.get("authorization");
                    let bearer = bearer.map_or("", |value| value.to_str().unwrap());
                    let line = format!("{} {} {form}", head.method, head.uri);
                    this.asked.lock().unwrap().push(line.trim().to_owned());
                    let (status, text) = this.answer(head.uri.path(), bearer, &form);
                    let mut response = Response::new(Full::new(Bytes::from(text)));
                    *response.status_mut() = status.try_into().unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(far), service);
            let _ = served.await;
        });
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "memory://sso".to_owned()
    }
}

struct Scene {
    server: Arc<Server>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn scene(token: &'static str, groups: &'static str) -> Scene {
    let asked = Arc::new(Mutex::default());
    let sso = Sso {
        token,
        groups,
        asked: Arc::clone(&asked),
    };
    let clock = Arc::new(SystemClock::new());
    let uri = "https://entry.lain.example/api/authorize";
    let site = SignOnSite::new("sso.lain.example", "7", uri, "write:group");
    let sign_on = LainSignOn::new(Arc::new(sso.clone()), site, "the secret", clock.clone());
    let console = LainConsole::new(Arc::new(sso.clone()), "console.lain.example", clock)
        .with_sso(Arc::new(sso), "sso.lain.example")
        .with_auditors("entry");
    let records = Arc::new(MemoryRecords::new(RecordLimits::default()));
    let server = Server::new(
        StaticDirectory::new(),
        GatewayOptions::default(),
        |gateway| {
            gateway
                .with_access(Arc::new(console))
                .with_records(records)
                .with_sign_on(Arc::new(sign_on))
        },
    );
    Scene { server, asked }
}

/// The status line and headers, and the body.
async fn ask(server: &Server, line: &str, headers: &str) -> (Vec<String>, String) {
    let mut stream = server.dial();
    let request =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().map(str::to_owned).collect(), body.to_owned())
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[tokio::test(start_paused = true)]
async fn a_page_learns_where_to_sign_on_and_no_secret() {
    let scene = scene("t0ken", "");
    let (head, body) = ask(&scene.server, "GET /api/config", "").await;
    assert_eq!(head[0], "HTTP/1.1 200 OK");
    assert_eq!(
        header(&head, "content-type"),
        Some("application/vnd.laincloud.entry.v3+json")
    );
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let expected = serde_json::json!({"sso": {
        "domain": "sso.lain.example", "client_id": "7",
        "redirect_uri": "https://entry.lain.example/api/authorize", "scope": "write:group",
    }});
    assert_eq!(body, expected);
    assert!(scene.asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_code_becomes_a_cookie_that_opens_the_records_and_is_taken_back() {
    let scene = scene("t0ken", r#""dev","entry""#);
    // As a browser comes from the sign-on's page.
    let led = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    let (head, _) = ask(&scene.server, "GET /api/authorize?code=good", led).await;
    assert_eq!(head[0], "HTTP/1.1 307 Temporary Redirect");
    assert_eq!(
        header(&head, "location"),
        Some("/web/?user=ann%2B%C3%A9%40lain.example")
    );
    assert_eq!(
        header(&head, "set-cookie"),
        Some("access_token=t0ken; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Strict")
    );
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    assert_eq!(
        *scene.asked.lock().unwrap(),
        [
            "POST /oauth2/token grant_type=authorization_code&code=good\
             &redirect_uri=https%3A%2F%2Fentry.lain.example%2Fapi%2Fauthorize&client_id=7\
             &client_secret=the+secret",
            "GET /api/me",
        ]
    );
    let (head, body) = ask(
        &scene.server,
        "GET /api/sessions",
        "Cookie: a=b; access_token=t0ken\r\n",
    )
    .await;
    assert_eq!((head[0].as_str(), body.as_str()), ("HTTP/1.1 200 OK", "[]"));
    let (head, _) = ask(&scene.server, "GET /api/logout", "").await;
    assert_eq!(head[0], "HTTP/1.1 200 OK");
    assert_eq!(
        header(&head, "set-cookie"),
        Some("access_token=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict")
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_in_no_group_signs_on_and_sees_no_records() {
    let scene = scene("t0ken", r#""dev""#);
    let (head, _) = ask(&scene.server, "GET /api/authorize?code=good", "").await;
    assert_eq!(head[0], "HTTP/1.1 307 Temporary Redirect");
    let cookie = "Cookie: access_token=t0ken\r\n";
    for path in ["/api/sessions", "/api/commands"] {
        let (head, _) = ask(&scene.server, &format!("GET {path}"), cookie).await;
        assert_eq!(head[0], "HTTP/1.1 401 Unauthorized", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_sign_on_sets_no_cookie() {
    let good = scene("t0ken", "");
    let evil = scene("t0ken; Domain=lain.example", "");
    let long = format!("GET /api/authorize?code={}", "x".repeat(3000));
    for (scene, line, status, why) in [
        (&good, "GET /api/authorize?code=bad", "401", "400"),
        (&good, "GET /api/authorize?code=broken", "503", "500"),
        (&good, "GET /api/authorize?code=", "400", "code"),
        (&good, "GET /api/authorize", "400", "code"),
        (&good, &long, "400", "2048"),
        (&good, "POST /api/authorize?code=good", "405", "GET"),
        (&good, "POST /api/logout", "405", "GET"),
        (&evil, "GET /api/authorize?code=good", "500", "cookie"),
    ] {
        let (head, body) = ask(&scene.server, line, "").await;
        assert_eq!(head[0].split(' ').nth(1), Some(status), "{line} {body}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
        assert!(!message.contains("secret"));
        assert_eq!(header(&head, "set-cookie"), None, "{line}");
    }
    // A page of another site can't sign anybody out by an image, nor read where to sign on.
    for path in ["/api/logout", "/api/config"] {
        let other = "Sec-Fetch-Site: cross-site\r\n";
        let (head, _) = ask(&good.server, &format!("GET {path}"), other).await;
        assert!(head[0].contains(" 403 "), "{path}");
        assert_eq!(header(&head, "set-cookie"), None);
    }
    let none = Server::scripted();
    let (head, _) = ask(&none, "GET /api/config", "").await;
    assert!(head[0].contains(" 404 "), "{head:?}");
}
