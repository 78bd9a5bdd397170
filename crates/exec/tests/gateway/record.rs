//! What a gateway puts on record, and what a client tells of its connection.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    AuditEvent, AuditOutcome, AuditReceipt, AuditSink, ClockExt, ExecBackend, ExecRequest,
    ExecSession, Result, SystemClock,
};
use longshore_exec::{
    access::{AnybodyMay, StaticDirectory},
    client::Link,
    gateway::GatewayOptions,
    protocol::native::Open,
};

use crate::{
    programs,
    server::{Server, id},
};

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<AuditEvent>>);

#[async_trait]
impl AuditSink for Kept {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let mut kept = self.0.lock().unwrap();
        kept.push(event);
        let (sequence, hash) = (kept.len() as u64 - 1, String::new());
        Ok(AuditReceipt { sequence, hash })
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_is_on_record_too() {
    let kept = Arc::new(Kept::default());
    let engine = programs::scripted()
        .with_workload(id("web"))
        .with_program("seven", |_| async { 7 });
    let directory = StaticDirectory::new().with_engine(Arc::new(engine));
    let audit = Arc::clone(&kept);
    let server = Server::new(directory, GatewayOptions::default(), |gateway| {
        gateway.with_access(Arc::new(AnybodyMay)).with_audit(audit)
    });
    let outcomes = || -> Vec<AuditOutcome> {
        let kept = kept.0.lock().unwrap();
        assert!(
            kept.iter().all(|event| event.operation == "exec.open"),
            "{kept:?}"
        );
        kept.iter().map(|event| event.outcome.clone()).collect()
    };
    let seven = ExecRequest::new(id("web"), ["seven"]);
    let session = server.client().exec(&seven).await.unwrap();
    assert_eq!(session.wait().await.unwrap().code, Some(7));
    SystemClock::new()
        .sleep(std::time::Duration::from_secs(310))
        .await;
    assert_eq!(outcomes(), [AuditOutcome::Started, AuditOutcome::Done]);

    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec!["no-such-program".into()]);
    let session = server.client().open(open).await.unwrap();
    session.ended().await.unwrap();
    drop(session);
    // At the latest when nobody can come back for the end any more.
    SystemClock::new()
        .sleep(std::time::Duration::from_secs(310))
        .await;
    let all = outcomes();
    assert_eq!((all.len(), &all[2]), (4, &AuditOutcome::Started));
    assert!(
        matches!(&all[3], AuditOutcome::Failed(why) if why.contains("start-failed")),
        "{all:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_tells_of_a_lost_connection() {
    let engine =
        programs::scripted()
            .with_workload(id("web"))
            .with_program("late", |process| async move {
                process.print("soon").await;
                SystemClock::new()
                    .sleep(std::time::Duration::from_secs(20))
                    .await;
                0
            });
    let server = Server::over(Arc::new(engine));
    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec!["late".into()]);
    let session = server.client().open(open).await.unwrap();
    let mut links = session.links();
    let mut output = session.take_output().unwrap();
    assert_eq!(output.next().await.unwrap().unwrap().bytes, "soon");
    server.cut();
    // A reader that is late sees the newest only.
    let mut link = links.next().await;
    if let Some(Link::Down(why)) = &link {
        assert!(!why.is_empty());
        link = links.next().await;
    }
    assert_eq!(link, Some(Link::Up { missed: Some(0) }));
    assert_eq!(session.ended().await.unwrap().code, Some(0));
    assert_eq!(links.next().await, None);
}
