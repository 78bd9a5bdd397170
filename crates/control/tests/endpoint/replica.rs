//! Managers that don't lead (rules L1, L2, L4, L5 of the specification).

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request};
use http_body_util::BodyExt;
use longshore_control::endpoint::EndpointOptions;
use longshore_core::{
    Access, Action, Authorizer, BoxStream, DenyAll, Identity, Leader, LeaderElection, Result,
    Target,
    http::{Upgraded, empty_body},
    testkit::ManualElection,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    access::Except,
    client::Client,
    cluster::{Cluster, Setup},
};

const PRIMARY: &str = "10.9.0.1:4000";

fn at(address: &str) -> ManualElection {
    ManualElection::new(Leader::Elsewhere(address.to_owned()))
}

/// A manager of two nodes, and one without any that passes on to it.
async fn pair() -> (Cluster, Cluster, ManualElection) {
    let primary = Cluster::with(Setup {
        election: Some(Arc::new(ManualElection::new(Leader::Here { token: 7 }))),
        ..Setup::default()
    })
    .await;
    let election = at(PRIMARY);
    let replica = Cluster::with(replica(&election, &[(PRIMARY, &primary)])).await;
    (primary, replica, election)
}

fn replica(election: &ManualElection, managers: &[(&str, &Cluster)]) -> Setup {
    let endpoint = EndpointOptions::default()
        .with_linger(Duration::from_millis(300))
        .with_primary_limit(Duration::from_millis(200));
    let managers = managers.iter();
    Setup {
        nodes: 0,
        endpoint,
        election: Some(Arc::new(election.clone())),
        managers: managers
            .map(|(address, manager)| ((*address).to_owned(), manager.socket()))
            .collect(),
        ..Setup::default()
    }
}

#[tokio::test]
async fn l1_everything_but_ping_and_info_goes_to_the_primary() {
    let (primary, replica, _) = pair().await;
    let (here, there) = (replica.client(), primary.client());
    here.get("/_ping").await.ok(200);
    for (client, nodes, role) in [
        (
            &here,
            "0",
            json!([["Role", "replica"], ["Primary", PRIMARY]]),
        ),
        (
            &there,
            "2",
            json!([["Role", "primary"], ["Strategy", "fewest"]]),
        ),
    ] {
        let info = client.get("/v1.40/info").await.ok(200).json();
        let status = info["SystemStatus"].as_array().unwrap();
        assert_eq!(json!(status[..2]), role);
        let count = status.iter().find(|row| row[0] == "Nodes").unwrap();
        assert_eq!(count[1], nodes);
    }
    let id = here.create("web", json!({})).await;
    let path = "/v1.40/containers/json?all=1&filters=%7B%22name%22%3A%5B%22web%22%5D%7D";
    let listed = here.get(path).await.ok(200);
    assert_eq!(listed.json()[0]["Id"], id.as_str());
    assert_eq!(listed.text, there.get(path).await.text);
    // Errors come through as they are, reason included.
    here.get("/containers/nobody/json")
        .await
        .fails(404, "No such container nobody", "not-found");
    here.delete("/containers/web").await.ok(204);
    there.get("/containers/web/json").await.ok(404);
    // Both have it on record.
    for manager in [&primary, &replica] {
        let records = manager.audit.records();
        let removed = records.iter().filter(|record| {
            record.event.operation == "DELETE /containers/web"
                && format!("{:?}", record.event.outcome) == "Done"
        });
        assert_eq!(removed.count(), 1);
    }
}

