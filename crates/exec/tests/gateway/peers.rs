//! Kubernetes' channels and ttyd's page, by hand.

use std::{sync::Arc, time::Duration};

use longshore_core::{ClockExt, Signal, SystemClock};
use longshore_exec::{
    access::{Located, Place, StaticDirectory},
    gateway::GatewayOptions,
};

use crate::{
    programs,
    raw::{BINARY, Raw},
    server::{Server, id},
};

fn server() -> Arc<Server> {
    let exec = programs::scripted().with_workload(id("c")).with_program(
        "/bin/bash",
        |mut process| async move {
            let size = process.size();
            process
                .print(format!("{}x{}\r\n", size.columns, size.rows))
                .await;
            while let Some(bytes) = process.read(100).await {
                if bytes == "flood" {
                    for _ in 0..3000 {
                        process.print(vec![b'x'; 1000]).await;
                    }
                } else if bytes == "fail" {
                    return 3;
                } else if bytes == "quit" {
                    return 0;
                }
                process.print(bytes).await;
            }
            0
        },
    );
    let exec: Arc<dyn longshore_core::ExecBackend> = Arc::new(exec);
    let pod = Place::Pod {
        namespace: "default".into(),
        pod: "web".into(),
        container: None,
    };
    let directory = StaticDirectory::new()
        .with(pod, Located::new(exec.clone(), id("c")))
        .with(Place::Container("web".into()), Located::new(exec, id("c")));
    Server::open(directory, GatewayOptions::default())
}

const V5: (&str, &str) = ("Sec-WebSocket-Protocol", "v5.channel.k8s.io");
const V4: (&str, &str) = (
    "Sec-WebSocket-Protocol",
    "v3.channel.k8s.io, v4.channel.k8s.io",
);

fn pod(rest: &str) -> String {
    format!("/api/v1/namespaces/default/pods/web/exec?{rest}")
}

