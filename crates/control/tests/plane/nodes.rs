use std::time::Duration;

use futures::{FutureExt, StreamExt};
use longshore_control::{ApiVersion, ClusterEvent, NodeEventKind};
use longshore_core::{NodeHealth, PlacementRequest, Timestamp, WorkloadState};

use crate::cluster::{Cluster, options};

fn node_events(cluster: &mut Cluster) -> Vec<(String, NodeEventKind)> {
    let mut seen = Vec::new();
    while let Some(Some(event)) = cluster.events.next().now_or_never() {
        if let ClusterEvent::Node { node, kind, .. } = event {
            seen.push((node.name, kind));
        }
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn announced_nodes_become_healthy_in_natural_order() {
    let mut cluster = Cluster::started(12).await;
    let names: Vec<_> = cluster.plane.nodes().into_iter().map(|n| n.name).collect();
    let expected: Vec<_> = (1..=12).map(|port| format!("node-{port}")).collect();
    assert_eq!(names, expected);
    let events = node_events(&mut cluster);
    assert_eq!(events.len(), 12);
    assert!(
        events
            .iter()
            .all(|(_, kind)| *kind == NodeEventKind::Connect)
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_connected_shows_address_error_and_next_retry() {
    let cluster = Cluster::new(options(), Vec::new());
    cluster.discovery.set(&[9]);
    cluster.plane.start();
    cluster
        .until("an error", || {
            cluster
                .plane
                .nodes()
                .first()
                .is_some_and(|node| node.error.is_some())
        })
        .await;
    let node = cluster.plane.nodes().remove(0);
    assert_eq!(node.name, "10.0.0.1:9");
    assert_eq!(node.health, NodeHealth::Pending);
    assert_eq!(node.error.as_deref(), Some("nobody listens there"));
    assert!(node.next_retry.is_some());
    let refused = cluster.plane.admit(&PlacementRequest::new("x"), None).await;
    assert_eq!(
        refused.unwrap_err().message(),
        "no resources available to schedule container\n1 node is known, none has connected yet; \
         10.0.0.1:9: nobody listens there"
    );
    // Its engine appears: it is taken in by itself.
    cluster.add_engine(9, "E9", "node-9");
    let took = cluster.until_health("node-9", NodeHealth::Healthy).await;
    assert!(took <= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_killed_engine_is_found_in_seconds_and_comes_back_by_itself() {
    let mut cluster = Cluster::started(2).await;
    let engine = cluster.engine(1);
    engine.plant("web", &[], WorkloadState::Running);
    cluster
        .plane
        .refresh_node(&"E1".parse().unwrap())
        .await
        .unwrap();
    node_events(&mut cluster);
    engine.kill();
    let took = cluster.until_health("node-1", NodeHealth::Unhealthy).await;
    assert!(took <= Duration::from_secs(10), "{took:?}");
    // Its containers stay listed, on a node that is down.
    let view = cluster.plane.container("web").unwrap();
    assert_eq!(view.node_health, NodeHealth::Unhealthy);
    assert_eq!(
        cluster.plane.node("node-2").unwrap().health,
        NodeHealth::Healthy
    );
    engine.revive();
    cluster.until_health("node-1", NodeHealth::Healthy).await;
    assert_eq!(
        node_events(&mut cluster),
        [
            ("node-1".to_owned(), NodeEventKind::Disconnect),
            ("node-1".to_owned(), NodeEventKind::Reconnect)
        ]
    );
    assert_eq!(
        cluster.plane.container("web").unwrap().node_health,
        NodeHealth::Healthy
    );
}

#[tokio::test(start_paused = true)]
async fn a_frozen_engine_is_found_by_probe() {
    let cluster = Cluster::started(1).await;
    cluster.engine(1).state().hung = true;
    let took = cluster.until_health("node-1", NodeHealth::Unhealthy).await;
    assert!(took <= Duration::from_secs(45), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_but_does_not_work_is_found() {
    let cluster = Cluster::started(1).await;
    cluster.engine(1).state().stuck = true;
    let took = cluster.until_health("node-1", NodeHealth::Unhealthy).await;
    assert!(took <= Duration::from_secs(240), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_bad_probe_is_not_a_lost_node() {
    let mut cluster = Cluster::started(1).await;
    node_events(&mut cluster);
    cluster.engine(1).kill();
    let dipped = || {
        let node = cluster.plane.node("node-1").unwrap();
        node.health_indicator < 100
    };
    cluster.until("a counted failure", dipped).await;
    cluster.engine(1).revive();
    cluster
        .until("full health", || {
            cluster.plane.node("node-1").unwrap().health_indicator == 100
        })
        .await;
    assert_eq!(node_events(&mut cluster), []);
}

#[tokio::test(start_paused = true)]
async fn leaving_discovery_is_final_and_takes_the_containers_along() {
    let mut cluster = Cluster::started(3).await;
    cluster.engine(3).plant("web", &[], WorkloadState::Running);
    cluster
        .plane
        .refresh_node(&"E3".parse().unwrap())
        .await
        .unwrap();
    node_events(&mut cluster);
    cluster.discovery.set(&[1, 2]);
    cluster
        .until("its removal", || cluster.plane.nodes().len() == 2)
        .await;
    assert!(cluster.plane.container("web").is_err());
    assert_eq!(
        node_events(&mut cluster),
        [("node-3".to_owned(), NodeEventKind::Disconnect)]
    );
    // It may come back, as a new member.
    cluster.discovery.set(&[1, 2, 3]);
    cluster.until_health("node-3", NodeHealth::Healthy).await;
    assert!(cluster.plane.container("web").is_ok());
}

#[tokio::test(start_paused = true)]
async fn stale_discovery_removes_nothing_and_shows() {
    let cluster = Cluster::started(2).await;
    cluster.engine(1).plant("web", &[], WorkloadState::Running);
    cluster
        .plane
        .refresh_node(&"E1".parse().unwrap())
        .await
        .unwrap();
    cluster.discovery.fail();
    cluster
        .until("staleness", || {
            cluster.plane.nodes().iter().all(|node| node.stale)
        })
        .await;
    assert!(cluster.plane.container("web").unwrap().stale);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.plane.nodes().len(), 2);
    // All vanish at once: held, read again, and there they are.
    cluster.discovery.set(&[1, 2]);
    cluster
        .until("freshness", || {
            cluster.plane.nodes().iter().all(|node| !node.stale)
        })
        .await;
    assert!(!cluster.plane.container("web").unwrap().stale);
}

#[tokio::test(start_paused = true)]
async fn another_engine_at_the_address_is_taken_in_by_itself() {
    let mut cluster = Cluster::started(2).await;
    let engine = cluster.engine(1);
    engine.plant("old", &[], WorkloadState::Running);
    cluster
        .plane
        .refresh_node(&"E1".parse().unwrap())
        .await
        .unwrap();
    node_events(&mut cluster);
    engine.state().info.id = "NEW".parse().unwrap();
    let changed = || cluster.plane.node("NEW").is_some();
    cluster.until("the new identity", changed).await;
    cluster.until_health("NEW", NodeHealth::Healthy).await;
    assert!(cluster.plane.node("E1").is_none());
    assert_eq!(cluster.plane.container("old").unwrap().node.as_str(), "NEW");
    let kinds: Vec<_> = node_events(&mut cluster)
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    assert_eq!(kinds, [NodeEventKind::Disconnect, NodeEventKind::Connect]);
}

#[tokio::test(start_paused = true)]
async fn two_live_engines_with_one_id_are_both_shown() {
    let cluster = Cluster::started(1).await;
    cluster.add_engine(2, "E1", "node-1-clone");
    cluster.discovery.set(&[1, 2]);
    let shown = || {
        cluster
            .plane
            .node("10.0.0.1:2")
            .is_some_and(|node| node.error.is_some())
    };
    cluster.until("the duplicate", shown).await;
    let node = cluster.plane.node("10.0.0.1:2").unwrap();
    assert_eq!(node.health, NodeHealth::Pending);
    let error = node.error.unwrap();
    assert!(
        error.starts_with(
            "ID duplicated. E1 shared by this node 10.0.0.1:2 and another node 10.0.0.1:1."
        ),
        "{error}"
    );
    assert_eq!(cluster.plane.node("E1").unwrap().address, "10.0.0.1:1");
    // The first one dies: the second takes over who it is, as after a change of address.
    cluster.engine(1).kill();
    cluster
        .until("the takeover", || {
            cluster
                .plane
                .node("E1")
                .is_some_and(|n| n.address == "10.0.0.1:2" && n.health == NodeHealth::Healthy)
        })
        .await;
    // And the first one, back again, is the duplicate now; it does not steal.
    cluster.engine(1).revive();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(cluster.plane.node("E1").unwrap().address, "10.0.0.1:2");
    let first = cluster.plane.node("10.0.0.1:1").unwrap();
    assert!(first.error.unwrap().starts_with("ID duplicated. E1"));
}

#[tokio::test(start_paused = true)]
async fn a_manager_and_engines_out_of_reach_are_told_apart() {
    let cluster = Cluster::new(
        options().with_api_versions((ApiVersion::new(1, 24), ApiVersion::new(1, 51))),
        Vec::new(),
    );
    cluster.add_engine(1, "E1", "a").state().info.version = "swarm/1.2.9".into();
    cluster
        .add_engine(2, "E2", "b")
        .state()
        .info
        .min_api_version = "1.60".into();
    cluster.add_engine(3, "E3", "c").state().info.api_version = "1.12".into();
    cluster.discovery.set(&[1, 2, 3]);
    cluster.plane.start();
    cluster
        .until("three errors", || {
            let nodes = cluster.plane.nodes();
            nodes.len() == 3 && nodes.iter().all(|node| node.error.is_some())
        })
        .await;
    let errors: Vec<_> = (1..=3)
        .map(|port| {
            let node = cluster.plane.node(&format!("10.0.0.1:{port}")).unwrap();
            node.error.unwrap()
        })
        .collect();
    assert_eq!(
        errors,
        [
            "cannot get resources for this engine, make sure 10.0.0.1:1 is a Docker Engine, not a \
             Swarm manager",
            "the engine at 10.0.0.1:2 is too new: it speaks API 1.60 and newer, this control plane \
             speaks 1.24 to 1.51; upgrade the control plane",
            "the engine at 10.0.0.1:3 is too old: it speaks API 1.12 and older, this control plane \
             needs 1.24 or newer; upgrade the engine",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn bad_labels_and_clock_skew_are_warnings() {
    let cluster = Cluster::new(options(), Vec::new());
    let engine = cluster.add_engine(1, "E1", "a");
    {
        let mut state = engine.state();
        state.info.bad_labels = vec!["zone".into()];
        state.info.labels.insert("node", "x");
        state.info.labels.insert("containerslots", "many");
        state.info.system_time = Some(Timestamp::from_secs(1));
    }
    cluster.discovery.set(&[1]);
    cluster.plane.start();
    cluster.until_health("a", NodeHealth::Healthy).await;
    let node = cluster.plane.node("a").unwrap();
    assert!(node.clock_skew.unwrap().amount() > Duration::from_secs(2));
    assert_eq!(node.warnings.len(), 4, "{:?}", node.warnings);
    assert_eq!(
        node.warnings[0],
        "Engine label \"zone\" is skipped: not formatted as \"key=value\""
    );
}

#[tokio::test(start_paused = true)]
async fn reports_of_others_count_for_health() {
    let cluster = Cluster::started(1).await;
    let id = "E1".parse().unwrap();
    let error = longshore_core::Error::unavailable("refused");
    cluster.engine(1).state().down = true;
    for _ in 0..4 {
        let started = cluster.clock.now();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        cluster.plane.report(&id, started, Err(&error));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = cluster.until_health("node-1", NodeHealth::Unhealthy).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_all_tasks_and_touches_no_container() {
    let cluster = Cluster::started(3).await;
    cluster.engine(1).plant("web", &[], WorkloadState::Running);
    assert!(cluster.plane.stop().await);
    assert_eq!(cluster.engine(1).running(), ["web"]);
    assert_eq!(cluster.engine(1).calls("stop"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_control_plane_rebuilds_its_view() {
    let cluster = Cluster::started(3).await;
    for port in 1..=3 {
        let engine = cluster.engine(port);
        engine.plant(&format!("web-{port}"), &[], WorkloadState::Running);
    }
    cluster.plane.stop().await;
    let second = Cluster::new(options(), Vec::new());
    *second.engines.by_port.lock().unwrap() = cluster.engines.by_port.lock().unwrap().clone();
    second.discovery.set(&[1, 2, 3]);
    second.plane.start();
    second
        .until("three containers", || second.names().len() == 3)
        .await;
    for port in 1..=3 {
        assert_eq!(cluster.engine(port).running(), [format!("web-{port}")]);
        assert_eq!(cluster.engine(port).calls("start"), 0);
        assert_eq!(cluster.engine(port).calls("stop"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_tasks() {
    let Cluster { plane, events, .. } = Cluster::started(1).await;
    drop(plane);
    // The event log ends with the tasks that held it.
    let rest: Vec<_> = events.collect().await;
    assert!(!rest.is_empty());
}
