//! `token://`: the hosted service and its client, against each other over loopback, and each
//! against hostile peers.
#![cfg(all(feature = "token", feature = "token-server"))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use longshore_core::{
    Announcement, Clock, Discovery, ErrorKind, KvStore, OsRandom, Shutdown, SystemClock,
    testkit::{ManualClock, discovery::Harness},
};
use longshore_discovery::{
    DiscoveryOptions, MemoryKv, TokenBase, TokenDiscovery, open,
    token_service::{TokenLimits, TokenService, serve},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn service_on(store: Arc<dyn KvStore>, clock: Arc<dyn Clock>, limits: TokenLimits) -> TokenService {
    TokenService::new(store, "lab", limits, clock, Arc::new(OsRandom))
}

fn service() -> TokenService {
    let store = Arc::new(MemoryKv::new(clock()));
    service_on(store, clock(), TokenLimits::default())
}

fn options() -> DiscoveryOptions {
    DiscoveryOptions::new(clock())
        .with_heartbeat(Duration::from_millis(200))
        .with_pairs(["token.plain=true"])
        .unwrap()
}

struct Hosted {
    service: TokenService,
    address: SocketAddr,
    token: String,
    running: Mutex<Shutdown>,
}

impl Hosted {
    async fn new() -> Self {
        let service = service();
        let token = service.create().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = Mutex::new(Shutdown::new());
        let this = Self {
            service,
            address,
            token,
            running,
        };
        this.start(listener);
        this
    }

    fn start(&self, listener: TcpListener) {
        let shutdown = Shutdown::new();
        *self.running.lock().unwrap() = shutdown.clone();
        tokio::spawn(serve(listener, self.service.clone(), clock(), shutdown));
    }

    fn url(&self) -> String {
        format!("token://{}/any/path/{}", self.address, self.token)
    }
}

#[async_trait]
impl Harness for Hosted {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        open(&self.url(), &options()).unwrap()
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        if reachable {
            let listener = TcpListener::bind(self.address).await.unwrap();
            self.start(listener);
        } else {
            let running = self.running.lock().unwrap().clone();
            running.finish(&*clock(), Duration::from_secs(5)).await;
        }
        true
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(700)
    }
}

mod hosted {
    use super::*;
    longshore_core::discovery_suite!(live, Hosted::new().await);
}

