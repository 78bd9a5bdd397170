//! What a client's user is told beside output: notices, and what a cut has cost.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    AttachRequest, ClockExt, Error, ErrorKind, ExecBackend, ExecInput, ExecOutputStream,
    ExecRequest, ExecSession, ExitStatus, Result, SessionId, Signal, SystemClock, TerminalSize,
};
use longshore_exec::{
    ScriptedExec,
    access::StaticDirectory,
    client::Link,
    gateway::GatewayOptions,
    protocol::native::Open,
    session::{Role, SessionOptions, WhileDetached},
};

use crate::{
    programs,
    server::{Server, id},
};

fn server(backend: impl ExecBackend, options: SessionOptions) -> Arc<Server> {
    let directory = StaticDirectory::new().with_engine(Arc::new(backend));
    Server::open(directory, GatewayOptions::default().with_session(options))
}

fn open(program: &str) -> Open {
    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec![program.into()]);
    open
}

async fn a_while() {
    SystemClock::new().sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn notices_reach_the_user_and_what_waits_is_bounded() {
    let engine = programs::scripted().with_workload(id("web"));
    let server = server(engine, SessionOptions::default().with_moderation());
    let session = server.client().open(open("forever")).await.unwrap();
    let mut notices = session.take_notices().unwrap();
    assert!(session.take_notices().is_none(), "once");
    assert_eq!(notices.next().await.unwrap().code, "input-held");
    let approver = || server.hub.watch(session.id(), Role::Approver).unwrap();
    let here = approver();
    let released = notices.next().await.unwrap();
    assert_eq!(released.code, "input-released");
    assert!(released.text.contains("goes through"), "{released:?}");
    drop(here);
    a_while().await;
    // Nobody listens now.
    for _ in 0..40 {
        let here = approver();
        a_while().await;
        drop(here);
        a_while().await;
    }
    session.close().await.unwrap();
    let rest: Vec<_> = notices.map(|notice| notice.code).collect().await;
    assert_eq!(rest.len(), 32, "{rest:?}");
    assert_eq!(rest.last().unwrap(), "input-held", "the newest");
}

/// Takes no signals, as an engine without a way to.
#[derive(Debug)]
struct Deaf<T>(T);

#[async_trait]
impl ExecBackend for Deaf<ScriptedExec> {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        Ok(Arc::new(Deaf(self.0.exec(request).await?)))
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        self.0.attach(request).await
    }
}

#[async_trait]
impl ExecSession for Deaf<Arc<dyn ExecSession>> {
    fn id(&self) -> &SessionId {
        self.0.id()
    }

    fn take_input(&self) -> Option<ExecInput> {
        self.0.take_input()
    }

    fn take_output(&self) -> Option<ExecOutputStream> {
        self.0.take_output()
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.0.resize(size).await
    }

    async fn signal(&self, _: Signal) -> Result<()> {
        Err(Error::unsupported("no signals here"))
    }

    async fn wait(&self) -> Result<ExitStatus> {
        self.0.wait().await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_can_not_be_delivered_is_told() {
    let engine = Deaf(programs::scripted().with_workload(id("web")));
    let server = server(engine, SessionOptions::default());
    let session = server.client().open(open("forever")).await.unwrap();
    session.started().await.unwrap();
    let mut notices = session.take_notices().unwrap();
    session.signal(Signal::USR1).await.unwrap();
    let notice = notices.next().await.unwrap();
    assert_eq!(notice.code, "signal-failed");
    session.close().await.unwrap();
    assert_eq!(notices.next().await, None, "it ends with the session");
}

/// Says `ready`, and 1 MiB ten seconds later.
fn late() -> ScriptedExec {
    ScriptedExec::new()
        .with_workload(id("web"))
        .with_program("late", |process| async move {
            process.print("ready").await;
            SystemClock::new().sleep(Duration::from_secs(10)).await;
            for _ in 0..64 {
                process.print(vec![b'.'; 16 << 10]).await;
            }
            SystemClock::new().sleep(Duration::from_secs(10)).await;
            0
        })
}

/// Away while the program speaks: what the connection has cost, and what the output says is missing.
async fn cost(detached: WhileDetached) -> (Option<u64>, u64, usize) {
    let options = SessionOptions::default()
        .with_log(if detached == WhileDetached::Live {
            16 << 10
        } else {
            2 << 20
        })
        .with_detached(detached);
    let server = server(late(), options);
    let session = server.client().open(open("late")).await.unwrap();
    let mut links = session.links();
    let mut output = session.take_output().unwrap();
    assert_eq!(output.next().await.unwrap().unwrap().bytes, "ready");
    let away = server.cut_for(Duration::from_secs(15));
    let mut cost = None;
    let telling = async {
        while let Some(link) = links.next().await {
            if let Link::Up {
                missed: Some(missed),
            } = link
            {
                cost = Some(missed);
            }
        }
    };
    let (mut gap, mut got) = (0, 0);
    let reading = async {
        while let Some(piece) = output.next().await {
            match piece {
                Ok(piece) => got += piece.bytes.len(),
                Err(error) if error.kind() == ErrorKind::ResourceExhausted => {
                    let text = error.message();
                    gap += text.split(' ').next().unwrap().parse::<u64>().unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::join!(away, telling, reading);
    (cost, gap, got)
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_what_a_cut_has_cost() {
    let (cost_of_all, gap, got) = cost(WhileDetached::Lossless).await;
    assert_eq!((cost_of_all, gap, got), (Some(0), 0, 1 << 20));
    let (cost_of_live, gap, got) = cost(WhileDetached::Live).await;
    assert_eq!(gap + got as u64, 1 << 20);
    assert!(gap > 0);
    assert_eq!(cost_of_live, Some(gap));
}
