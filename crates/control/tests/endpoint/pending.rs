//! S21: work that waits for room, over the endpoint.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::Method;
use longshore_control::{Admission, ServiceSpec, StackSpec};
use longshore_core::{
    Access, Action, AuditOutcome, Authorizer, Bytes, Error, ErrorKind, Identity, Leader, MilliCpu,
    PlacementRequest, Resources, Result, Target, WorkloadSpec, WorkloadState,
    testkit::ManualElection,
};
use serde_json::{Value, json};

use crate::{
    client::Client,
    cluster::{Cluster, Setup},
};

const PENDING: &str = "/longshore/v1/pending";

fn memory(gib: u64) -> Resources {
    Resources::new(MilliCpu(0), Bytes::from_gib(gib))
}

/// A body that asks for as much.
fn body(gib: u64) -> Value {
    json!({"Image": "busybox", "HostConfig": {"Memory": gib << 30}})
}

impl Cluster {
    /// Fills all nodes, until what it gives is dropped.
    async fn fill(&self) -> Vec<Admission> {
        let mut held = Vec::new();
        for node in self.plane.nodes() {
            let here = format!("node=={}", node.name).parse().unwrap();
            let request = PlacementRequest::new("busybox").with_resources(memory(4));
            let request = request.with_constraint(here);
            held.push(self.plane.admit(&request, None).await.unwrap());
        }
        held
    }

    fn made(&self) -> usize {
        self.daemons
            .iter()
            .map(|daemon| daemon.state().containers.len())
            .sum()
    }
}

impl Client {
    async fn pending(&self) -> Vec<Value> {
        let listed = self.get(PENDING).await.ok(200).json();
        listed.as_array().unwrap().clone()
    }

    /// Waits until the only work listed is in this state.
    async fn until_state(&self, state: &str) -> Value {
        for _ in 0..2_000 {
            let mut listed = self.pending().await;
            assert_eq!(listed.len(), 1, "{listed:?}");
            if listed[0]["state"] == state {
                return listed.remove(0);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is never {state}: {:?}", self.pending().await);
    }

    async fn enqueue(&self, query: &str, gib: u64) -> Value {
        self.post(&format!("{PENDING}?{query}"), body(gib))
            .await
            .ok(202)
            .json()
    }
}

#[tokio::test]
async fn s21_what_waits_says_why_and_is_made_and_started_when_there_is_room() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let mut held = cluster.fill().await;
    let queued = client.enqueue("name=web&patience=3600&priority=7", 3).await;
    let work = client.until_state("waiting").await;
    assert_eq!(
        (&work["id"], &work["reason"]),
        (&queued["id"], &queued["reason"])
    );
    assert!(
        work["reason"]
            .as_str()
            .unwrap()
            .contains("Unable to find a node")
    );
    assert_eq!(
        (&work["name"], &work["priority"]),
        (&json!("web"), &json!(7))
    );
    // Its name is held.
    client
        .post("/containers/create?name=web", body(0))
        .await
        .ok(409);
    assert_eq!(cluster.made(), 0);
    let on = held.pop().unwrap().node().unwrap().name;
    let work = client.until_state("made").await;
    assert_eq!(work["node"], on.as_str());
    let daemon = cluster
        .daemons
        .iter()
        .find(|daemon| daemon.name() == on)
        .unwrap();
    {
        let state = daemon.state();
        let container = &state.containers[work["container"].as_str().unwrap()];
        assert_eq!(
            (container.name.as_str(), container.state),
            ("web", WorkloadState::Running)
        );
        let asked = state
            .requests
            .iter()
            .find(|asked| asked.contains("/containers/create"));
        assert!(
            asked.unwrap().ends_with("?name=web"),
            "nothing of ours goes there: {asked:?}"
        );
    }
    // Queueing it is on record, and so is making it.
    let records = cluster.audit.records();
    let of_it = records
        .iter()
        .filter(|record| record.event.operation.contains(PENDING));
    let told: Vec<_> = of_it
        .map(|record| (record.event.outcome.clone(), &record.event))
        .collect();
    let outcomes: Vec<_> = told.iter().map(|(outcome, _)| outcome.clone()).collect();
    let [started, done] = [AuditOutcome::Started, AuditOutcome::Done];
    assert_eq!(outcomes, [started.clone(), done.clone(), started, done]);
    let last = told[3].1;
    assert_eq!(
        (last.target.name.as_str(), last.node.as_deref()),
        ("web", Some(&*on))
    );
    assert!(last.operation.contains("image=busybox") && last.operation.contains("id="));
}

#[tokio::test]
async fn s21_what_finds_room_at_once_is_made_at_once_and_started_unless_told_not_to() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let queued = client.enqueue("name=web&start=0", 1).await;
    assert_eq!(queued["reason"], Value::Null);
    client.until_state("made").await;
    let created = |daemon: &crate::daemon::Daemon| {
        let state = daemon.state();
        state
            .containers
            .values()
            .any(|it| it.state == WorkloadState::Created)
    };
    assert!(cluster.daemons.iter().any(created));
    // What has ended can be forgotten.
    client.delete(&format!("{PENDING}/web")).await.ok(204);
    assert!(client.pending().await.is_empty());
}

