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
    raw::Raw,
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

/// The environment is not: that is where secrets are.
#[tokio::test(start_paused = true)]
async fn who_ran_what_from_where_in_which_session_is_on_record() {
    let kept = Arc::new(Kept::default());
    let engine = programs::scripted()
        .with_workload(id("web"))
        .with_program("seven", |_| async { 7 });
    let directory = StaticDirectory::new().with_engine(Arc::new(engine));
    let audit = Arc::clone(&kept);
    let options = GatewayOptions::default().with_real_ip_trusted();
    let server = Server::new(directory, options, |gateway| {
        gateway.with_access(Arc::new(AnybodyMay)).with_audit(audit)
    });
    let label = |number: usize, name: &str| {
        let kept = kept.0.lock().unwrap();
        kept[number].target.labels.get(name).map(str::to_owned)
    };
    let seven = ExecRequest::new(id("web"), ["seven", "a b", "\u{1b}[31m"]);
    let session = server
        .client()
        .exec(&seven.with_env("PASSWORD=hunter22"))
        .await
        .unwrap();
    let its_id = session.id().to_string();
    assert_eq!(session.wait().await.unwrap().code, Some(7));
    drop(session);
    let clock = SystemClock::new();
    clock.sleep(std::time::Duration::from_secs(310)).await;
    for number in [0, 1] {
        let command = r#"["seven","a b","\\u{1b}[31m"]"#;
        assert_eq!(label(number, "command").as_deref(), Some(command));
        assert_eq!(label(number, "session"), Some(its_id.clone()));
    }
    assert_eq!((label(0, "code"), label(0, "reason")), (None, None));
    assert_eq!(label(1, "code").as_deref(), Some("7"));
    assert_eq!(label(1, "reason").as_deref(), Some("exited"));
    assert_eq!(label(1, "end").as_deref(), Some("exited with code 7"));
    let all = format!("{:?}", kept.0.lock().unwrap());
    assert!(!all.contains("hunter22"), "{all}");

    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec!["x".repeat(300); 100]);
    server.client().open(open).await.unwrap();
    let long = label(2, "command").unwrap();
    assert!(long.len() < 5_000 && long.ends_with("]…"), "{long}");

    let headers = [
        ("access-token", "t"),
        ("app-name", "shop"),
        ("proc-name", "web"),
        ("instance-no", "1"),
        ("X-Real-IP", "192.0.2.7"),
    ];
    let before = kept.0.lock().unwrap().len();
    let mut raw = Raw::open(&server, "/enter", &headers).await;
    raw.closed().await;
    assert_eq!(label(before, "source").as_deref(), Some("192.0.2.7"));
    assert_eq!(label(before, "command"), None, "a login names none");
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