async fn status(raw: &mut Raw) -> serde_json::Value {
    loop {
        let message = raw.message().await;
        if message[0] == 3 {
            return serde_json::from_slice(&message[1..]).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn kubectl_exec_i_sees_the_end_of_its_input() {
    let server = server();
    let path = pod("command=count&stdin=true&stdout=true&stderr=true");
    let mut raw = Raw::open(&server, &path, &[V5]).await;
    assert!(
        raw.head
            .contains("sec-websocket-protocol: v5.channel.k8s.io\r\n")
    );
    assert_eq!(raw.message().await, [1], "ready");
    raw.send(BINARY, b"\x00abc").await;
    raw.send(BINARY, b"\x00").await;
    raw.send(BINARY, b"\x00de").await;
    raw.send(BINARY, b"\xff\x00").await;
    assert_eq!(raw.message().await, b"\x015\n");
    assert_eq!(
        status(&mut raw).await,
        serde_json::json!({"metadata": {}, "status": "Success"})
    );
    assert_eq!(raw.closed().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn outputs_have_their_channels_and_the_code_is_told_after_them() {
    let server = server();
    let path = pod("command=print&command=6f7574&command=657272&stdout=true&stderr=true");
    let mut raw = Raw::open(&server, &path, &[V4]).await;
    assert!(
        raw.head
            .contains("sec-websocket-protocol: v4.channel.k8s.io\r\n")
    );
    assert_eq!(raw.message().await, [1]);
    assert_eq!(raw.message().await, b"\x01out");
    assert_eq!(raw.message().await, b"\x02err");
    assert_eq!(status(&mut raw).await["status"], "Success");
    let mut raw = Raw::open(&server, &pod("command=exit&command=7&stdout=true"), &[V5]).await;
    let status = status(&mut raw).await;
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "7");
}

#[tokio::test(start_paused = true)]
async fn there_is_a_status_for_every_failure() {
    let server = server();
    let mut raw = Raw::open(&server, &pod("command=missing&stdout=true"), &[V5]).await;
    assert_eq!(status(&mut raw).await["reason"], "InternalError");
    let other = "/api/v1/namespaces/default/pods/other/exec?command=x&stdout=true";
    let mut raw = Raw::open(&server, other, &[V5]).await;
    assert_eq!(status(&mut raw).await["code"], 404);
    let mut raw = Raw::open(&server, &pod("command=forever&stdout=true"), &[V5]).await;
    raw.send(BINARY, b"\x09x").await;
    let refused = status(&mut raw).await;
    assert_eq!(refused["status"], "Failure");
    assert_eq!(raw.closed().await.0, 1002);
}

const TTY: (&str, &str) = ("Sec-WebSocket-Protocol", "tty");

#[tokio::test(start_paused = true)]
async fn ttyds_page_opens_a_shell() {
    let server = server();
    let mut raw = Raw::open(&server, "/ws?target=web", &[TTY]).await;
    assert!(raw.head.contains("sec-websocket-protocol: tty\r\n"));
    // The process starts only with the first message.
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    assert!(server.hub.sessions().is_empty());
    raw.send(BINARY, br#"{"AuthToken":"","columns":70,"rows":20}"#)
        .await;
    assert_eq!(raw.message().await, b"1web");
    assert_eq!(raw.message().await, b"2{}");
    assert_eq!(raw.message().await, b"070x20\r\n");
    raw.send(BINARY, b"0hi").await;
    assert_eq!(raw.message().await, b"0hi");
    raw.send(BINARY, b"9unknown").await;
    raw.send(BINARY, b"0quit").await;
    assert_eq!(raw.closed().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn any_end_but_a_zero_lets_the_page_reconnect() {
    let server = server();
    let mut raw = Raw::open(&server, "/ws?target=web", &[TTY]).await;
    raw.send(BINARY, br#"{"AuthToken":"","columns":70,"rows":20}"#)
        .await;
    assert_eq!(raw.message().await, b"1web");
    raw.send(BINARY, b"0fail").await;
    let (code, reason) = raw.closed().await;
    assert_eq!((code, reason.as_str()), (4100, "exited with code 3"));
}

/// PAUSE stops the output within a piece; nothing is lost.
#[tokio::test(start_paused = true)]
async fn the_page_pauses_and_resumes() {
    let server = server();
    let mut raw = Raw::open(&server, "/ws?target=web", &[TTY]).await;
    raw.send(BINARY, br#"{"AuthToken":"","columns":70,"rows":20}"#)
        .await;
    for _ in 0..3 {
        raw.message().await;
    }
    raw.send(BINARY, b"2").await;
    SystemClock::new().sleep(Duration::from_millis(1)).await;
    raw.send(BINARY, b"0flood").await;
    let nothing = SystemClock::new()
        .timeout(Duration::from_secs(5), "output", raw.message())
        .await;
    assert!(nothing.is_err(), "{nothing:?}");
    raw.send(BINARY, b"3").await;
    let mut got = 0;
    while got < 3_000_005 {
        got += raw.message().await.len() - 1;
    }
    assert_eq!(got, 3_000_005);
}

#[tokio::test(start_paused = true)]
async fn the_token_is_the_pages_own() {
    let server = server();
    let ask = |basic: Option<&'static str>| {
        let mut request = http::Request::get("/token");
        if let Some(basic) = basic {
            request = request.header("authorization", basic);
        }
        let gateway = server.gateway.clone();
        async move {
            let response = gateway.handle(request.body(()).unwrap()).await;
            let body = http_body_util::BodyExt::collect(response.into_body())
                .await
                .unwrap();
            String::from_utf8(body.to_bytes().to_vec()).unwrap()
        }
    };
    assert_eq!(ask(None).await, r#"{"token":""}"#);
    assert_eq!(ask(Some("Basic dTpw")).await, r#"{"token":"dTpw"}"#);
}

/// Their protocols have no signals; an operator has.
#[tokio::test(start_paused = true)]
async fn a_session_is_signalled_from_outside() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = server();
        let path = pod("command=forever&stdout=true");
        let mut raw = Raw::open(&server, &path, &[V5]).await;
        assert_eq!(raw.message().await, [1]);
        assert_eq!(raw.message().await, b"\x01ready\n");
        let session = server.hub.sessions().remove(0).session;
        server.hub.signal(&session, signal).unwrap();
        let status = status(&mut raw).await;
        let code = 128 + u32::from(signal.number());
        assert_eq!(status["details"]["causes"][0]["message"], code.to_string());
        assert!(
            status["message"]
                .as_str()
                .unwrap()
                .contains(&signal.to_string())
        );
        let mut page = Raw::open(&server, "/ws?target=web", &[TTY]).await;
        page.send(BINARY, br#"{"AuthToken":"","columns":70,"rows":20}"#)
            .await;
        for _ in 0..3 {
            page.message().await;
        }
        let mut open = server.hub.sessions();
        open.retain(|one| one.end.is_none());
        server.hub.signal(&open.remove(0).session, signal).unwrap();
        let (code, reason) = page.closed().await;
        assert_eq!(code, 4100);
        assert!(reason.contains(&signal.to_string()), "{reason}");
    }
}
