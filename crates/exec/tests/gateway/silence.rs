//! Fault 5: who falls silent is dead after three pings, and found within 35 seconds.

use std::{sync::Arc, time::Duration};

use longshore_core::{ClockExt, ExecBackend, SystemClock, Timestamp};
use longshore_exec::{
    access::{Located, Place, StaticDirectory},
    gateway::GatewayOptions,
};

use crate::{
    programs,
    raw::{BINARY, PING, PONG, Raw},
    server::{Server, id},
};

fn server() -> Arc<Server> {
    let exec = programs::scripted().with_workload(id("c")).with_program(
        "/bin/bash",
        |process| async move {
            // A little each second, without end.
            loop {
                process.print(vec![b'x'; 20_000]).await;
                SystemClock::new().sleep(Duration::from_secs(1)).await;
            }
        },
    );
    let exec: Arc<dyn ExecBackend> = Arc::new(exec);
    let lain = Place::Lain {
        app: "shop".into(),
        proc: "web".into(),
        instance: "1".into(),
    };
    let pod = Place::Pod {
        namespace: "default".into(),
        pod: "web".into(),
        container: None,
    };
    let directory = StaticDirectory::new()
        .with(lain, Located::new(exec.clone(), id("c")))
        .with(pod, Located::new(exec, id("c")));
    Server::open(directory, GatewayOptions::default())
}

const LAIN: [(&str, &str); 3] = [
    ("app-name", "shop"),
    ("proc-name", "web"),
    ("instance-no", "1"),
];
const V5: [(&str, &str); 1] = [("Sec-WebSocket-Protocol", "v5.channel.k8s.io")];
const FOREVER: &str =
    "/api/v1/namespaces/default/pods/web/exec?command=forever&stdin=true&stdout=true";

/// Seconds until the session has ended.
async fn found(server: &Server, since: Timestamp) -> f64 {
    while !server.hub.sessions().is_empty() {
        server.clock.sleep(Duration::from_millis(100)).await;
    }
    server.clock.now().since(since).as_secs_f64()
}

/// At the worst moment: right behind an answer.
#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_is_found_within_35_seconds() {
    let server = server();
    let start = server.clock.now();
    let mut raw = Raw::open(&server, FOREVER, &V5).await;
    for _ in 0..7 {
        while raw.receive().await.unwrap().0 != PING {}
    }
    let answered = server.clock.now();
    assert_eq!(answered.since(start).as_secs(), 70);
    let took = found(&server, answered).await;
    // The third of its pings had five seconds for an answer.
    assert!(took > 34.5 && took <= 35.2, "{took}");
}

/// Also while output flows, which nobody takes.
#[tokio::test(start_paused = true)]
async fn also_one_that_takes_no_output() {
    let server = server();
    let mut raw = Raw::open(&server, "/enter", &LAIN).await;
    while raw.receive().await.unwrap().0 != PING {}
    let answered = server.clock.now();
    let took = found(&server, answered).await;
    assert!(took > 30.0 && took <= 35.2, "{took}");
}

/// So it is with the pings of a client whose output stands, as soon as it reads on.
#[tokio::test(start_paused = true)]
async fn pings_are_answered_behind_output_that_waits() {
    let server = server();
    let mut raw = Raw::open(&server, "/enter", &LAIN).await;
    server.clock.sleep(Duration::from_secs(20)).await;
    raw.send(PING, b"beat").await;
    let answered = async {
        loop {
            match raw.receive().await {
                Some((PONG, payload)) => break payload,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    };
    let answered = server
        .clock
        .timeout(Duration::from_secs(1), "a pong", answered);
    assert_eq!(answered.await.unwrap(), b"beat");
}

/// Any message is a sign of life, also of a client that answers no pings.
#[tokio::test(start_paused = true)]
async fn who_talks_lives() {
    let server = server();
    let mut raw = Raw::open(&server, FOREVER, &V5).await;
    raw.answers = false;
    for _ in 0..10 {
        server.clock.sleep(Duration::from_secs(30)).await;
        raw.send(BINARY, b"\x00x").await;
    }
    assert_eq!(server.hub.sessions().len(), 1);
}

/// A process that reads nothing blocks its input; the client's pings are answered all the same, as far
/// as its messages before them fit into memory.
#[tokio::test(start_paused = true)]
async fn pings_are_answered_behind_input_that_waits() {
    let server = server();
    let mut raw = Raw::open(&server, FOREVER, &V5).await;
    // The process's pipe has room for 16 pieces, the session for four, and four may wait beside it.
    for _ in 0..22 {
        raw.send(BINARY, &[&b"\x00"[..], &[b'x'; 16 << 10]].concat())
            .await;
    }
    raw.answers = false;
    raw.send(PING, b"beat").await;
    let answered = async {
        loop {
            match raw.receive().await {
                Some((PONG, payload)) => break payload,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    };
    let payload = server
        .clock
        .timeout(Duration::from_secs(1), "a pong", answered);
    assert_eq!(payload.await.unwrap(), b"beat");
}

/// Where not even that is read, the client hears that the server lives, and nobody takes its silence
/// for death; so is it with output, which must not wait for answers that stand behind the input.
#[tokio::test(start_paused = true)]
async fn a_client_whose_input_waits_is_not_dead() {
    let server = server();
    let mut raw = Raw::open(&server, FOREVER, &V5).await;
    assert_eq!(raw.message().await, [1]);
    assert_eq!(raw.message().await, b"\x01ready\n");
    // Until all buffers on the way are full; its answers to pings wait behind them.
    let full = async {
        loop {
            raw.send(BINARY, &[0; 30_000]).await;
        }
    };
    let full = server
        .clock
        .timeout(Duration::from_secs(1), "sending", full);
    let full: Result<(), _> = full.await;
    full.unwrap_err();
    raw.answers = false;
    for _ in 0..12 {
        assert_eq!(raw.receive().await.unwrap().0, PONG);
        assert_eq!(raw.receive().await.unwrap().0, PING);
    }
    assert_eq!(server.hub.sessions().len(), 1);
}

/// `cat` of more than all buffers hold, by a client whose answers to pings stand behind its input:
/// neither direction waits for the other for ever.
#[tokio::test(start_paused = true)]
async fn input_that_waits_for_output_does_not_hold_that_up() {
    const WHOLE: usize = 4_000_000;
    let server = server();
    let raw = Raw::open(&server, &FOREVER.replace("forever", "copy"), &V5).await;
    let (mut reads, mut writes) = raw.split();
    let (pings, mut pinged) = tokio::sync::mpsc::unbounded_channel::<Vec<u8>>();
    let sender = tokio::spawn(async move {
        let piece = [&b"\x00"[..], &[b'x'; 40_000]].concat();
        for _ in 0..WHOLE / 40_000 {
            writes.send(BINARY, &piece).await;
            while let Ok(payload) = pinged.try_recv() {
                writes.send(PONG, &payload).await;
            }
        }
        writes.send(BINARY, b"\xff\x00").await;
        while let Some(payload) = pinged.recv().await {
            writes.send(PONG, &payload).await;
        }
    });
    let mut got = 0;
    let all = async {
        loop {
            match reads.receive().await {
                Some((BINARY, payload)) if payload[0] == 3 => break,
                Some((BINARY, payload)) => got += payload.len() - 1,
                Some((PING, payload)) => pings.send(payload).unwrap(),
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    };
    let all = server
        .clock
        .timeout(Duration::from_secs(600), "the echo", all);
    all.await.unwrap();
    assert_eq!(got, WHOLE);
    drop(pings);
    sender.await.unwrap();
}
