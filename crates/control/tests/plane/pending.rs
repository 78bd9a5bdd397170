//! S21: work that waits for room.

use std::time::Duration;

use longshore_core::{
    Availability, Bytes, Engine, ErrorKind, MilliCpu, PlacementRequest, Resources, WorkloadSpec,
};

use crate::cluster::{Cluster, options};

fn cpus(count: u64) -> PlacementRequest {
    let resources = Resources::new(MilliCpu::from_cpus(count), Bytes::from_mib(1));
    PlacementRequest::new("host").with_resources(resources)
}

fn only_on(node: &str) -> PlacementRequest {
    cpus(1).with_constraint(format!("node=={node}").parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn s21_work_waits_with_its_reason_and_comes_when_room_is_given_back() {
    let cluster = Cluster::started(1).await;
    let plane = &cluster.plane;
    let spec = WorkloadSpec::new("host").with_resources(cpus(3).resources);
    let old = cluster.engine(1).create(&spec).await.unwrap();
    plane.refresh_node(&"E1".parse().unwrap()).await.unwrap();
    let mut pending = plane.enqueue(&cpus(4), Some("web"), None).unwrap();
    let view = &plane.pending()[0];
    assert_eq!(view.request.name, "web");
    assert_eq!(view.reason, "no resources available to schedule container");
    let why = pending.explain().unwrap();
    assert_eq!(why.nodes.at(0).unwrap().failures[0].filter, "resources");
    // Meanwhile the name is held.
    assert_eq!(
        plane.reserve_name("web").unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    let waited = tokio::time::timeout(Duration::from_secs(60), pending.admitted()).await;
    assert!(waited.is_err(), "nothing changed");
    // A change that can't help is not even tried.
    let small = plane.admit(&cpus(1), None).await.unwrap();
    drop(plane.reserve_name("other").unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pending.view().unwrap().tries, 0);
    drop(small);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pending.view().unwrap().tries, 1, "room was given back");
    let gone = longshore_core::RemoveOptions::default().with_force();
    cluster.engine(1).remove(&old, gone).await.unwrap();
    let admission = pending.admitted().await.unwrap();
    assert_eq!(
        (admission.node_id().as_str(), plane.pending().len()),
        ("E1", 0)
    );
    // Its room and its name are held.
    assert!(plane.admit(&cpus(1), None).await.is_err());
    assert!(plane.reserve_name("web").is_err());
    let made = cluster.engine(1).create(&spec).await.unwrap();
    admission.fulfil(&made);
    let again = pending.admitted().await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn s21_a_node_that_comes_or_opens_lets_work_in() {
    let cluster = Cluster::started(1).await;
    let plane = &cluster.plane;
    let mut second = plane.enqueue(&only_on("node-2"), None, None).unwrap();
    plane
        .set_availability("node-1", Availability::Cordoned)
        .unwrap();
    let mut first = plane.enqueue(&only_on("node-1"), None, None).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(plane.pending().len(), 2);
    plane
        .set_availability("node-1", Availability::Active)
        .unwrap();
    assert_eq!(first.admitted().await.unwrap().node_id().as_str(), "E1");
    assert_eq!(second.view().unwrap().tries, 0, "it waits for another node");
    cluster.add_engine(2, "E2", "node-2");
    cluster.discovery.set(&[1, 2]);
    assert_eq!(second.admitted().await.unwrap().node_id().as_str(), "E2");
}

#[tokio::test(start_paused = true)]
async fn s21_patience_ends_with_the_reason() {
    let cluster = Cluster::started(1).await;
    let patience = Some(Duration::from_secs(30));
    let mut pending = cluster.plane.enqueue(&cpus(9), None, patience).unwrap();
    let began = cluster.clock.now();
    let error = pending.admitted().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unplaceable);
    assert!(
        error.message().starts_with("no resources available"),
        "{error}"
    );
    assert!(
        error.message().ends_with("it waited for room for 30s"),
        "{error}"
    );
    let waited = cluster.clock.now().since(began);
    assert_eq!(waited.as_secs(), 30, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn s21_who_does_not_wait_any_more_leaves_nothing_behind() {
    let cluster = Cluster::started(1).await;
    let plane = &cluster.plane;
    let held = plane.admit(&cpus(3), None).await.unwrap();
    let waits = plane.enqueue(&cpus(3), Some("a"), None).unwrap();
    drop(waits);
    assert_eq!(plane.pending().len(), 0);
    drop(plane.reserve_name("a").unwrap());
    // Dropped after it was found, before anybody asked.
    let found = plane.enqueue(&cpus(3), Some("a"), None).unwrap();
    drop(held);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(found.view().is_none());
    assert!(plane.admit(&cpus(3), None).await.is_err());
    drop(found);
    drop(plane.admit(&cpus(3), Some("a")).await.unwrap());
    // Dropped before anybody looked, found at once.
    drop(plane.enqueue(&cpus(3), Some("a"), None).unwrap());
    drop(plane.admit(&cpus(3), Some("a")).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn s21_an_abandoned_reservation_makes_way_when_it_lapses() {
    let cluster = Cluster::started(1).await;
    let plane = &cluster.plane;
    let held = plane.admit(&cpus(3), None).await.unwrap();
    let mut pending = plane.enqueue(&cpus(3), None, None).unwrap();
    let began = cluster.clock.now();
    pending.admitted().await.unwrap();
    let waited = cluster.clock.now().since(began);
    assert_eq!(waited.as_secs(), plane.options().reservation_ttl.as_secs());
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn s21_bad_work_full_queues_and_the_end_are_told() {
    let cluster = Cluster::new(options().with_pending_capacity(1), Vec::new());
    cluster.add_engine(1, "E1", "node-1");
    cluster.discovery.set(&[1]);
    cluster.plane.start();
    let plane = &cluster.plane;
    let mut pending = plane.enqueue(&cpus(9), None, None).unwrap();
    let full = plane.enqueue(&cpus(8), None, None).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::ResourceExhausted);
    // What does not wait is not held up, and rejection stays the default.
    cluster
        .until_health("node-1", longshore_core::NodeHealth::Healthy)
        .await;
    drop(plane.enqueue(&cpus(1), None, None).unwrap());
    assert!(plane.admit(&cpus(9), None).await.is_err());
    assert!(plane.stop().await);
    let error = pending.admitted().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let late = plane.enqueue(&cpus(9), None, None).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn s21_owners_take_turns_and_each_has_a_share() {
    let options = options().with_pending_per_owner(Some(3));
    let cluster = Cluster::new(options, Vec::new());
    cluster.add_engine(1, "E1", "node-1");
    cluster.discovery.set(&[1]);
    cluster.plane.start();
    cluster
        .until_health("node-1", longshore_core::NodeHealth::Healthy)
        .await;
    let plane = &cluster.plane;
    let held = plane.admit(&cpus(4), None).await.unwrap();
    let enqueue = |owner: &str, name: &str| plane.enqueue_for(owner, &cpus(4), Some(name), None);
    let mut waiting: Vec<_> = ["a1", "a2", "a3"]
        .map(|name| enqueue("alice", name).unwrap())
        .into();
    let refused = enqueue("alice", "a4").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted);
    assert!(refused.message().contains("alice holds 3"), "{refused}");
    assert!(plane.reserve_name("a4").is_ok(), "its name is free");
    waiting.push(enqueue("bob", "b1").unwrap());
    let order = || -> Vec<_> {
        let views = plane.pending().into_iter();
        views
            .map(|view| (view.owner.unwrap(), view.request.name))
            .collect()
    };
    let told: Vec<String> = order().into_iter().map(|(_, name)| name).collect();
    assert_eq!(told, ["a1", "b1", "a2", "a3"]);
    assert_eq!(order()[1].0, "bob");
    // As it was told.
    let mut held = Some(held);
    for name in told {
        drop(held.take());
        let at = waiting
            .iter()
            .position(|pending| pending.request().name == name)
            .unwrap();
        held = Some(waiting.remove(at).admitted().await.unwrap());
    }
}
