use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_control::ClusterEvent;
use longshore_core::{
    Engine, ErrorKind, EventAction, Image, NodeHealth, RemoveOptions, WorkloadSpec, WorkloadState,
};

use crate::cluster::Cluster;

fn spec(name: &str) -> WorkloadSpec {
    WorkloadSpec::new("host").with_name(name.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn events_keep_the_view_up_to_date() {
    let cluster = Cluster::started(1).await;
    let engine = cluster.engine(1);
    let id = engine.create(&spec("web")).await.unwrap();
    cluster
        .until("it", || cluster.plane.container("web").is_ok())
        .await;
    engine.start(&id).await.unwrap();
    let state = |name: &str| {
        let view = cluster.plane.container(name).ok()?;
        Some(view.workload.state)
    };
    cluster
        .until("running", || state("web") == Some(WorkloadState::Running))
        .await;
    assert_eq!(cluster.plane.node("node-1").unwrap().containers.running, 1);
    engine.rename(&id, &"api".parse().unwrap()).await.unwrap();
    cluster.until("renamed", || state("api").is_some()).await;
    assert_eq!(state("web"), None);
    engine.stop(&id, Duration::ZERO).await.unwrap();
    cluster
        .until("stopped", || state("api") == Some(WorkloadState::Exited))
        .await;
    let node = cluster.plane.node("node-1").unwrap();
    assert_eq!((node.containers.running, node.containers.stopped), (0, 1));
    engine.remove(&id, RemoveOptions::default()).await.unwrap();
    cluster.until("gone", || state("api").is_none()).await;
    assert_eq!(cluster.plane.node("node-1").unwrap().containers.total, 0);
    // Far less than a refresh interval went by: events did it.
    assert_eq!(engine.calls("list"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_event_stream_resumes_and_reconciles() {
    let cluster = Cluster::started(1).await;
    let engine = cluster.engine(1);
    let kept = engine.create(&spec("kept")).await.unwrap();
    cluster.until("it", || cluster.names().len() == 1).await;
    // The stream breaks; meanwhile one comes with an event, one goes without any.
    engine.kill();
    engine.revive();
    engine.vanish(&kept);
    engine.create(&spec("new")).await.unwrap();
    let took = cluster
        .until("both seen", || cluster.names() == ["node-1/new"])
        .await;
    assert!(
        took <= Duration::from_secs(5),
        "not the periodic refresh: {took:?}"
    );
    assert!(cluster.plane.node("node-1").unwrap().health == NodeHealth::Healthy);
    tokio::time::sleep(Duration::from_secs(30)).await;
    drop(cluster.plane);
    let creates = cluster
        .events
        .filter(|event| {
            let create = matches!(
                event,
                ClusterEvent::Engine { event, .. } if event.action == EventAction::Create
            );
            async move { create }
        })
        .count()
        .await;
    assert_eq!(creates, 2, "nothing is told twice, nothing is left out");
}

#[tokio::test(start_paused = true)]
async fn brief_listings_are_inspected_once() {
    let cluster = Cluster::started(1).await;
    let engine = cluster.engine(1);
    engine.state().brief = true;
    for number in 0..20 {
        engine.plant(&format!("c{number}"), &[], WorkloadState::Running);
    }
    let id = "E1".parse().unwrap();
    cluster.plane.refresh_node(&id).await.unwrap();
    assert_eq!(engine.calls("inspect"), 20);
    let detailed = |view: &Arc<longshore_control::ContainerView>| view.workload.detail.is_some();
    assert!(cluster.plane.containers().iter().all(detailed));
    cluster.plane.refresh_node(&id).await.unwrap();
    assert_eq!(engine.calls("inspect"), 20, "nothing changed");
    assert!(cluster.plane.containers().iter().all(detailed));
}

#[tokio::test(start_paused = true)]
async fn the_listing_is_newest_first_and_shared_until_something_changes() {
    let cluster = Cluster::started(2).await;
    for (port, name) in [(1, "first"), (2, "second"), (1, "third")] {
        cluster.engine(port).create(&spec(name)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    cluster.until("three", || cluster.names().len() == 3).await;
    let listing = cluster.plane.containers();
    let names: Vec<_> = listing.iter().map(|view| view.workload.name()).collect();
    assert_eq!(names, ["third", "second", "first"]);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(Arc::ptr_eq(&listing, &cluster.plane.containers()));
    cluster.engine(1).create(&spec("fourth")).await.unwrap();
    cluster.until("four", || cluster.names().len() == 4).await;
    assert!(!Arc::ptr_eq(&listing, &cluster.plane.containers()));
}

#[tokio::test(start_paused = true)]
async fn containers_are_found_as_in_swarm() {
    let cluster = Cluster::started(2).await;
    let swarm = "f".repeat(64);
    let labels = [("com.docker.swarm.id", swarm.as_str())];
    let a = cluster
        .engine(1)
        .plant("web", &labels, WorkloadState::Running);
    let b = cluster.engine(2).plant("web", &[], WorkloadState::Running);
    let c = cluster.engine(2).plant("db", &[], WorkloadState::Running);
    for node in ["E1", "E2"] {
        cluster
            .plane
            .refresh_node(&node.parse().unwrap())
            .await
            .unwrap();
    }
    let find = |reference: &str| {
        cluster
            .plane
            .container(reference)
            .map(|view| view.workload.id.clone())
            .map_err(|error| error.kind())
    };
    assert_eq!(find(a.as_str()), Ok(a.clone()));
    assert_eq!(find(&a.as_str()[..12]), Ok(a.clone()));
    assert_eq!(find(&a.as_str()[..5]), Ok(a.clone()));
    assert_eq!(find(&swarm), Ok(a.clone()));
    assert_eq!(find(&swarm[..12]), Ok(a.clone()));
    assert_eq!(find("ffff"), Ok(a.clone()));
    assert_eq!(find("db"), Ok(c.clone()));
    assert_eq!(find("/db"), Ok(c.clone()));
    assert_eq!(find("E2/web"), Ok(b.clone()));
    assert_eq!(find("node-1/web"), Ok(a.clone()));
    assert_eq!(find("/node-2/db"), Ok(c));
    assert_eq!(find("web"), Err(ErrorKind::Ambiguous));
    assert_eq!(find("node-3/web"), Err(ErrorKind::NotFound));
    assert_eq!(find(""), Err(ErrorKind::NotFound));
    assert_eq!(find("é"), Err(ErrorKind::NotFound));
    // A node can't draw calls to itself: neither by a swarm id that is none, nor by a name that is
    // an id elsewhere.
    cluster.engine(2).plant(
        "other",
        &[("com.docker.swarm.id", "db")],
        WorkloadState::Running,
    );
    cluster
        .engine(2)
        .plant(a.as_str(), &[], WorkloadState::Running);
    let node = "E2".parse().unwrap();
    cluster.plane.refresh_node(&node).await.unwrap();
    let again = |reference: &str| cluster.plane.container(reference).map(|v| v.display_name());
    assert_eq!(again("db").unwrap(), "node-2/db");
    assert_eq!(again(a.as_str()).unwrap_err().kind(), ErrorKind::Ambiguous);
    let error = cluster.plane.container("web").unwrap_err();
    let message = error.message();
    assert!(
        message.contains("node-1/web (") && message.contains("node-2/web ("),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn images_follow_their_events() {
    let cluster = Cluster::started(1).await;
    let engine = cluster.engine(1);
    let mut image = Image::default();
    image.id = "sha256:1".into();
    image.tags = vec!["app:1".into()];
    engine.state().images.push(image);
    let mut event = longshore_core::EngineEvent::workload(
        &"sha256:1".parse().unwrap(),
        EventAction::Other("pull".into()),
        cluster.clock.now(),
    );
    event.scope = "image".into();
    engine.tell(event);
    cluster
        .until("the image", || {
            cluster.plane.node("node-1").unwrap().images.len() == 1
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_late_look_does_not_undo_a_newer_one() {
    let cluster = Cluster::started(1).await;
    let engine = cluster.engine(1);
    // Lists and inspections race with events for a while; in the end the view is the truth.
    for round in 0..40 {
        let name = format!("c{}", round % 5);
        let known = cluster.plane.container(&name).ok();
        let plane = cluster.plane.clone();
        let refresh = tokio::spawn(async move {
            let _ = plane.refresh_node(&"E1".parse().unwrap()).await;
        });
        tokio::time::sleep(Duration::from_micros(50 * (round % 7))).await;
        match known {
            Some(view) => {
                let _ = engine
                    .remove(&view.workload.id, RemoveOptions::default().with_force())
                    .await;
            }
            None => {
                if let Ok(id) = engine.create(&spec(&name)).await {
                    engine.start(&id).await.unwrap();
                }
            }
        }
        refresh.await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut truth: Vec<_> = engine
            .state()
            .workloads
            .values()
            .map(|w| format!("node-1/{}", w.name()))
            .collect();
        truth.sort();
        assert_eq!(cluster.names(), truth, "round {round}");
    }
}