async fn exec(client: &crate::client::Client) -> String {
    client.create("web", json!({})).await;
    let body = json!({"Cmd": ["sh"], "AttachStdin": true});
    let made = client.post("/containers/web/exec", body).await.ok(201);
    made.json()["Id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn l1_raw_streams_pass_through_with_half_close() {
    let (_primary, replica, _) = pair().await;
    let client = replica.client();
    let id = exec(&client).await;
    let request = Request::post(format!("/v1.40/exec/{id}/start"))
        .body(Bytes::from_static(b"{\"Tty\":false}"))
        .unwrap();
    let Upgraded::Stream { mut stream, .. } = client.0.upgrade(request).await.unwrap() else {
        panic!("refused")
    };
    stream.write_all(b"\0abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).await.unwrap();
    assert_eq!(seen, format!("exec {id}: cba\0"));
    // Detached, it is a plain call.
    let detached = json!({"Detach": true});
    client
        .post(&format!("/exec/{id}/start"), detached)
        .await
        .ok(200);
    // An error in place of a stream keeps its form.
    let request = Request::post("/containers/nobody/attach?stream=1")
        .body(Bytes::new())
        .unwrap();
    let Upgraded::Refused { status, body } = client.0.upgrade(request).await.unwrap() else {
        panic!("there is no such container")
    };
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (status.as_u16(), body["reason"].as_str()),
        (404, Some("not-found"))
    );
}

#[tokio::test]
async fn l4_without_a_primary_a_call_waits_and_then_says_so() {
    let (_primary, replica, election) = pair().await;
    let client = replica.client();
    election.set(Leader::Nobody);
    let answer = client.get("/containers/json").await;
    answer.fails(
        503,
        "No elected primary cluster manager: nobody has led for 200ms; look at the managers' logs \
         and at their key-value store",
        "unavailable",
    );
    assert_eq!(answer.headers["retry-after"], "1");
    client.get("/_ping").await.ok(200);
    client.get("/info").await.ok(200);
    // One that is elected meanwhile answers.
    let elected = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        election.set(Leader::Elsewhere(PRIMARY.to_owned()));
    };
    let (answer, ()) = tokio::join!(client.get("/containers/json"), elected);
    answer.ok(200);
    // And the manager that is elected itself answers itself.
    election.set(Leader::Here { token: 8 });
    assert_eq!(
        client.get("/longshore/v1/nodes").await.ok(200).json(),
        json!([])
    );
}

#[tokio::test]
async fn l4_a_primary_that_cannot_be_reached_is_named() {
    let (_primary, replica, election) = pair().await;
    election.set(Leader::Elsewhere("10.9.0.9:4000".to_owned()));
    let answer = replica.client().get("/containers/json").await.ok(503);
    let text = answer.json()["message"].to_string();
    let start = "\"Unable to reach primary cluster manager (10.9.0.9:4000): ";
    assert!(text.starts_with(start), "{text}");
    election.set(Leader::Elsewhere("nonsense".to_owned()));
    let answer = replica.client().get("/containers/json").await.ok(503);
    assert!(
        answer
            .text
            .contains("the leader advertises \\\"nonsense\\\""),
        "{answer:?}"
    );
}

#[tokio::test]
async fn managers_that_disagree_do_not_play_ball() {
    let (one, two) = (at("10.9.0.2:1"), at("10.9.0.1:1"));
    let second = Cluster::with(replica(&two, &[])).await;
    let first = Cluster::with(replica(&one, &[("10.9.0.2:1", &second)])).await;
    first.client().get("/containers/json").await.fails(
        503,
        "No elected primary cluster manager: the managers do not agree yet on who leads",
        "unavailable",
    );
}

#[tokio::test]
async fn l5_streams_break_off_when_another_manager_leads() {
    let (_primary, replica, election) = pair().await;
    let client = replica.client();
    let id = exec(&client).await;
    let request = Request::post(format!("/exec/{id}/start"))
        .body(Bytes::from_static(b"{}"))
        .unwrap();
    let Upgraded::Stream { mut stream, .. } = client.0.upgrade(request).await.unwrap() else {
        panic!("refused")
    };
    let request = Request::get("/events").body(empty_body()).unwrap();
    let mut events = client.0.send(request).await.unwrap().into_body();
    // A moment without a leader changes nothing.
    election.set(Leader::Nobody);
    tokio::time::sleep(Duration::from_millis(20)).await;
    election.set(Leader::Elsewhere(PRIMARY.to_owned()));
    stream.write_all(b"x").await.unwrap();
    let mut greeting = vec![0; format!("exec {id}: ").len()];
    stream.read_exact(&mut greeting).await.unwrap();
    election.set(Leader::Elsewhere("10.9.0.3:4000".to_owned()));
    let ended = async {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        while let Some(frame) = events.frame().await {
            if frame.is_err() {
                return true;
            }
        }
        false
    };
    let broke = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(
        broke.expect("both ended"),
        "events broke off, not just ended"
    );
}

