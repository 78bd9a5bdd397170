//! Web pages have no business at the endpoint, whatever name they came by.

use std::{net::SocketAddr, sync::Arc};

use longshore_control::endpoint::{EndpointOptions, ListenOptions, Listener, router, serve};
use longshore_core::SystemClock;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::cluster::Cluster;

async fn plain(cluster: &Cluster, endpoint: EndpointOptions, listen: ListenOptions) -> SocketAddr {
    let address = "tcp://127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&address, listen).await.unwrap();
    let bound = listener.address().strip_prefix("tcp://").unwrap();
    let bound = bound.parse().unwrap();
    let app = router(cluster.plane.clone(), endpoint);
    let clock = Arc::new(SystemClock::new());
    tokio::spawn(serve(listener, app, clock, cluster.shutdown.clone()));
    bound
}

/// Sends one request on a connection of its own; gives status and message.
async fn send<S>(mut stream: S, head: &str, body: &str) -> (u16, String)
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let length = body.len();
    let text = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).await.unwrap();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let message = serde_json::from_str::<Value>(body)
        .ok()
        .and_then(|json| Some(json["message"].as_str()?.to_owned()));
    (status, message.unwrap_or_default())
}

const CREATE: &str = r#"{"Image":"busybox"}"#;

struct Browser {
    cluster: Cluster,
    address: SocketAddr,
}

impl Browser {
    async fn new(endpoint: EndpointOptions, listen: ListenOptions) -> Self {
        let cluster = Cluster::new().await;
        let address = plain(&cluster, endpoint, listen).await;
        Self { cluster, address }
    }

    async fn tcp(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        send(stream, &format!("{line} HTTP/1.1\r\n{headers}"), body).await
    }

    async fn unix(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let stream = self.cluster.raw().await;
        send(stream, &format!("{line} HTTP/1.1\r\n{headers}"), body).await
    }

    fn made(&self) -> usize {
        let asked = |daemon: &crate::daemon::Daemon| daemon.asked("/containers/create");
        self.cluster.daemons.iter().map(asked).sum()
    }
}

async fn default() -> Browser {
    Browser::new(EndpointOptions::default(), ListenOptions::default()).await
}

#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let browser = default().await;
    let own = format!("Host: {}\r\n", browser.address);
    for mark in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://127.0.0.1:1\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        let headers = format!("{own}{mark}Content-Type: application/json\r\n");
        let (status, message) = browser
            .tcp("POST /containers/create", &headers, CREATE)
            .await;
        assert_eq!(status, 403, "{mark}");
        assert!(message.contains("web page"), "{message}");
        let (status, _) = browser.tcp("GET /containers/json", &headers, "").await;
        assert_eq!(status, 403, "reading with {mark}");
        let (status, _) = browser
            .unix("POST /containers/create", &headers, CREATE)
            .await;
        assert_eq!(status, 403, "{mark} on a unix socket");
    }
    assert_eq!(browser.made(), 0);
}

#[tokio::test]
async fn the_endpoint_s_own_pages_and_programs_are_served() {
    let browser = default().await;
    let port = browser.address.port();
    for headers in [
        format!("Host: {}\r\n", browser.address),
        format!("Host: localhost:{port}\r\nOrigin: http://LOCALHOST:{port}\r\n"),
        "Host: api.moby.localhost\r\nSec-Fetch-Site: same-origin\r\n".to_owned(),
        "Host: [::1]:1\r\nSec-Fetch-Site: none\r\n".to_owned(),
    ] {
        let (status, message) = browser.tcp("GET /containers/json", &headers, "").await;
        assert_eq!(status, 200, "{headers}: {message}");
    }
    // Over a unix socket `docker` calls itself what it likes.
    for host in ["Host: docker\r\n", "Host: x\r\nHost: y\r\n", ""] {
        let (status, _) = browser.unix("GET /containers/json", host, "").await;
        assert_eq!(status, 200, "{host}");
    }
}

#[tokio::test]
async fn on_plain_tcp_a_foreign_name_is_refused() {
    let browser = default().await;
    let json = "Content-Type: application/json\r\n";
    let port = browser.address.port();
    let foreign = format!("Host: evil.example:{port}\r\n{json}");
    let (status, message) = browser
        .tcp("POST /containers/create", &foreign, CREATE)
        .await;
    assert_eq!(status, 403);
    let expected = format!("refused: evil.example:{port} is not a name of this endpoint.");
    assert!(message.starts_with(&expected), "{message}");
    let same = format!("{foreign}Origin: http://evil.example:{port}\r\n");
    assert_eq!(browser.tcp("GET /info", &same, "").await.0, 403);
    let twice = format!("Host: localhost\r\nHost: evil.example\r\n{json}");
    let (status, message) = browser.tcp("GET /_ping", &twice, "").await;
    assert_eq!(
        (status, message.as_str()),
        (400, "the request has more than one Host header")
    );
    let (status, message) = browser.tcp("GET /_ping", "", "").await;
    assert_eq!(
        (status, message.as_str()),
        (400, "the request has no Host header")
    );
    let line = "GET http://evil.example/_ping";
    assert_eq!(browser.tcp(line, "Host: localhost\r\n", "").await.0, 403);
    assert_eq!(browser.made(), 0);
}

#[tokio::test]
async fn further_names_can_be_allowed() {
    let listen = ListenOptions::default().with_allowed_host("cluster.example");
    let browser = Browser::new(EndpointOptions::default(), listen).await;
    let named = "Host: Cluster.Example:2375\r\n";
    assert_eq!(browser.tcp("GET /info", named, "").await.0, 200);
    let other = "Host: other.example:2375\r\n";
    assert_eq!(browser.tcp("GET /info", other, "").await.0, 403);
}

#[tokio::test]
async fn with_cors_pages_may_call_but_only_by_a_known_name() {
    let endpoint = EndpointOptions::default().with_cors();
    let browser = Browser::new(endpoint, ListenOptions::default()).await;
    let page = "Host: localhost\r\nOrigin: https://a.example\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(browser.tcp("GET /info", page, "").await.0, 200);
    let named = "Host: a.example\r\nOrigin: http://a.example\r\n";
    assert_eq!(browser.tcp("GET /info", named, "").await.0, 403);
}

#[tokio::test]
async fn a_json_body_must_not_come_as_a_form() {
    let browser = default().await;
    let line = "POST /containers/create";
    for kind in [
        "text/plain",
        "Text/Plain; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let headers = format!("Host: localhost\r\nContent-Type: {kind}\r\n");
        for (status, message) in [
            browser.tcp(line, &headers, CREATE).await,
            browser.unix(line, &headers, CREATE).await,
        ] {
            let expected =
                format!("unsupported Content-Type header ({kind}): must be 'application/json'");
            assert_eq!((status, message), (400, expected));
        }
    }
    assert_eq!(browser.made(), 0);
    // Old clients name no type, and `docker` says text/plain of a call without a body.
    let bare = "Host: localhost\r\n";
    assert_eq!(browser.tcp(line, bare, CREATE).await.0, 201);
    let web = browser.cluster.client();
    web.create("web", serde_json::json!({})).await;
    let text = "Host: localhost\r\nContent-Type: text/plain\r\n";
    let start = "POST /containers/web/start";
    assert_eq!(browser.tcp(start, text, "").await.0, 204);
}
