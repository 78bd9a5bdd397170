use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{ErrorKind, SystemClock, http::read_body};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[test]
fn l2_an_observer_reads_and_changes_nothing() {
    let reads = |method: &str, path: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        only_reads(&request)
    };
    for (method, path) in [
        ("GET", "/_ping"),
        ("HEAD", "/_ping"),
        ("GET", "/v1.40/containers/json?all=1"),
        ("GET", "/events?since=1"),
        ("GET", "/containers/a/logs?follow=1"),
        ("GET", "/containers/a/stats?stream=0"),
        ("HEAD", "/containers/a/archive?path=/"),
        ("POST", "/containers/a/wait"),
        ("POST", "/v1.41/containers/a/wait?condition=removed"),
    ] {
        assert!(reads(method, path), "{method} {path}");
    }
    for (method, path) in [
        ("POST", "/containers/create"),
        ("POST", "/containers/a/start"),
        ("POST", "/containers/a/start/wait"),
        ("POST", "/containers//wait"),
        ("POST", "/x/v1.40/containers/a/wait"),
        ("POST", "/containers/a/../b/wait"),
        ("DELETE", "/containers/a"),
        ("PUT", "/containers/a/archive"),
        ("POST", "/containers/a/attach"),
        ("GET", "/containers/a/attach/ws"),
        ("GET", "/v1.40/containers/a/attach/ws?stdin=1"),
        ("POST", "/exec/a/start"),
        ("POST", "/session"),
        ("OPTIONS", "/_ping"),
        ("BREW", "/containers/json"),
        ("CONNECT", "x:1"),
    ] {
        assert!(!reads(method, path), "{method} {path}");
    }
    let upgrade = Request::builder()
        .uri("/containers/json")
        .header("upgrade", "tcp");
    assert!(!only_reads(&upgrade.body(()).unwrap()));
}

/// An engine that notes its requests and answers each in the same way.
#[derive(Clone, Debug)]
struct Canned {
    answer: &'static str,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    fn new(answer: &'static str) -> Self {
        Self {
            answer,
            heard: Arc::default(),
        }
    }
}

/// The answer of an engine that can't be reached.
const GONE: &str = "";

#[async_trait]
impl Connector for Canned {
    async fn connect(&self) -> Result<BoxByteStream> {
        if self.answer == GONE {
            return Err(Error::unavailable("no engine"));
        }
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let this = self.clone();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while let Ok(byte) = far.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                    this.heard.lock().unwrap().push(text);
                    far.write_all(this.answer.as_bytes()).await.unwrap();
                }
            }
        });
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "canned".to_owned()
    }
}

#[derive(Clone, Debug)]
enum As {
    Observer(Canned),
    Refused(String),
}

#[derive(Debug)]
struct Through(As);

#[async_trait]
impl Connector for Through {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (how, clock) = (self.0.clone(), Arc::new(SystemClock::new()));
        tokio::spawn(async move {
            match how {
                As::Observer(engine) => observe(Box::new(far), Arc::new(engine), clock).await,
                As::Refused(reason) => refuse(Box::new(far), reason, &*clock).await,
            }
        });
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "through".to_owned()
    }
}

fn client(how: As) -> HttpClient {
    HttpClient::new(Arc::new(Through(how)), Arc::new(SystemClock::new()))
}

async fn ask(client: &HttpClient, method: Method, path: &str) -> (StatusCode, Bytes) {
    let request = Request::builder().method(method).uri(path);
    let response = client
        .send(request.body(empty_body()).unwrap())
        .await
        .unwrap();
    let status = response.status();
    (
        status,
        read_body(response.into_body(), 1 << 20).await.unwrap(),
    )
}

#[tokio::test]
async fn l2_what_an_observer_may_not_does_not_reach_the_engine() {
    let engine = Canned::new("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Docker-A: b\r\n\r\nok");
    let client = client(As::Observer(engine.clone()));
    let ok = (StatusCode::OK, Bytes::from_static(b"ok"));
    assert_eq!(ask(&client, Method::GET, "/v1.40/info?x=1").await, ok);
    let (status, body) = ask(&client, Method::DELETE, "/containers/a").await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(text.contains("does not lead"), "{text}");
    // The stream is still good for what it may do.
    assert_eq!(ask(&client, Method::GET, "/_ping").await, ok);
    let heard = engine.heard.lock().unwrap();
    let lines: Vec<&str> = heard
        .iter()
        .filter_map(|head| head.lines().next())
        .collect();
    assert_eq!(
        lines,
        ["GET /v1.40/info?x=1 HTTP/1.1", "GET /_ping HTTP/1.1"]
    );
}

#[tokio::test]
async fn an_engine_that_switches_unasked_gives_an_observer_no_raw_stream() {
    let engine =
        Canned::new("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    let client = client(As::Observer(engine));
    let request = Request::builder().uri("/containers/a/json");
    let answer = client.send(request.body(empty_body()).unwrap()).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn an_observer_of_an_engine_that_is_gone_sees_a_broken_connection() {
    let client = client(As::Observer(Canned::new(GONE)));
    let asked = ask_once(&client).await;
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::Unavailable);
}

async fn ask_once(client: &HttpClient) -> Result<Response<Body>> {
    let request = Request::builder().uri("/_ping").body(empty_body()).unwrap();
    let clock = SystemClock::new();
    clock
        .timeout(Duration::from_secs(20), "asking", client.send(request))
        .await?
}

#[tokio::test]
async fn l2_a_refused_stream_says_why() {
    let reason = "its fencing token 6 is older than 7 \"quoted\"";
    let client = client(As::Refused(reason.to_owned()));
    for _ in 0..2 {
        let (status, body) = ask(&client, Method::POST, "/containers/create").await;
        assert_eq!(status, StatusCode::PRECONDITION_FAILED);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["message"], reason);
    }
}
