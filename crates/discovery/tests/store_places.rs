//! Requests to a store that are given up: their places are free again, their connections closed.
#![cfg(feature = "consul")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use longshore_core::{ClockExt, Discovery, KvStore, SystemClock};
use longshore_discovery::{ConsulKv, KvDiscovery, KvDiscoveryOptions, StoreOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// More than a client's requests at a time.
const MANY: usize = 200;

/// A Consul that answers single keys, and is silent on what it was told to be silent on.
#[derive(Clone)]
struct Server {
    port: u16,
    /// Questions that it has and does not answer.
    open: Arc<AtomicUsize>,
}

impl Server {
    async fn start(silent_on: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let this = Self {
            port: listener.local_addr().unwrap().port(),
            open: Arc::default(),
        };
        let server = this.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream, silent_on).await });
            }
        });
        this
    }

    /// Until the client closes.
    async fn serve(&self, mut stream: TcpStream, silent_on: &str) {
        let mut head = Vec::new();
        let mut waits = false;
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            head.extend_from_slice(&buffer[..read]);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let request = String::from_utf8(std::mem::take(&mut head)).unwrap();
            if request.contains(silent_on) {
                if silent_on == HALF {
                    let half =
                        b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 99\r\n\r\n[";
                    stream.write_all(half).await.unwrap();
                }
                waits = true;
                self.open.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let body = match request.contains("recurse") {
                true => "[]".to_owned(),
                false => r#"[{"Key":"k","Value":"dg==","ModifyIndex":7,"LockIndex":0,"Flags":0}]"#
                    .to_owned(),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        if waits {
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A request takes an hour if it is not given up.
    fn client(&self) -> Arc<ConsulKv> {
        let endpoint = format!("127.0.0.1:{}", self.port).parse().unwrap();
        let options = StoreOptions::new(vec![endpoint], Arc::new(SystemClock::new())).unwrap();
        let options = options.with_request_limit(Duration::from_secs(3600));
        assert!(options.most_requests < MANY);
        Arc::new(ConsulKv::new(&options).unwrap())
    }

    async fn until_open(&self, holds: impl Fn(usize) -> bool) {
        while !holds(self.open.load(Ordering::SeqCst)) {
            SystemClock::new().sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Answers, though the clock of a test that hangs would stop it.
async fn answers(client: &ConsulKv) {
    let clock = SystemClock::new();
    let get = client.get("k");
    let found = clock.timeout(PATIENCE, "a plain read", get).await;
    let entry = found.expect("a place is free").unwrap().unwrap();
    assert_eq!(&entry.value[..], b"v");
}

#[tokio::test]
async fn a_dropped_watch_gives_its_place_back_and_closes_its_connection() {
    let server = Server::start("index=").await;
    let client = server.client();
    let watches: Vec<_> = (0..MANY)
        .map(|_| {
            let mut watch = client.watch("nodes/", None);
            tokio::spawn(async move { watch.next().await })
        })
        .collect();
    server.until_open(|open| open == MANY).await;
    for watch in &watches {
        watch.abort();
    }
    answers(&client).await;
    server.until_open(|open| open == 0).await;
}

/// They wait for news as long as they like, so they must not be what others wait for.
#[tokio::test]
async fn watches_hold_up_no_other_call_read_or_not() {
    let server = Server::start("index=").await;
    let client = server.client();
    let mut watches = Vec::new();
    for _ in 0..MANY {
        let mut watch = client.watch("nodes/", None);
        let before = server.open.load(Ordering::SeqCst);
        tokio::select! {
            event = watch.next() => panic!("{event:?}"),
            () = server.until_open(|open| open > before) => {}
        }
        // In mid-request, and nobody reads on.
        watches.push(watch);
    }
    answers(&client).await;
}

/// The first reading of the nodes runs in a task of its own; it ends with the watch.
#[tokio::test]
async fn a_dropped_watch_of_nodes_gives_its_place_back() {
    let server = Server::start("recurse").await;
    let client = server.client();
    let most = StoreOptions::new(
        vec!["127.0.0.1:1".parse().unwrap()],
        Arc::new(SystemClock::new()),
    );
    let most = most.unwrap().most_requests;
    let options = KvDiscoveryOptions::default();
    let clock = Arc::new(SystemClock::new());
    let nodes = KvDiscovery::new(client.clone(), clock, options).unwrap();
    let watches: Vec<_> = (0..MANY)
        .map(|_| {
            let mut watch = nodes.watch();
            tokio::spawn(async move { watch.next().await })
        })
        .collect();
    server.until_open(|open| open == most).await;
    for watch in &watches {
        watch.abort();
    }
    answers(&client).await;
    server.until_open(|open| open == 0).await;
}

/// Its connection can't be used for anything else.
#[tokio::test]
async fn a_call_that_is_dropped_in_mid_answer_closes_its_connection() {
    let server = Server::start(HALF).await;
    let client = server.client();
    for _ in 0..MANY {
        tokio::select! {
            found = client.get(HALF) => panic!("{found:?}"),
            () = server.until_open(|open| open == 1) => {}
        }
        server.until_open(|open| open == 0).await;
    }
    answers(&client).await;
}

/// A key that is answered by half.
const HALF: &str = "half";
const PATIENCE: Duration = Duration::from_secs(20);
