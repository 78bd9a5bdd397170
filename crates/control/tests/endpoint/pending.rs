//! S21: work that waits for room, over the endpoint.

mod once;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::Method;
use longshore_control::{
    Admission, PlaneOptions, ServiceSpec, StackSpec, endpoint::EndpointOptions,
};
use longshore_core::{
    Access, Action, AuditOutcome, Authorizer, Bytes, Error, ErrorKind, Identity, Leader, MilliCpu,
    PlacementRequest, Resources, Result, Target, WorkloadSpec, WorkloadState,
    testkit::ManualElection,
};
use serde_json::{Value, json};

use crate::{
    access::Except,
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
        .fails(
            409,
            "Conflict: The name web is already assigned to work that waits for room. You have to give \
             that up to be able to assign web to a container.",
            "already-exists",
        );
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
async fn s21_a_priority_above_what_is_free_needs_leave() {
    let cluster = Cluster::with(Setup {
        authorizer: Arc::new(Except(Action::Administer, "priority", &["1", "6", "7"])),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let _held = cluster.fill().await;
    client
        .post(&format!("{PENDING}?priority=1"), body(3))
        .await
        .fails(
            403,
            "priority 1 needs leave of its own; without, 0 is the highest: not for you",
            "permission-denied",
        );
    for priority in [-7, 0, 2] {
        client.enqueue(&format!("priority={priority}"), 3).await;
    }
    let priorities: Vec<_> = client
        .pending()
        .await
        .iter()
        .map(|work| work["priority"].as_i64().unwrap())
        .collect();
    assert_eq!(priorities, [2, 0, -7]);
    let records = cluster.audit.records();
    let denied = records
        .iter()
        .find(|it| it.event.operation.contains("priority=1"));
    assert!(matches!(
        denied.unwrap().event.outcome,
        AuditOutcome::Denied(_)
    ));

    let cluster = Cluster::with(Setup {
        authorizer: Arc::new(Except(Action::Administer, "priority", &["5", "6"])),
        endpoint: EndpointOptions::default().with_free_priority(5),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let _held = cluster.fill().await;
    client.enqueue("priority=5", 3).await;
    let refused = client.post(&format!("{PENDING}?priority=6"), body(3)).await;
    refused.ok(403);
}

#[tokio::test]
async fn s21_one_caller_does_not_fill_the_queue() {
    let cluster = Cluster::with(Setup {
        plane: PlaneOptions::default().with_pending_capacity(8),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let _held = cluster.fill().await;
    client.enqueue("name=a", 3).await;
    client.enqueue("name=b", 3).await;
    let owner = client.pending().await[0]["owner"].clone();
    let owner = owner.as_str().unwrap();
    assert!(
        owner.starts_with("unix:") && owner.ends_with(" (unix)"),
        "{owner}"
    );
    let refused = client.post(&format!("{PENDING}?name=c"), body(3)).await;
    refused.fails(
        503,
        &format!(
            "{owner} holds 2 of the 8 places for what waits already, and nobody may have more than 2: \
             nothing more of this owner's is queued before some of it is placed or given up"
        ),
        "resource-exhausted",
    );
    assert!(cluster.plane.reserve_name("c").is_ok(), "its name is free");
    // The others have theirs.
    let request = PlacementRequest::new("busybox").with_resources(memory(3));
    let plane = &cluster.plane;
    let _other = plane.enqueue_for("bob", &request, None, None).unwrap();
    client.delete(&format!("{PENDING}/a")).await.ok(204);
    cluster
        .until("it is out of the queue", || plane.pending().len() == 2)
        .await;
    client.enqueue("name=c", 3).await;
}

#[tokio::test]
async fn s21_leave_to_give_up_is_asked_for_the_work_that_is_meant() {
    let cluster = Cluster::with(Setup {
        authorizer: Arc::new(Except(Action::Write, "pending", &["theirs"])),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let _held = cluster.fill().await;
    let theirs = client.enqueue("name=theirs", 3).await["id"].clone();
    let theirs = theirs.as_str().unwrap();
    let mine = client.enqueue("name=mine", 3).await["id"].clone();
    let mine = mine.as_str().unwrap();
    // By whatever words.
    for reference in ["theirs", theirs, &theirs[..12]] {
        let refused = client.delete(&format!("{PENDING}/{reference}")).await;
        refused.fails(403, "not for you", "permission-denied");
    }
    let records = cluster.audit.records();
    let denied = &records.last().unwrap().event;
    assert_eq!(denied.target.name, "theirs");
    assert_eq!(
        denied.target.labels.get("longshore.pending.id"),
        Some(theirs)
    );
    client.delete(&format!("{PENDING}/{mine}")).await.ok(204);
    assert_eq!(client.pending().await.len(), 1);
}

#[tokio::test]
async fn s21_the_beginning_of_several_ids_gives_up_none() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let _held = cluster.fill().await;
    let mut first: Vec<String> = Vec::new();
    // Two of so many begin with the same digit.
    for _ in 0..17 {
        let id = client.enqueue("", 3).await["id"].clone();
        first.push(id.as_str().unwrap()[..1].to_owned());
    }
    let same = |digit: &String| first.iter().filter(|other| *other == digit).count();
    let digit = first.iter().find(|digit| same(digit) > 1).unwrap();
    let count = same(digit);
    client.delete(&format!("{PENDING}/{digit}")).await.fails(
        409,
        &format!(
            "the ids of {count} pieces of pending work begin with {digit}: give more of the id"
        ),
        "ambiguous",
    );
    assert_eq!(client.pending().await.len(), 17);
}

/// A cluster where what an engine refuses for now is tried again soon.
async fn hasty() -> Cluster {
    let endpoint = EndpointOptions::default()
        .with_pending_tries(3)
        .with_pending_pause(Duration::from_millis(100))
        .with_work_limit(Duration::from_millis(500))
        .with_longest_create(Duration::from_millis(500));
    Cluster::with(Setup {
        endpoint,
        ..Setup::default()
    })
    .await
}

impl Cluster {
    fn refuse(&self, times: usize, status: u16, reason: &str) {
        for daemon in &self.daemons {
            let mut state = daemon.state();
            state.refusals = vec![(status, reason.to_owned()); times];
        }
    }

    fn creates(&self) -> usize {
        self.asked("/containers/create")
    }

    fn asked(&self, what: &str) -> usize {
        let asked = self.daemons.iter();
        asked.map(|daemon| daemon.asked(what)).sum()
    }

    /// Nothing is held for anybody.
    async fn is_free(&self) {
        drop(self.fill().await);
        assert!(self.plane.reserve_name("web").is_ok());
    }
}

#[tokio::test]
async fn s21_what_engines_refuse_for_now_waits_with_the_reason_and_is_made_later() {
    for (status, reason) in [
        (500, "no space left on device"),
        (503, "the engine is busy"),
        (
            409,
            "Conflict. The container name \"/web\" is already in use by container 0a",
        ),
    ] {
        let cluster = hasty().await;
        let client = cluster.client();
        cluster.refuse(1, status, reason);
        client.enqueue("name=web", 3).await;
        let work = client.until_state("waiting").await;
        assert_eq!(
            (&work["reason"], &work["error"], &work["failures"]),
            (&json!(reason), &json!(reason), &json!(1))
        );
        assert!(work["again_at"].is_string(), "{work}");
        // The name is held all the time.
        assert!(cluster.plane.reserve_name("web").is_err());
        let work = client.until_state("made").await;
        assert_eq!(work["failures"], 1);
        assert_eq!(cluster.made(), 1);
        let records = cluster.audit.records();
        let outcomes = records
            .iter()
            .filter(|record| record.event.operation.contains(PENDING))
            .map(|record| record.event.outcome.clone());
        let failed = AuditOutcome::Failed(reason.to_owned());
        let (started, done) = (AuditOutcome::Started, AuditOutcome::Done);
        assert_eq!(
            outcomes.skip(2).collect::<Vec<_>>(),
            [started.clone(), failed, started, done]
        );
    }
}

#[tokio::test]
async fn s21_what_is_refused_again_and_again_has_failed_and_holds_nothing() {
    let cluster = hasty().await;
    let client = cluster.client();
    cluster.refuse(9, 500, "no space left on device");
    client.enqueue("name=web", 3).await;
    let work = client.until_state("failed").await;
    assert_eq!(work["reason"], "no space left on device");
    assert_eq!(work["failures"], 2, "before the last");
    assert_eq!(cluster.creates(), 6, "three times at both");
    cluster.is_free().await;
}

#[tokio::test]
async fn s21_what_can_t_pass_ends_it_at_once() {
    let cluster = hasty().await;
    let client = cluster.client();
    cluster.refuse(9, 400, "invalid restart policy");
    client.enqueue("name=web", 3).await;
    let work = client.until_state("failed").await;
    assert_eq!(work["reason"], "invalid restart policy");
    assert_eq!(cluster.creates(), 1);
    cluster.is_free().await;
    cluster.refuse(0, 400, "");
    client.delete(&format!("{PENDING}/web")).await.ok(204);

    let nowhere = json!({"Image": "nowhere"});
    client
        .post(&format!("{PENDING}?name=web"), nowhere)
        .await
        .ok(202);
    let work = client.until_state("failed").await;
    let reason = work["reason"].as_str().unwrap();
    assert!(reason.contains("No such image: nowhere"), "{reason}");
    assert!(reason.contains("manifest unknown"), "{reason}");
    assert_eq!(work["failures"], 0);
    cluster.is_free().await;
}

#[tokio::test]
async fn s21_what_was_made_though_the_answer_was_lost_is_found_and_not_made_again() {
    let cluster = hasty().await;
    let client = cluster.client();
    for daemon in &cluster.daemons {
        let mut state = daemon.state();
        (state.lose_create_answer, state.hides) = (true, true);
    }
    client.enqueue("name=web", 3).await;
    let work = client.until_state("made").await;
    assert_eq!((cluster.made(), cluster.creates()), (1, 1));
    let container = work["container"].as_str().unwrap();
    let running = |daemon: &crate::daemon::Daemon| {
        let state = daemon.state();
        let found = state.containers.get(container);
        found.is_some_and(|it| it.state == WorkloadState::Running)
    };
    assert!(cluster.daemons.iter().any(running));
    // Why it is there is known.
    let path = format!("/longshore/v1/explain?container={container}");
    let why = client.get(&path).await.ok(200).json();
    assert!(why["placement"].is_object(), "{why}");
}

#[tokio::test]
async fn s21_what_was_lost_on_the_way_is_made_once_it_is_certain_that_it_was_not() {
    let cluster = hasty().await;
    let client = cluster.client();
    for daemon in &cluster.daemons {
        daemon.state().lose_create = true;
    }
    client.enqueue("name=web", 3).await;
    client.until_state("waiting").await;
    assert_eq!(cluster.creates(), 1, "no second before that");
    // The other one loses it, too.
    client.until_state("made").await;
    assert_eq!(
        (cluster.made(), cluster.creates()),
        (1, 2 + usize::from(lost_twice(&cluster)))
    );
}

/// Whether both engines had their turn in losing it.
fn lost_twice(cluster: &Cluster) -> bool {
    !cluster
        .daemons
        .iter()
        .any(|daemon| daemon.state().lose_create)
}

#[tokio::test]
async fn s21_what_can_t_be_started_for_now_is_started_later_and_made_once() {
    let cluster = hasty().await;
    let client = cluster.client();
    for daemon in &cluster.daemons {
        let refusal = (500, "the driver is busy".to_owned());
        daemon.state().start_refusals.push(refusal);
    }
    client.enqueue("name=web", 3).await;
    let work = client.until_state("made").await;
    let error = work["error"].as_str().unwrap();
    assert!(
        error.ends_with("can't be started: the driver is busy"),
        "{error}"
    );
    assert_eq!((cluster.made(), cluster.creates()), (1, 1));
}

#[tokio::test]
async fn s21_what_pauses_after_a_failure_can_be_given_up() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    cluster.refuse(9, 500, "no space left on device");
    client.enqueue("name=web", 3).await;
    client.until_state("waiting").await;
    client.delete(&format!("{PENDING}/web")).await.ok(204);
    cluster
        .until("its name is free", || {
            cluster.plane.reserve_name("web").is_ok()
        })
        .await;
    assert!(client.pending().await.is_empty());
    cluster.is_free().await;
}

#[tokio::test]
async fn s21_a_deposed_leader_tries_nothing_again() {
    let election = ManualElection::new(Leader::Here { token: 1 });
    let endpoint = EndpointOptions::default().with_pending_pause(Duration::from_millis(300));
    let cluster = Cluster::with(Setup {
        election: Some(Arc::new(election.clone())),
        endpoint,
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    cluster.refuse(1, 500, "no space left on device");
    client.enqueue("name=web", 3).await;
    client.until_state("waiting").await;
    let before = cluster.creates();
    // Another one has led meanwhile.
    election.set(Leader::Elsewhere("10.9.9.9:1".to_owned()));
    election.set(Leader::Here { token: 3 });
    let work = client.until_state("failed").await;
    let reason = work["reason"].as_str().unwrap();
    assert!(reason.starts_with("another manager has led"), "{reason}");
    assert_eq!((cluster.made(), cluster.creates()), (0, before));
    cluster.is_free().await;
}

#[tokio::test]
async fn s21_a_manager_that_leads_no_more_makes_nothing() {
    let election = ManualElection::new(Leader::Here { token: 1 });
    let cluster = Cluster::led_by(&election).await;
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
