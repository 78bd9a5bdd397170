//! What the fuzz target for the engine's process table does with bytes.

use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Result, SeededRandom, SystemClock};
use longshore_exec::{DockerExec, GatewayLife};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An engine with one container, whose process table is this. It carries nothing out.
#[derive(Clone, Debug)]
struct Shows(Vec<u8>);

#[async_trait]
impl Connector for Shows {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let table = self.0.clone();
        tokio::spawn(async move {
            let mut request = vec![0; 1 << 14];
            let count = far.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let line = request.lines().next().unwrap_or_default();
            let (status, body) = if line.contains("/top?") {
                ("200 OK", table)
            } else if line.starts_with("GET /containers/json") {
                ("200 OK", br#"[{"Id":"web"}]"#.to_vec())
            } else {
                ("404 Not Found", br#"{"message":"no"}"#.to_vec())
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
            let _ = far.write_all(&[head.into_bytes(), body].concat()).await;
        });
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "memory://shows".to_owned()
    }
}

/// Whatever an engine shows as a container's processes: what carries the marks of another life of
/// the gateway is reported, a bounded number of it and without its secrets; nothing else is touched.
/// Gives how many sessions were found.
pub(crate) fn table(bytes: &[u8]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let random = SeededRandom::new(1);
    let life = GatewayLife::begin("gate", &random);
    let engine = Arc::new(Shows(bytes.to_vec()));
    let exec = DockerExec::new(engine, Arc::new(SystemClock::new()), Arc::new(random));
    let exec = exec.with_gateway(life);
    let reaped = runtime.block_on(exec.reap()).expect("the list is sound");
    assert_eq!(reaped.containers, 1);
    assert!(reaped.reports.len() <= 64, "{}", reaped.reports.len());
    for report in &reaped.reports {
        // Nothing could be done, and what is said of it holds no environment.
        let text = report.to_string();
        assert!(!text.contains("LONGSHORE_EXEC_ID"), "{text}");
        let all = report.left.iter().chain(&report.unattributed);
        assert!(
            all.clone().all(|process| process.name.len() <= 32),
            "{text}"
        );
        assert!(report.unattributed.len() <= 32);
    }
    reaped.reports.len()
}
