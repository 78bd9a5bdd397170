//! What is queued is made once and runs once, or not at all where it was given up.

use std::{sync::Arc, time::Duration};

use longshore_control::{PlaneOptions, endpoint::EndpointOptions};
use longshore_core::{Leader, WorkloadState, testkit::ManualElection};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{PENDING, body, hasty};
use crate::{
    client::Client,
    cluster::{Cluster, Setup},
    daemon::State,
};

impl Cluster {
    fn set_up(&self, change: impl Fn(&mut State)) {
        for daemon in &self.daemons {
            change(&mut daemon.state());
        }
    }

    /// The states of all containers.
    fn states(&self) -> Vec<WorkloadState> {
        let mut states = Vec::new();
        for daemon in &self.daemons {
            let state = daemon.state();
            states.extend(state.containers.values().map(|container| container.state));
        }
        states
    }
}

#[tokio::test]
async fn s21_what_ran_though_the_answer_to_its_start_was_lost_is_not_started_again() {
    let cluster = hasty().await;
    let client = cluster.client();
    cluster.set_up(|state| (state.lose_start_answer, state.runs_shortly) = (true, true));
    client.enqueue("name=web", 3).await;
    let work = client.until_state("made").await;
    assert_eq!((cluster.creates(), cluster.asked("/start")), (1, 1));
    assert_eq!(cluster.states(), [WorkloadState::Exited]);
    let error = work["error"].as_str().unwrap();
    let words = ", and whether it was started is not known: ";
    assert!(error.contains(words), "{error}");
}

#[tokio::test]
async fn s21_a_start_that_was_lost_on_the_way_is_repeated_once_it_is_certain_that_it_was() {
    let cluster = hasty().await;
    let client = cluster.client();
    cluster.set_up(|state| state.lose_start = true);
    client.enqueue("name=web", 3).await;
    client.until_state("made").await;
    assert_eq!((cluster.creates(), cluster.asked("/start")), (1, 2));
    assert_eq!(cluster.states(), [WorkloadState::Running]);
}

#[tokio::test]
async fn s21_what_its_user_ran_meanwhile_is_not_started_again() {
    let cluster = hasty().await;
    let client = cluster.client();
    cluster.set_up(|state| {
        state.runs_shortly = true;
        state.start_refusals.push((500, "busy".to_owned()));
    });
    client.enqueue("name=web", 3).await;
    client.until_state("made").await;
    assert_eq!(cluster.asked("/start"), 1);
    assert_eq!(cluster.states(), [WorkloadState::Exited]);
}

/// A cluster whose first create is done, with its answer lost and the first look for it in vain. The
/// second waits for the permits.
async fn looking() -> (Cluster, Arc<Semaphore>) {
    let cluster = hasty().await;
    let permits = Arc::new(Semaphore::new(0));
    cluster.set_up(|state| {
        (state.lose_create_answer, state.hides) = (true, true);
        state.gate = Some(("/containers/json", Arc::clone(&permits)));
    });
    permits.add_permits(1);
    cluster.client().enqueue("name=web", 3).await;
    let asked = || cluster.asked("/containers/json") == 2;
    cluster.until("it is looked for", asked).await;
    (cluster, permits)
}

#[tokio::test]
async fn s21_what_is_found_after_it_was_given_up_is_not_started_and_removed() {
    let (cluster, permits) = looking().await;
    let client = cluster.client();
    client.delete(&format!("{PENDING}/web")).await.ok(204);
    permits.add_permits(100);
    cluster
        .until("it is removed", || cluster.states().is_empty())
        .await;
    assert_eq!((cluster.creates(), cluster.asked("/start")), (1, 0));
    assert!(client.pending().await.is_empty());
    let free = || cluster.plane.container("web").is_err();
    cluster.until("it is seen to be gone", free).await;
    cluster.is_free().await;
}

#[tokio::test]
async fn s21_what_was_found_is_not_given_up_any_more() {
    let (cluster, permits) = looking().await;
    let client = cluster.client();
    let starts = Arc::new(Semaphore::new(0));
    cluster.set_up(|state| state.gate = Some(("/start", Arc::clone(&starts))));
    permits.add_permits(100);
    cluster
        .until("it is started", || cluster.asked("/start") == 1)
        .await;
    client.delete(&format!("{PENDING}/web")).await.fails(
        409,
        "web is being made: remove the container instead",
        "already-exists",
    );
    starts.add_permits(100);
    client.until_state("made").await;
}