#[tokio::test]
async fn s21_what_waits_can_be_given_up() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let held = cluster.fill().await;
    let queued = client.enqueue("name=web", 3).await;
    client.until_state("waiting").await;
    client
        .delete(&format!("{PENDING}/{}", queued["id"].as_str().unwrap()))
        .await
        .ok(204);
    cluster
        .until("it is out of the queue", || {
            cluster.plane.pending().is_empty()
        })
        .await;
    assert!(client.pending().await.is_empty());
    drop(held);
    assert!(
        cluster.plane.reserve_name("web").is_ok(),
        "its name is free"
    );
    assert_eq!(cluster.made(), 0);
    client.delete(&format!("{PENDING}/web")).await.fails(
        404,
        "No such pending work: web",
        "not-found",
    );
    let records = cluster.audit.records();
    let last = &records
        .iter()
        .rfind(|it| it.event.target.kind == "pending")
        .unwrap()
        .event;
    assert!(matches!(last.outcome, AuditOutcome::Failed(_)));
}

#[tokio::test]
async fn s21_patience_ends_with_the_reason() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let _held = cluster.fill().await;
    client.enqueue("name=web&patience=1", 3).await;
    let work = client.until_state("failed").await;
    let reason = work["reason"].as_str().unwrap();
    assert!(reason.contains("Unable to find a node"), "{reason}");
    assert!(reason.contains("it waited for room for 1s"), "{reason}");
    assert_eq!(cluster.made(), 0);
}

/// Lets everybody do everything, until it is closed.
#[derive(Debug, Default)]
struct Door(AtomicBool);

#[async_trait]
impl Authorizer for Door {
    async fn authorize(&self, _: &Identity, action: Action, _: &Target) -> Result<Access> {
        match action == Action::Write && self.0.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::PermissionDenied, "not any more")),
            false => Ok(Access::default()),
        }
    }
}

#[tokio::test]
async fn s21_leave_that_was_taken_away_meanwhile_makes_nothing() {
    let door = Arc::new(Door::default());
    let cluster = Cluster::with(Setup {
        authorizer: door.clone(),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let held = cluster.fill().await;
    client.enqueue("name=web", 3).await;
    door.0.store(true, Ordering::SeqCst);
    // Who may not write may look.
    client.until_state("waiting").await;
    client
        .post(PENDING, body(1))
        .await
        .fails(403, "not any more", "permission-denied");
    client.delete(&format!("{PENDING}/web")).await.ok(403);
    drop(held);
    let work = client.until_state("failed").await;
    assert_eq!(work["reason"], "not any more");
    assert_eq!(cluster.made(), 0);
    // Its room was given back.
    drop(cluster.fill().await);
    let records = cluster.audit.records();
    let last = records
        .iter()
        .rfind(|it| it.event.operation.contains("name=web"));
    assert!(matches!(
        last.unwrap().event.outcome,
        AuditOutcome::Denied(_)
    ));
}

#[tokio::test]
async fn s21_an_engine_s_refusal_is_told_and_holds_nothing() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    for daemon in &cluster.daemons {
        daemon
            .state()
            .refusals
            .push((500, "no space left on device".to_owned()));
    }
    client.enqueue("name=web", 3).await;
    let work = client.until_state("failed").await;
    assert_eq!(work["reason"], "no space left on device");
    drop(cluster.fill().await);
    assert!(cluster.plane.reserve_name("web").is_ok());
}

#[tokio::test]
async fn s21_a_manager_that_leads_no_more_makes_nothing() {
    let election = ManualElection::new(Leader::Here { token: 1 });
    let cluster = Cluster::with(Setup {
        election: Some(Arc::new(election.clone())),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let held = cluster.fill().await;
    client.enqueue("name=web", 3).await;
    client.until_state("waiting").await;
    election.set(Leader::Elsewhere("10.9.9.9:1".to_owned()));
    drop(held);
    cluster
        .until("it had its turn", || cluster.plane.pending().is_empty())
        .await;
    election.set(Leader::Here { token: 2 });
    client.until_state("failed").await;
    assert_eq!(cluster.made(), 0);
}

#[tokio::test]
async fn s21_what_is_no_work_to_queue_or_not_ours_to_give_up_is_named() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    for (query, words) in [
        ("patience=soon", "expected a whole number"),
        ("patience=-1", "invalid patience"),
        ("priority=1.5", "invalid priority"),
    ] {
        let refused = client
            .post(&format!("{PENDING}?{query}"), body(1))
            .await
            .ok(400);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    let bad = json!({"Image": "a", "Env": ["constraint:x"]});
    client.post(PENDING, bad).await.ok(400);
    client.post(PENDING, Value::Null).await.ok(400);
    assert!(client.pending().await.is_empty());

    let mut template = WorkloadSpec::new("busybox");
    template.resources = memory(64);
    let web = ServiceSpec::new("web".parse().unwrap(), template);
    let stack = StackSpec::new("shop".parse().unwrap(), vec![web]);
    cluster.plane.deploy(stack).await.unwrap();
    let work = loop {
        if let Some(work) = client.pending().await.pop() {
            break work;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let instance = json!({"stack": "shop", "service": "web", "index": 1, "epoch": 1});
    assert_eq!((&work["instance"], &work["id"]), (&instance, &Value::Null));
    client.delete(&format!("{PENDING}/shop-web-1")).await.fails(
        409,
        "shop-web-1 belongs to stack shop: change the stack, or remove it",
        "already-exists",
    );
    let request = PlacementRequest::new("busybox").with_resources(memory(64));
    let _pending = cluster.plane.enqueue(&request, Some("mine"), None).unwrap();
    client
        .call(Method::DELETE, &format!("{PENDING}/mine"), None)
        .await
        .ok(409);
}
