use std::{collections::BTreeSet, time::Duration};

use longshore_core::{
    Availability, Bytes, Engine, ErrorKind, MilliCpu, PlacementRequest, Resources, WorkloadSpec,
    WorkloadState,
};

use crate::cluster::Cluster;

fn cpus(count: u64) -> PlacementRequest {
    PlacementRequest::new("host").with_resources(Resources::new(
        MilliCpu::from_cpus(count),
        Bytes::from_mib(1),
    ))
}

#[tokio::test(start_paused = true)]
async fn room_is_held_until_the_admission_is_dropped() {
    let cluster = Cluster::started(1).await;
    let first = cluster.plane.admit(&cpus(3), None).await.unwrap();
    let error = cluster.plane.admit(&cpus(3), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unplaceable);
    drop(first);
    cluster.plane.admit(&cpus(3), None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_is_held_by_one_in_the_whole_cluster() {
    let cluster = Cluster::started(2).await;
    let held = cluster.plane.admit(&cpus(1), Some("web")).await.unwrap();
    let error = cluster
        .plane
        .admit(&cpus(1), Some("web"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        error.message(),
        "Conflict: The name web is already assigned. You have to delete (or rename) that container \
         to be able to assign web to a container again."
    );
    assert!(cluster.plane.reserve_name("web").is_err());
    drop(held);
    drop(cluster.plane.reserve_name("web").unwrap());
    // An existing container holds its name, too.
    cluster.engine(2).plant("web", &[], WorkloadState::Exited);
    cluster
        .plane
        .refresh_node(&"E2".parse().unwrap())
        .await
        .unwrap();
    assert!(cluster.plane.admit(&cpus(1), Some("web")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn s20_of_many_concurrent_creates_of_one_name_one_wins() {
    let cluster = Cluster::started(3).await;
    let tries = (0..50).map(|_| {
        let plane = cluster.plane.clone();
        tokio::spawn(async move {
            let admission = plane.admit(&cpus(1), Some("web")).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let engine = admission.node()?.engine.unwrap();
            let spec = WorkloadSpec::new("host").with_name("web".parse().unwrap());
            let id = engine.create(&spec).await?;
            admission.fulfil(&id);
            Ok::<_, longshore_core::Error>(id)
        })
    });
    let outcomes = futures::future::join_all(tries).await;
    let won = outcomes
        .iter()
        .filter(|o| o.as_ref().unwrap().is_ok())
        .count();
    assert_eq!(won, 1);
    let kinds: BTreeSet<_> = outcomes
        .iter()
        .filter_map(|o| o.as_ref().unwrap().as_ref().err())
        .map(|error| error.kind().as_str())
        .collect();
    assert_eq!(kinds, BTreeSet::from(["already-exists"]));
}

#[tokio::test(start_paused = true)]
async fn s20_concurrent_admissions_never_overfill() {
    let cluster = Cluster::started(3).await;
    // Three nodes of 4.2 CPUs take four each.
    let tries = (0..40).map(|_| {
        let plane = cluster.plane.clone();
        tokio::spawn(async move {
            let admission = plane.admit(&cpus(1), None).await?;
            let engine = admission.node()?.engine.unwrap();
            let spec =
                WorkloadSpec::new("host").with_resources(admission.request().resources.clone());
            let id = engine.create(&spec).await?;
            admission.fulfil(&id);
            Ok::<_, longshore_core::Error>(())
        })
    });
    let outcomes = futures::future::join_all(tries).await;
    let placed = outcomes
        .iter()
        .filter(|o| o.as_ref().unwrap().is_ok())
        .count();
    assert_eq!(placed, 12);
    cluster
        .until("all seen", || cluster.names().len() == 12)
        .await;
    for node in cluster.plane.nodes() {
        assert_eq!(node.reserved.cpu, MilliCpu::from_cpus(4), "{}", node.name);
        assert_eq!(node.capacity.cpu, MilliCpu(4200));
    }
    assert!(cluster.plane.admit(&cpus(1), None).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn s22_the_next_ranked_nodes_are_tried_in_turn() {
    let cluster = Cluster::started(3).await;
    let mut admission = cluster.plane.admit(&cpus(1), Some("web")).await.unwrap();
    let mut tried = vec![admission.node_id().to_string()];
    while admission.next().await.unwrap() {
        tried.push(admission.node_id().to_string());
    }
    assert_eq!(tried, ["E1", "E2", "E3"]);
    // Nothing is held any more but the name.
    assert!(cluster.plane.reserve_name("web").is_err());
    let all: Vec<_> = futures::future::join_all(
        (0..12).map(|_| async { cluster.plane.admit(&cpus(1), None).await.unwrap() }),
    )
    .await;
    assert_eq!(all.len(), 12);
}

#[tokio::test(start_paused = true)]
async fn an_observed_container_turns_its_reservation_into_fact_once() {
    let cluster = Cluster::started(1).await;
    let admission = cluster.plane.admit(&cpus(2), Some("web")).await.unwrap();
    let spec = WorkloadSpec::new("host")
        .with_name("web".parse().unwrap())
        .with_resources(admission.request().resources.clone());
    // The event is seen before the caller comes to say so.
    let id = cluster.engine(1).create(&spec).await.unwrap();
    cluster.until("it", || cluster.names().len() == 1).await;
    // 2 of 4.2 CPUs are held, not 4.
    drop(cluster.plane.admit(&cpus(2), None).await.unwrap());
    admission.fulfil(&id);
    drop(cluster.plane.admit(&cpus(2), None).await.unwrap());
    assert!(cluster.plane.admit(&cpus(3), None).await.is_err());
    // Gone means gone, also in the scheduler.
    cluster
        .engine(1)
        .remove(&id, longshore_core::RemoveOptions::default())
        .await
        .unwrap();
    cluster.until("gone", || cluster.names().is_empty()).await;
    drop(cluster.plane.admit(&cpus(4), Some("web")).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_name_stays_held_between_create_and_sight() {
    let cluster = Cluster::started(1).await;
    let admission = cluster.plane.admit(&cpus(1), Some("web")).await.unwrap();
    // The engine says it made it, and no event and no list tells of it.
    admission.fulfil(&"ghost".parse().unwrap());
    assert!(cluster.plane.reserve_name("web").is_err());
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(cluster.plane.reserve_name("web").is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_placement_is_kept() {
    let cluster = Cluster::started(2).await;
    let admission = cluster.plane.admit(&cpus(1), Some("web")).await.unwrap();
    let node = admission.node().unwrap();
    let spec = WorkloadSpec::new("host").with_name("web".parse().unwrap());
    let id = node.engine.unwrap().create(&spec).await.unwrap();
    admission.fulfil(&id);
    cluster
        .plane
        .observe_now(&node.id.unwrap(), &id)
        .await
        .unwrap()
        .unwrap();
    let kept = cluster.plane.explain_container("web").unwrap();
    assert_eq!(kept.nodes.len(), 2);
    assert_eq!(kept.placement.unwrap().chosen.name.as_str(), "node-1");
    // One that was there before: what would be decided now.
    // It fills its node, so that it would not fit beside itself.
    let old = WorkloadSpec::new("host")
        .with_name("old".parse().unwrap())
        .with_label("com.docker.swarm.constraints", r#"["node==node-2"]"#)
        .with_resources(cpus(4).resources);
    cluster.engine(2).create(&old).await.unwrap();
    cluster
        .plane
        .refresh_node(&"E2".parse().unwrap())
        .await
        .unwrap();
    let now = cluster.plane.explain_container("old").unwrap();
    assert_eq!(
        now.summary,
        "node-2/old was not placed by this control plane; placed now: explained"
    );
    // With what it was asked for then, and not held up by itself.
    assert_eq!(now.placement.unwrap().chosen.name.as_str(), "node-2");
    let refused = |node: usize| now.nodes.at(node).unwrap().failures.len();
    assert_eq!((refused(0), refused(1)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_takes_no_new_work() {
    let cluster = Cluster::started(2).await;
    cluster
        .plane
        .set_availability("node-1", Availability::Cordoned)
        .unwrap();
    for _ in 0..3 {
        let admission = cluster.plane.admit(&cpus(1), None).await.unwrap();
        assert_eq!(admission.node_id().as_str(), "E2");
    }
    let error = cluster
        .plane
        .set_availability("node-9", Availability::Active)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
