//! The web terminal of `examples/web_terminal.rs`: what is documented is what runs here, but for its
//! engine and its port.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

#[path = "../examples/web_terminal.rs"]
#[expect(dead_code, reason = "the test has a listener and an engine of its own")]
mod web_terminal;

use std::sync::Arc;

use futures::StreamExt;
use longshore::{
    ErrorKind, ExecSession,
    core::{OsRandom, SystemClock, WorkloadId},
    engine::TcpConnector,
    exec::{
        ScriptedExec,
        client::{ClientOptions, RemoteExec},
        protocol::native::Open,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A container with a shell that ends with the code that it is told.
fn engine() -> Arc<ScriptedExec> {
    let engine = ScriptedExec::new().with_workload(WorkloadId::new("web").unwrap());
    Arc::new(engine.with_program("/bin/bash", |mut process| async move {
        process.print("$ ").await;
        let mut line = Vec::new();
        while !line.ends_with(b"\r") {
            match process.read(100).await {
                Some(keys) => line.extend_from_slice(&keys),
                None => return 1,
            }
        }
        process.print(line.clone()).await;
        let code = String::from_utf8_lossy(&line).trim().parse();
        code.unwrap_or(2)
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_application_serves_its_page_and_opens_a_session() {
    let app = match web_terminal::terminals(engine()) {
        Ok(app) => app,
        // Built with LONGSHORE_WEB_OPTIONAL.
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let test = "the_documented_application_serves_its_page_and_opens_a_session";
            return println!("SKIPPED {test}: {error}");
        }
        Err(error) => panic!("{error}"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /terminal/?target=web HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n",
        address.port()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert!(page.contains("page.mjs"), "{page}");

    let endpoint = format!("127.0.0.1:{}", address.port()).parse().unwrap();
    let connector = Arc::new(TcpConnector::new(endpoint));
    let (options, clock) = (ClientOptions::default(), Arc::new(SystemClock::new()));
    let client = RemoteExec::new(connector, options, clock, Arc::new(OsRandom));
    // As the page asks: for a shell, on a terminal.
    let mut open = Open::default();
    (open.target, open.tty, open.stdin) = ("web".into(), true, true);
    (open.cols, open.rows) = (80, 24);
    let session = client.open(open).await.unwrap();
    let mut output = session.take_output().unwrap();
    assert_eq!(output.next().await.unwrap().unwrap().bytes, "$ ");
    let mut input = session.take_input().unwrap();
    input.write_all(b"7\r").await.unwrap();
    assert_eq!(output.next().await.unwrap().unwrap().bytes, "7\r");
    let end = session.ended().await.unwrap();
    assert_eq!((end.is_success(), end.code), (false, Some(7)));
    serving.abort();
}
