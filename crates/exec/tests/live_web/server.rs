use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{Identity, OsRandom, Shutdown, SystemClock, WorkloadId};
use longshore_exec::{
    ScriptedExec, ScriptedProcess,
    access::{AccessControl, AccessRequest, Admission, StaticDirectory},
    gateway::{Gateway, GatewayOptions},
    screen::TerminalScreens,
    session::{SessionHub, SessionOptions},
    web::EmbeddedPage,
};
use tokio::net::TcpListener;

/// A gateway with the page, on a port of the loopback.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: SessionHub,
    pub(crate) shutdown: Shutdown,
}

impl Server {
    pub(crate) async fn start() -> longshore_core::Result<Self> {
        let page = EmbeddedPage::load()?;
        let clock = Arc::new(SystemClock::new());
        let shutdown = Shutdown::new();
        let hub = screens(SessionHub::new(
            clock.clone(),
            Arc::new(OsRandom),
            shutdown.clone(),
        ));
        let engine = ScriptedExec::new()
            .with_workload(WorkloadId::new("web")?)
            .with_program("shell", shell);
        let directory = StaticDirectory::new().with_engine(Arc::new(engine));
        let session = SessionOptions::default().with_history(1024);
        let gateway = Gateway::new(hub.clone(), Arc::new(directory), clock, shutdown.clone())
            .with_access(Arc::new(Names))
            .with_options(GatewayOptions::default().with_session(session))
            .with_page(Arc::new(page));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = shutdown.clone();
        shutdown.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stopping.requested() => return,
                };
                let gateway = gateway.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let gateway = gateway.clone();
                        async move { Ok::<_, Infallible>(gateway.handle(request).await) }
                    });
                    let stream = TokioIo::new(accepted.unwrap().0);
                    let connection = http1::Builder::new().serve_connection(stream, service);
                    let _ = connection.with_upgrades().await;
                });
            }
        });
        Ok(Self {
            address,
            hub,
            shutdown,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// Everybody may do everything, under the name that they give as a token.
#[derive(Debug)]
struct Names;

#[async_trait]
impl AccessControl for Names {
    async fn admit(&self, request: &AccessRequest) -> longshore_core::Result<Admission> {
        let name = request.credentials.token.as_deref().unwrap_or("somebody");
        Ok(Admission::new(Identity::new(name, "token")))
    }
}

fn screens(hub: SessionHub) -> SessionHub {
    hub.with_screens(Arc::new(TerminalScreens::new()))
}

/// A shell with a prompt that knows three commands.
async fn shell(mut process: ScriptedProcess) -> u8 {
    process
        .print("\x1b]0;web: shell\x07\x1b[1;34mlongshore\x1b[0m \x1b[2m日本語 한국어 中文 😀🚢 e\u{301}\x1b[0m\r\n")
        .await;
    loop {
        process
            .print("\x1b[32mweb\x1b[0m:\x1b[36m/srv\x1b[0m$ ")
            .await;
        let mut line = Vec::new();
        loop {
            let Some(bytes) = process.read(1).await else {
                return 0;
            };
            match bytes[0] {
                b'\r' => break,
                byte => line.push(byte),
            }
            process.print(bytes).await;
        }
        process.print("\r\n").await;
        let line = String::from_utf8_lossy(&line).into_owned();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("echo", text) => process.print(format!("{text}\r\n")).await,
            ("size", _) => {
                let size = process.size();
                process
                    .print(format!("{} columns, {} rows\r\n", size.columns, size.rows))
                    .await;
            }
            ("colours", _) => {
                let blocks = (0..8).map(|n| format!("\x1b[4{n}m  \x1b[10{n}m  "));
                process
                    .print(format!("{}\x1b[0m\r\n", blocks.collect::<String>()))
                    .await;
            }
            ("flood", lines) => {
                for n in 0..lines.parse().unwrap_or(0u32) {
                    process
                        .print(format!("\x1b[3{}mline {n} 漢字 🚢\x1b[0m\r\n", n % 8))
                        .await;
                }
            }
            ("exit", code) => return code.parse().unwrap_or(2),
            (other, _) => process.print(format!("{other}: no such command\r\n")).await,
        }
    }
}