async fn ask(service: &TokenService, method: &str, target: &str, body: &str) -> (u16, String) {
    let request = Request::builder().method(method).uri(target);
    let request = request.body(Full::<Bytes>::from(body.to_owned())).unwrap();
    let response = service.handle(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_protocol_is_swarms() {
    let service = service();
    let (status, token) = ask(&service, "POST", "/v1/clusters", "").await;
    assert_eq!((status, token.len()), (200, 32));
    let cluster = format!("/v1/clusters/{token}");
    let register = format!("{cluster}?ttl=180");
    for address in ["10.0.0.2:2375", "10.0.0.1:2375", "[::1]:2375"] {
        assert_eq!(ask(&service, "POST", &register, address).await.0, 200);
    }
    let list = ask(&service, "GET", &cluster, "").await;
    let text = r#"["10.0.0.1:2375","10.0.0.2:2375","[::1]:2375"]"#;
    assert_eq!(list, (200, text.to_owned()));
    tokio::time::sleep(Duration::from_secs(181)).await;
    assert_eq!(
        ask(&service, "GET", &cluster, "").await,
        (200, "[]".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_stranger_sends_is_refused_with_a_reason() {
    let service = service();
    let (_, token) = ask(&service, "POST", "/clusters", "").await;
    let own = format!("/clusters/{token}");
    let long = "x".repeat(5000);
    for (method, target, body, status) in [
        ("GET", "/clusters/0123", "", 404),
        ("POST", "/clusters/0123?ttl=1", "a:1", 404),
        ("GET", "/", "", 404),
        ("GET", "/clusters/a%00b", "", 404),
        ("GET", "/clusters/../../etc", "", 404),
        ("GET", "/clusters", "", 405),
        ("PATCH", &own, "", 405),
        ("POST", &own, "no address", 400),
        ("POST", &own, "a:0", 400),
        ("POST", &own, &long, 400),
        ("POST", &format!("{own}?ttl=0"), "a:1", 400),
        ("POST", &format!("{own}?ttl=-1"), "a:1", 400),
        ("POST", &format!("{own}?ttl=999999999"), "a:1", 400),
        ("PUT", &own, "a:1", 400),
        ("DELETE", &own, "a:1", 400),
    ] {
        let (found, text) = ask(&service, method, target, body).await;
        assert_eq!(found, status, "{method} {target}: {text}");
        assert!(text.len() < 300, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn sizes_are_bounded() {
    let limits = TokenLimits::default().with_sizes(2, 3);
    let service = service_on(Arc::new(MemoryKv::new(clock())), clock(), limits);
    let token = service.create().await.unwrap();
    service.create().await.unwrap();
    let error = service.create().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    let own = format!("/clusters/{token}?ttl=60");
    for number in 1..=3 {
        assert_eq!(
            ask(&service, "POST", &own, &format!("n{number}:1")).await.0,
            200
        );
    }
    assert_eq!(ask(&service, "POST", &own, "n4:1").await.0, 429);
    assert_eq!(
        ask(&service, "POST", &own, "n3:1").await.0,
        200,
        "no new one"
    );
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(
        ask(&service, "POST", &own, "n4:1").await.0,
        200,
        "the others left"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_only_its_owners() {
    let service = service();
    let token = service.create().await.unwrap();
    let own = format!("/clusters/{token}");
    ask(&service, "POST", &own, "a:1").await;
    for method in ["PUT", "DELETE"] {
        let request = Request::builder().method(method).uri(&own);
        let request = request.header("x-registration", "0".repeat(32));
        let request = request.body(Full::<Bytes>::from("a:1")).unwrap();
        let status = service.handle(request).await.status();
        let expected = if method == "PUT" { 404 } else { 204 };
        assert_eq!(status, expected);
    }
    assert_eq!(ask(&service, "GET", &own, "").await.1, r#"["a:1"]"#);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_a_change_or_with_its_time() {
    let limits = TokenLimits::default().with_waits(Duration::from_secs(60), 1);
    let service = service_on(Arc::new(MemoryKv::new(clock())), clock(), limits);
    let token = service.create().await.unwrap();
    let own = format!("/clusters/{token}");
    ask(&service, "POST", &own, "a:1").await;
    let request = Request::get(&own).body(Full::<Bytes>::default()).unwrap();
    let index = service.handle(request).await.headers()["x-index"].clone();
    let wait = format!("{own}?wait=30&index={}", index.to_str().unwrap());
    let start = tokio::time::Instant::now();
    assert_eq!(ask(&service, "GET", &wait, "").await.1, r#"["a:1"]"#);
    assert_eq!(start.elapsed().as_secs(), 30);
    let (first, second, _) = tokio::join!(
        ask(&service, "GET", &wait, ""),
        ask(&service, "GET", &wait, ""),
        async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            ask(&service, "POST", &own, "b:1").await
        },
    );
    assert_eq!(first.1, r#"["a:1","b:1"]"#);
    assert_eq!(second.0, 503, "only one may wait");
    assert_eq!(start.elapsed().as_secs(), 35);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_request() {
    let time = ManualClock::default();
    let store = Arc::new(MemoryKv::new(clock()));
    let service = service_on(store, Arc::new(time.clone()), TokenLimits::default());
    let token = service.create().await.unwrap();
    let frames = futures::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let request = Request::post(format!("/clusters/{token}")).body(StreamBody::new(frames));
    let handled = service.handle(request.unwrap());
    tokio::pin!(handled);
    assert!(futures::poll!(&mut handled).is_pending());
    time.advance(Duration::from_secs(11));
    assert_eq!(handled.await.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn it_can_be_mounted_in_axum() {
    let service = service();
    let token = service.create().await.unwrap();
    let inner = service.clone();
    let router = axum::Router::new().nest(
        "/discovery/v1",
        axum::Router::new().fallback(move |request: axum::extract::Request| {
            let service = inner.clone();
            async move { service.handle(request).await }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let url = format!("token://{address}/discovery/v1/{token}");
    let discovery = open(&url, &options()).unwrap();
    let node = Announcement::new("a:1".parse().unwrap());
    discovery
        .register(&node, Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(discovery.list().await.unwrap().nodes, [node]);
}

#[tokio::test]
async fn d11_a_bare_token_needs_a_base_url() {
    let error = open("token://abc", &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.message().contains("token.base=https://host/path"),
        "{error}"
    );
    let error = open("token://", &options()).unwrap_err();
    assert_eq!(error.message(), "token is empty");
    let based = DiscoveryOptions::new(clock()).with_pairs(["token.base=http://127.0.0.1:9/v1"]);
    let discovery = open("token://abc", &based.unwrap()).unwrap();
    assert_eq!(discovery.describe(), "token://127.0.0.1:9/v1/…");
    let plain = DiscoveryOptions::new(clock());
    let error = open("token://host/v1/abc", &plain).unwrap_err();
    assert!(error.message().contains("token.cacertfile"), "{error}");
}

/// A server that answers each connection with these bytes.
async fn answering(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                // One answer for each piece that comes, which is a request here.
                while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(&bytes).await;
                }
            });
        }
    });
    address
}

fn client(address: SocketAddr, clock: Arc<dyn Clock>) -> Arc<dyn Discovery> {
    let options = DiscoveryOptions::new(clock).with_pairs(["token.plain=true"]);
    open(&format!("token://{address}/v1/abc"), &options.unwrap()).unwrap()
}

fn reply(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn d11_status_codes_are_checked() {
    for (status, kind) in [
        ("404 Not Found", ErrorKind::NotFound),
        ("400 Bad Request", ErrorKind::InvalidInput),
        ("429 Too Many Requests", ErrorKind::ResourceExhausted),
        ("500 Internal Server Error", ErrorKind::Unavailable),
        ("302 Found", ErrorKind::InvalidInput),
    ] {
        let address = answering(reply(status, "sorry")).await;
        let node = Announcement::new("a:1".parse().unwrap());
        let register = client(address, clock())
            .register(&node, Duration::from_secs(9))
            .await;
        assert_eq!(register.unwrap_err().kind(), kind, "{status}");
        let error = client(address, clock()).list().await.unwrap_err();
        let text = format!(
            "Failed to fetch entries, Discovery service returned {} HTTP status code",
            &status[..3]
        );
        assert_eq!(error.message(), text);
        let base = TokenBase::parse(&format!("http://{address}/v1")).unwrap();
        let create = TokenDiscovery::create(&base, None, clock()).await;
        assert_eq!(create.unwrap_err().kind(), kind, "{status}");
    }
}

#[tokio::test]
async fn hostile_answers_are_errors() {
    let huge = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n[\"{}",
        "a".repeat(5 << 20)
    );
    for (bytes, kind) in [
        (reply("200 OK", "{\"a\":1}"), ErrorKind::Protocol),
        (reply("200 OK", "[1,2]"), ErrorKind::Protocol),
        (b"SSH-2.0-x\r\n\r\n".to_vec(), ErrorKind::Protocol),
        (huge.into_bytes(), ErrorKind::ResourceExhausted),
    ] {
        let error = client(answering(bytes).await, clock())
            .list()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.chain().len() < 500);
    }
    let entries = reply("200 OK", r#"["a:1","nonsense","b:1"]"#);
    let found = client(answering(entries).await, clock())
        .list()
        .await
        .unwrap();
    assert_eq!((found.nodes.len(), found.problems.len()), (2, 1), "d9");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout() {
    let time = ManualClock::default();
    let address = answering(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()).await;
    let discovery = client(address, Arc::new(time.clone()));
    let list = tokio::spawn(async move { discovery.list().await });
    // Time stands still but for this, so the connection is there long before.
    tokio::time::sleep(Duration::from_millis(200)).await;
    time.advance(Duration::from_secs(11));
    let error = list.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_service_that_knows_only_swarms_protocol_works() {
    let address = answering(reply("200 OK", r#"["a:1"]"#)).await;
    let discovery = client(address, clock());
    let node = Announcement::new("a:1".parse().unwrap());
    let registration = discovery
        .register(&node, Duration::from_secs(9))
        .await
        .unwrap();
    let renewed = discovery.renew(&registration).await.unwrap();
    assert!(renewed.expires >= registration.expires);
    let error = discovery.deregister(&renewed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(discovery.list().await.unwrap().nodes, [node]);
}