impl Client {
    /// Waits until the work of that name is in this state.
    async fn until_work(&self, name: &str, state: &str) -> Value {
        for _ in 0..2_000 {
            let mut listed = self.pending().await;
            listed.retain(|work| work["name"] == name && work["state"] == state);
            if let Some(work) = listed.pop() {
                return work;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{name} is never {state}: {:?}", self.pending().await);
    }
}

#[tokio::test]
async fn s21_what_was_accepted_waits_on_though_its_owner_s_place_was_given_away() {
    let endpoint = EndpointOptions::default()
        .with_pending_tries(2)
        .with_pending_pause(Duration::from_millis(100));
    let cluster = Cluster::with(Setup {
        nodes: 1,
        plane: PlaneOptions::default().with_pending_capacity(4),
        endpoint,
        prepare: |_, daemon| daemon.give_image("tools:latest"),
        ..Setup::default()
    })
    .await;
    let (client, daemon) = (cluster.client(), &cluster.daemons[0]);
    let creates = Arc::new(Semaphore::new(0));
    daemon.state().gate = Some(("/containers/create", Arc::clone(&creates)));
    cluster.refuse(1, 500, "no space left on device");
    let mut asked = body(1);
    asked["Env"] = json!(["affinity:image==tools"]);
    client
        .post(&format!("{PENDING}?name=first"), asked)
        .await
        .ok(202);
    cluster.until("it is made", || cluster.creates() == 1).await;
    // The only place of this owner, while the first needs none.
    client.enqueue("name=second", 64).await;
    let images = std::mem::take(&mut daemon.state().images);
    let node = cluster.plane.nodes()[0].id.clone().unwrap();
    cluster.plane.refresh_node(&node).await.unwrap();
    creates.add_permits(100);
    cluster
        .until("it waits, too", || cluster.plane.pending().len() == 2)
        .await;
    assert_eq!(client.until_work("first", "waiting").await["failures"], 1);
    daemon.state().images = images;
    cluster.plane.refresh_node(&node).await.unwrap();
    client.until_work("first", "made").await;
}

#[tokio::test]
async fn s21_what_helped_one_try_binds_no_later_one() {
    let endpoint = EndpointOptions::default().with_pending_pause(Duration::from_millis(100));
    let cluster = Cluster::with(Setup {
        endpoint,
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    // Only the first has the image, and makes nothing; for now no registry gives it.
    let [full, other] = &cluster.daemons[..] else {
        panic!("there are two")
    };
    full.give_image("tools:latest");
    full.state().refusals = vec![(500, "no space left on device".to_owned()); 99];
    let node = full.state().info.id.clone();
    cluster.plane.refresh_node(&node).await.unwrap();
    let tools = json!({"Image": "tools"});
    client
        .post(&format!("{PENDING}?name=web"), tools)
        .await
        .ok(202);
    cluster
        .until("both were tried", || {
            full.asked("/containers/create") >= 1 && other.asked("/images/create") >= 1
        })
        .await;
    other.state().registry.push("tools:latest".to_owned());
    let work = client.until_state("made").await;
    assert_eq!(work["node"], other.name().as_str());
}

#[tokio::test]
async fn s21_nothing_is_made_anew_because_an_engine_may_take_little_time_to_answer() {
    let endpoint = EndpointOptions::default()
        .with_pending_pause(Duration::from_millis(50))
        .with_work_limit(Duration::from_millis(50));
    let cluster = Cluster::with(Setup {
        endpoint,
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    cluster.set_up(|state| state.lose_create = true);
    client.enqueue("name=web", 3).await;
    let looks = || cluster.asked("/containers/json") >= 7;
    cluster.until("it was looked for often", looks).await;
    assert_eq!(cluster.creates(), 1);
    client.until_state("waiting").await;
}

#[tokio::test]
async fn s21_a_name_is_held_also_after_an_error_of_the_queue() {
    let cluster = hasty().await;
    let client = cluster.client();
    let held = cluster.fill().await;
    let mut odd = body(3);
    odd["Labels"] = json!({"odd": "yes"});
    client
        .post(&format!("{PENDING}?name=web"), odd)
        .await
        .ok(202);
    client.until_state("waiting").await;
    let free = || cluster.plane.reserve_name("web").is_ok();
    assert!(!free());
    drop(held);
    let failed = async || client.pending().await[0]["failures"] == 1;
    while !failed().await {
        assert!(!free(), "its name was given away");
    }
    assert!(!free(), "its name was given away");
    client.until_state("made").await;
}

#[tokio::test]
async fn s21_what_waits_under_a_leadership_that_is_over_is_told_so_at_once() {
    let election = ManualElection::new(Leader::Here { token: 1 });
    let cluster = Cluster::led_by(&election).await;
    let client = cluster.client();
    // There is no room all the time.
    let _held = cluster.fill().await;
    client.enqueue("name=web", 3).await;
    client.until_state("waiting").await;
    election.set(Leader::Nobody);
    election.set(Leader::Here { token: 1 });
    client.until_state("waiting").await;
    election.set(Leader::Here { token: 2 });
    let work = client.until_state("failed").await;
    let reason = work["reason"].as_str().unwrap();
    assert!(reason.starts_with("another manager has led"), "{reason}");
    assert!(cluster.plane.pending().is_empty());
    assert!(
        cluster.plane.reserve_name("web").is_ok(),
        "its name is free"
    );
}

#[tokio::test]
async fn s21_without_a_pause_it_is_tried_again_all_the_same() {
    let endpoint = EndpointOptions::default()
        .with_pending_tries(20)
        .with_pending_pause(Duration::ZERO);
    let cluster = Cluster::with(Setup {
        endpoint,
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    cluster.refuse(9, 500, "no space left on device");
    client.enqueue("name=web", 3).await;
    client.until_state("made").await;
}