#[tokio::test]
async fn a_caller_without_leave_does_not_reach_the_primary() {
    let (primary, _, election) = pair().await;
    let closed = Cluster::with(Setup {
        authorizer: Arc::new(DenyAll),
        ..replica(&election, &[(PRIMARY, &primary)])
    })
    .await;
    let client = closed.client();
    client.get("/containers/json").await.ok(403);
    client
        .post("/containers/create?name=web", json!({"Image": "busybox"}))
        .await
        .ok(403);
    assert!(primary.audit.records().is_empty());
}

/// A leadership that is over after it was asked for a number of times.
#[derive(Clone, Debug)]
struct Fading(Arc<AtomicUsize>);

impl LeaderElection for Fading {
    fn leader(&self) -> Leader {
        let left = |left: usize| left.checked_sub(1);
        match self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
        {
            Ok(_) => Leader::Here { token: 7 },
            Err(_) => Leader::Elsewhere(PRIMARY.to_owned()),
        }
    }

    fn watch(&self) -> BoxStream<Leader> {
        futures::stream::pending().boxed()
    }
}

/// Between a call's arrival and what it does on a node lies time, in which a leadership can end.
#[tokio::test]
async fn l2_a_call_that_outlasts_its_leadership_changes_nothing() {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let cluster = Cluster::with(Setup {
        nodes: 1,
        election: Some(Arc::new(Fading(Arc::clone(&left)))),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let id = client.create("web", json!({})).await;
    let asked = || {
        let requests = &cluster.daemons[0].state().requests;
        let changes = requests.iter().filter(|line| !line.starts_with("GET"));
        changes.cloned().collect::<Vec<_>>()
    };
    let before = asked();
    left.store(1, Ordering::SeqCst);
    let answer = client.delete(&format!("/containers/{id}")).await;
    assert!(answer.ok(503).headers.contains_key("retry-after"));
    for (method, path, body) in [
        ("DELETE", format!("/containers/{id}"), None),
        ("POST", format!("/containers/{id}/start"), None),
        (
            "POST",
            "/volumes/create".to_owned(),
            Some(json!({"Name": "v"})),
        ),
        (
            "POST",
            "/containers/create?name=b".to_owned(),
            Some(json!({"Image": "busybox"})),
        ),
        (
            "POST",
            format!("/containers/{id}/exec"),
            Some(json!({"Cmd": ["a"]})),
        ),
    ] {
        left.store(1, Ordering::SeqCst);
        let method = method.parse().unwrap();
        let answer = client.call(method, &path, body).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text);
        assert!(
            answer.text.contains("does not lead"),
            "{path}: {}",
            answer.text
        );
        assert!(answer.text.contains(PRIMARY), "{path}: {}", answer.text);
        assert_eq!(asked(), before, "{path} reached the engine");
    }
    // A hijacked stream carries input.
    left.store(1, Ordering::SeqCst);
    let path = format!("/containers/{id}/attach?stream=1&stdin=1");
    let request = Request::post(path).body(Bytes::new()).unwrap();
    match client.0.upgrade(request).await.unwrap() {
        Upgraded::Refused { status, .. } => assert_eq!(status, 503),
        Upgraded::Stream { .. } => panic!("attached"),
    }
    assert_eq!(asked(), before);
    // Reading is open to everybody.
    left.store(1, Ordering::SeqCst);
    client.get(&format!("/containers/{id}/json")).await.ok(200);
}

/// Whoever is asked for leave has work of that name queued at the primary.
#[derive(Debug)]
struct Sly(PathBuf, AtomicUsize);

#[async_trait]
impl Authorizer for Sly {
    async fn authorize(&self, _: &Identity, _: Action, target: &Target) -> Result<Access> {
        if target.kind == "pending" && self.1.fetch_add(1, Ordering::SeqCst) == 0 {
            let there = Client::at(self.0.clone());
            let large = json!({"Image": "busybox", "HostConfig": {"Memory": 64_u64 << 30}});
            let path = format!("/longshore/v1/pending?name={}", target.name);
            there.post(&path, large).await.ok(202);
        }
        Ok(Access::default())
    }
}

/// Leave for what is not there is no leave for what comes meanwhile.
#[tokio::test]
async fn s21_a_replica_gives_up_what_leave_was_given_for_and_nothing_else() {
    let primary = Cluster::with(Setup {
        election: Some(Arc::new(ManualElection::new(Leader::Here { token: 7 }))),
        ..Setup::default()
    })
    .await;
    let election = at(PRIMARY);
    let replica = Cluster::with(Setup {
        authorizer: Arc::new(Sly(primary.socket(), AtomicUsize::new(0))),
        ..replica(&election, &[(PRIMARY, &primary)])
    })
    .await;
    let here = replica.client();
    let path = "/longshore/v1/pending/web";
    let missing = "No such pending work: web";
    here.delete(path).await.fails(404, missing, "not-found");
    assert_eq!(primary.plane.pending().len(), 1);
    here.delete(path).await.ok(204);
    // What is not the endpoint's is named as the primary names it.
    let request = longshore_core::PlacementRequest::new("busybox")
        .with_constraint("node==nowhere".parse().unwrap());
    let _theirs = primary.plane.enqueue(&request, Some("web"), None).unwrap();
    let whose = "web was not queued here: whoever queued it gives it up";
    here.delete(path).await.fails(409, whose, "already-exists");
    let told = primary.client().delete(path).await;
    told.fails(409, whose, "already-exists");
}

/// The primary asks about the manager that passes a call on: what the caller himself may do is decided
/// here.
#[tokio::test]
async fn l1_leave_of_its_own_is_asked_for_where_the_caller_is_known() {
    const PENDING: &str = "/longshore/v1/pending";
    let primary = Cluster::with(Setup {
        election: Some(Arc::new(ManualElection::new(Leader::Here { token: 7 }))),
        ..Setup::default()
    })
    .await;
    let election = at(PRIMARY);
    let behind = async |authorizer: Except| {
        let setup = Setup {
            authorizer: Arc::new(authorizer),
            ..replica(&election, &[(PRIMARY, &primary)])
        };
        Cluster::with(setup).await
    };
    let there = primary.client();
    let large = || json!({"Image": "busybox", "HostConfig": {"Memory": 64_u64 << 30}});
    let enqueue = async |name: &str| {
        let path = format!("{PENDING}?name={name}");
        let queued = there.post(&path, large()).await.ok(202).json();
        queued["id"].as_str().unwrap().to_owned()
    };
    let (theirs, mine) = (enqueue("theirs").await, enqueue("mine").await);
    let pending = behind(Except(Action::Write, "pending", &["theirs"])).await;
    let here = pending.client();
    for reference in ["theirs", &theirs, &theirs[..12]] {
        let refused = here.delete(&format!("{PENDING}/{reference}")).await;
        refused.fails(403, "not for you", "permission-denied");
    }
    here.delete(&format!("{PENDING}/{}", &mine[..12]))
        .await
        .ok(204);
    here.delete(&format!("{PENDING}/none")).await.ok(404);
    assert_eq!(primary.plane.pending().len(), 1);

    let priorities = behind(Except(Action::Administer, "priority", &["7"])).await;
    let refused = priorities
        .client()
        .post(&format!("{PENDING}?priority=7"), large())
        .await;
    refused.ok(403);
    assert_eq!(primary.plane.pending().len(), 1);

    let credentials = behind(Except(Action::Write, "registry-credentials", &["prod"])).await;
    let here = credentials.client();
    let shop = |credentials: &str| {
        let web = json!({"name": "web", "template": {"image": "busybox"}, "replicas": 0,
            "registry_credentials": credentials});
        Some(json!({"name": "shop", "services": [web]}))
    };
    let path = "/longshore/v1/stacks/shop";
    here.call(Method::PUT, path, shop("prod"))
        .await
        .fails(403, "not for you", "permission-denied");
    assert!(primary.plane.stacks().is_empty());
    here.call(Method::PUT, path, shop("dev")).await.ok(204);
    assert_eq!(primary.plane.stacks().len(), 1);
}
