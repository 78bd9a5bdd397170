use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt;
use longshore_control::{ClusterEvent, ServiceSpec, StackSpec};
use longshore_core::{
    ErrorKind, Leader, NodeHealth, RestartPolicy, WorkloadSpec, testkit::ManualElection,
};

use crate::cluster::{Cluster, options};

fn service(name: &str, replicas: u32) -> ServiceSpec {
    let template = WorkloadSpec::new("host").with_restart(RestartPolicy::Always);
    ServiceSpec::new(name.parse().unwrap(), template).with_replicas(replicas)
}

fn stack(services: Vec<ServiceSpec>) -> StackSpec {
    StackSpec::new("shop".parse().unwrap(), services)
}

impl Cluster {
    async fn until_ready(&self) -> Duration {
        self.until("the stack", || {
            self.plane.stack_status("shop").unwrap().is_ready()
        })
        .await
    }

    /// Names of what really runs, over all nodes.
    fn really_running(&self, nodes: u16) -> Vec<String> {
        let mut names: Vec<_> = (1..=nodes)
            .flat_map(|port| self.engine(port).running())
            .collect();
        names.sort();
        names
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_is_placed_in_order_with_reasons() {
    let cluster = Cluster::started(3).await;
    let web = service("web", 3).with_dependency("db".parse().unwrap());
    cluster
        .plane
        .deploy(stack(vec![web, service("db", 1)]))
        .await
        .unwrap();
    let took = cluster.until_ready().await;
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(
        cluster.really_running(3),
        ["shop-db-1", "shop-web-1", "shop-web-2", "shop-web-3"]
    );
    let status = cluster.plane.stack_status("shop").unwrap();
    let nodes: BTreeSet<_> = status.services[1]
        .instances
        .iter()
        .map(|instance| instance.node_name.clone().unwrap())
        .collect();
    assert_eq!(nodes.len(), 3, "spread");
    for instance in status.services.iter().flat_map(|s| &s.instances) {
        let reason = instance.placement.as_deref().unwrap();
        assert!(reason.contains("3 of 3 nodes feasible"), "{reason}");
        assert_eq!(instance.epoch, 1);
        assert_eq!(instance.note, "");
    }
    let view = cluster.plane.container("shop-db-1").unwrap();
    assert_eq!(view.workload.labels.get("longshore.stack"), Some("shop"));
    assert!(view.swarm_id.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_work_of_a_lost_node_moves_and_its_return_leaves_one_of_each() {
    let cluster = Cluster::started(3).await;
    cluster
        .plane
        .deploy(stack(vec![service("web", 3)]))
        .await
        .unwrap();
    cluster.until_ready().await;
    cluster.engine(2).kill();
    cluster.until_health("node-2", NodeHealth::Unhealthy).await;
    let took = cluster.until_ready().await;
    assert!(
        took >= Duration::from_secs(25),
        "not before the grace period: {took:?}"
    );
    assert!(took <= Duration::from_secs(40), "{took:?}");
    let status = cluster.plane.stack_status("shop").unwrap();
    let moved: Vec<_> = status.services[0]
        .instances
        .iter()
        .filter(|instance| instance.epoch == 2)
        .collect();
    assert_eq!(moved.len(), 1);
    assert_ne!(moved[0].node_name.as_deref(), Some("node-2"));
    // Both copies live now: that one was cut off, not dead. It returns, and one of them goes.
    assert_eq!(cluster.really_running(3).len(), 4);
    cluster.engine(2).revive();
    cluster.until_health("node-2", NodeHealth::Healthy).await;
    cluster
        .until("one of each", || cluster.really_running(3).len() == 3)
        .await;
    assert!(cluster.engine(2).running().is_empty(), "the older one went");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(cluster.really_running(3).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn at_most_one_never_runs_twice_and_moves_on_an_operators_word() {
    let cluster = Cluster::started(3).await;
    let db = service("db", 1).with_at_most_one();
    cluster.plane.deploy(stack(vec![db])).await.unwrap();
    cluster.until_ready().await;
    let home = (1..=3)
        .find(|port| !cluster.engine(*port).running().is_empty())
        .unwrap();
    let name = format!("node-{home}");
    let error = cluster.plane.declare_dead(&name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    // Frozen: its containers may well run.
    cluster.engine(home).state().hung = true;
    cluster.until_health(&name, NodeHealth::Unhealthy).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(cluster.really_running(3), ["shop-db-1"]);
    let status = cluster.plane.stack_status("shop").unwrap();
    assert_eq!(
        status.services[0].instances[0].note,
        format!(
            "it may still run on node {name}: waits for the node, or for it to be declared dead"
        )
    );
    cluster.plane.declare_dead(&name).unwrap();
    cluster.until_ready().await;
    assert_eq!(cluster.really_running(3), ["shop-db-1", "shop-db-1.2"]);
    let error = cluster.plane.declare_dead("node-77").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn sixty_percent_lost_at_once_move_nothing_and_say_so_once() {
    let mut cluster = Cluster::started(5).await;
    cluster
        .plane
        .deploy(stack(vec![service("web", 10)]))
        .await
        .unwrap();
    cluster.until_ready().await;
    for port in 1..=3 {
        cluster.engine(port).kill();
    }
    for port in 1..=3 {
        cluster
            .until_health(&format!("node-{port}"), NodeHealth::Unhealthy)
            .await;
    }
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let made: usize = (1..=5)
        .map(|port| cluster.engine(port).calls("create"))
        .sum();
    assert_eq!(made, 10, "no replacement");
    let status = cluster.plane.stack_status("shop").unwrap();
    assert_eq!(status.held_nodes.len(), 3);
    for port in 1..=3 {
        cluster.engine(port).revive();
    }
    cluster.until_ready().await;
    drop(cluster.plane);
    let mut alarms = Vec::new();
    while let Some(event) = cluster.events.next().await {
        if let ClusterEvent::Alarm { reason, .. } = event {
            alarms.push(reason);
        }
    }
    assert_eq!(alarms.len(), 2, "{alarms:?}");
    assert!(
        alarms[0].starts_with("3 of 5 nodes were lost at once"),
        "{}",
        alarms[0]
    );
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_refuses_is_passed_over() {
    let cluster = Cluster::started(3).await;
    cluster.engine(1).state().refuse_create = Some("no space left on device");
    cluster
        .plane
        .deploy(stack(vec![service("web", 2)]))
        .await
        .unwrap();
    let took = cluster.until_ready().await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(cluster.engine(1).running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s21_what_does_not_fit_waits_with_its_reason_and_comes_when_there_is_room() {
    let cluster = Cluster::started(1).await;
    let mut big = service("web", 2);
    big.template.resources.cpu = longshore_core::MilliCpu::from_cpus(3);
    cluster.plane.deploy(stack(vec![big])).await.unwrap();
    cluster
        .until("one", || cluster.really_running(1).len() == 1)
        .await;
    cluster
        .until("the reason", || {
            let status = cluster.plane.stack_status("shop").unwrap();
            let notes: Vec<_> = status.services[0]
                .instances
                .iter()
                .map(|instance| instance.note.clone())
                .collect();
            notes.contains(&"no resources available to schedule container".to_owned())
        })
        .await;
    // No clock tries it again: only what could help does.
    tokio::time::sleep(Duration::from_secs(300)).await;
    let waiting = cluster.plane.pending();
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        (
            waiting[0].request.name.starts_with("shop-web-"),
            waiting[0].tries
        ),
        (true, 0)
    );
    cluster.add_engine(2, "E2", "node-2");
    cluster.discovery.set(&[1, 2]);
    cluster.until_health("node-2", NodeHealth::Healthy).await;
    let took = cluster.until_ready().await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(cluster.plane.pending().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s21_what_waits_is_given_up_when_it_is_not_wanted_any_more() {
    let cluster = Cluster::started(1).await;
    let big = |cpus| {
        let mut big = service("web", 1);
        big.template.resources.cpu = longshore_core::MilliCpu::from_cpus(cpus);
        stack(vec![big])
    };
    let plane = &cluster.plane;
    plane.deploy(big(64)).await.unwrap();
    cluster
        .until("it waits", || plane.pending().len() == 1)
        .await;
    // As it is now it is small enough.
    plane.deploy(big(1)).await.unwrap();
    let took = cluster.until_ready().await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(plane.pending().is_empty());
    plane.deploy(big(64)).await.unwrap();
    cluster
        .until("it waits again", || plane.pending().len() == 1)
        .await;
    plane.remove_stack("shop").await.unwrap();
    cluster
        .until("it is forgotten", || plane.stacks().is_empty())
        .await;
    assert!(plane.pending().is_empty());
    // Its name is free.
    assert!(plane.reserve_name("shop-web-1").is_ok());
}

/// The names of what waits, with their numbers.
fn places(cluster: &Cluster) -> Vec<(String, u64)> {
    let views = cluster.plane.pending().into_iter();
    let mut places: Vec<_> = views.map(|view| (view.request.name, view.number)).collect();
    places.sort();
    places
}

#[tokio::test(start_paused = true)]
async fn s21_scaling_up_and_down_keeps_the_places_of_the_others() {
    let cluster = Cluster::started(1).await;
    let large = |replicas| {
        let mut web = service("web", replicas);
        web.template.resources.cpu = longshore_core::MilliCpu::from_cpus(64);
        stack(vec![web])
    };
    let waits = async |count: u32| {
        cluster.plane.deploy(large(count)).await.unwrap();
        cluster
            .until("as many wait", || places(&cluster).len() == count as usize)
            .await;
        places(&cluster)
    };
    let three = waits(3).await;
    let five = waits(5).await;
    assert_eq!(five[..3], three[..]);
    let two = waits(2).await;
    assert_eq!(two[..], three[..2]);
    let again = waits(3).await;
    assert_eq!(again[..2], three[..2]);
    assert!(again[2].1 > five[4].1, "who was given up comes anew");
}

#[tokio::test(start_paused = true)]
async fn s21_a_stack_has_its_share_of_the_queue_and_the_rest_of_it_is_made_all_the_same() {
    let cluster = Cluster::new(options().with_pending_capacity(8), Vec::new());
    cluster.add_engine(1, "E1", "node-1");
    cluster.discovery.set(&[1]);
    cluster.plane.start();
    cluster.until_health("node-1", NodeHealth::Healthy).await;
    let held = longshore_core::PlacementRequest::new("host").with_resources(
        longshore_core::Resources::new(
            longshore_core::MilliCpu::from_cpus(4),
            longshore_core::Bytes(1),
        ),
    );
    let held = cluster.plane.admit(&held, None).await.unwrap();
    let mut web = service("web", 4);
    web.template.resources.cpu = longshore_core::MilliCpu::from_cpus(1);
    cluster.plane.deploy(stack(vec![web])).await.unwrap();
    cluster
        .until("the share waits", || cluster.plane.pending().len() == 2)
        .await;
    let notes = || -> Vec<String> {
        let status = cluster.plane.stack_status("shop").unwrap();
        let instances = status.services[0].instances.iter();
        instances.map(|instance| instance.note.clone()).collect()
    };
    let told = |notes: &[String]| {
        let of_share = |note: &&String| note.contains("stack shop holds 2 of the 8 places");
        notes.iter().filter(of_share).count()
    };
    cluster
        .until("the others say why", || told(&notes()) == 2)
        .await;
    assert_eq!(cluster.plane.pending().len(), 2);
    drop(held);
    cluster.until_ready().await;
}

#[tokio::test(start_paused = true)]
async fn s21_a_manager_that_leads_no_more_waits_for_nothing() {
    let election = ManualElection::new(Leader::Here { token: 1 });
    let cluster = Cluster::electing(1, &election).await;
    let mut big = service("web", 1);
    big.template.resources.cpu = longshore_core::MilliCpu::from_cpus(64);
    cluster.plane.deploy(stack(vec![big])).await.unwrap();
    cluster
        .until("it waits", || cluster.plane.pending().len() == 1)
        .await;
    election.set(Leader::Elsewhere("other:1".to_owned()));
    cluster
        .until("it is given up", || cluster.plane.pending().is_empty())
        .await;
    election.set(Leader::Here { token: 2 });
    cluster
        .until("it waits again", || cluster.plane.pending().len() == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_killed_by_hand_comes_back_and_what_is_removed_is_made_again() {
    let cluster = Cluster::started(2).await;
    cluster
        .plane
        .deploy(stack(vec![service("web", 1)]))
        .await
        .unwrap();
    cluster.until_ready().await;
    let find = || cluster.plane.container("shop-web-1").ok();
    let view = find().unwrap();
    let engine = cluster
        .plane
        .node(view.node.as_str())
        .unwrap()
        .engine
        .unwrap();
    engine
        .stop(&view.workload.id, Duration::ZERO)
        .await
        .unwrap();
    cluster
        .until("news of it", || {
            !cluster.plane.stack_status("shop").unwrap().is_ready()
        })
        .await;
    cluster.until_ready().await;
    assert_eq!(
        find().unwrap().workload.id,
        view.workload.id,
        "the same, started again"
    );
    let options = longshore_core::RemoveOptions::default().with_force();
    engine.remove(&view.workload.id, options).await.unwrap();
    cluster
        .until("news of it", || {
            !cluster.plane.stack_status("shop").unwrap().is_ready()
        })
        .await;
    cluster.until_ready().await;
    let status = cluster.plane.stack_status("shop").unwrap();
    assert_eq!(status.services[0].instances[0].epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn a_removed_stack_leaves_nothing() {
    let cluster = Cluster::started(3).await;
    let web = service("web", 3).with_dependency("db".parse().unwrap());
    cluster
        .plane
        .deploy(stack(vec![web, service("db", 1)]))
        .await
        .unwrap();
    cluster.until_ready().await;
    cluster.plane.remove_stack("shop").await.unwrap();
    cluster
        .until("the end", || cluster.plane.stacks().is_empty())
        .await;
    assert!(cluster.names().is_empty());
    assert!(cluster.really_running(3).is_empty());
    let error = cluster.plane.stack_status("shop").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_control_plane_takes_its_stacks_over_untouched() {
    let cluster = Cluster::started(3).await;
    let db = service("db", 1).with_at_most_one();
    let services = vec![db, service("web", 3)];
    cluster.plane.deploy(stack(services.clone())).await.unwrap();
    cluster.until_ready().await;
    let before = cluster.really_running(3);
    cluster.plane.stop().await;
    let second = Cluster::new(options(), Vec::new());
    *second.engines.by_port.lock().unwrap() = cluster.engines.by_port.lock().unwrap().clone();
    // Deployed at once, before anything is known of the nodes, one of which is slow to come.
    cluster.engine(3).state().down = true;
    second.discovery.set(&[1, 2, 3]);
    second.plane.start();
    second.plane.deploy(stack(services)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.engine(3).state().down = false;
    second.until_ready().await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(second.really_running(3), before);
    for port in 1..=3 {
        let engine = cluster.engine(port);
        let starts = engine.calls("start") + engine.calls("create");
        let touched = engine.calls("stop") + engine.calls("remove");
        assert!(starts <= 2 * before.len() && touched == 0, "node {port}");
    }
    let creates: usize = (1..=3)
        .map(|port| cluster.engine(port).calls("create"))
        .sum();
    assert_eq!(creates, 4, "only the first control plane made anything");
}

/// Rule L6, and L2 as far as stacks go.
#[tokio::test(start_paused = true)]
async fn l6_only_the_manager_that_leads_acts_on_stacks_and_at_once() {
    let election = ManualElection::new(Leader::Elsewhere("10.0.0.9:1".to_owned()));
    let cluster = Cluster::electing(3, &election).await;
    cluster
        .plane
        .deploy(stack(vec![service("web", 3)]))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(cluster.really_running(3), Vec::<String>::new());
    assert!(!cluster.plane.leads());

    election.set(Leader::Here { token: 1 });
    let took = cluster.until_ready().await;
    assert!(took <= Duration::from_secs(2), "without delay: {took:?}");

    // It lost the lead: what breaks now is the next leader's business.
    election.set(Leader::Nobody);
    cluster.engine(2).kill();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let living = || cluster.engine(1).running().len() + cluster.engine(3).running().len();
    assert_eq!(living(), 2);
    election.set(Leader::Here { token: 3 });
    cluster.until_ready().await;
    assert_eq!(living(), 3);
}

#[tokio::test(start_paused = true)]
async fn s25_a_stack_pulls_with_the_credentials_that_it_names_each_time() {
    let cluster = Cluster::started(3).await;
    let image = "registry.example/web";
    let mut web = service("web", 1).with_registry_credentials("ours");
    web.template.image = image.to_owned();
    for port in 1..=3 {
        cluster.engine(port).state().lacks = Some(image.to_owned());
    }
    let pulls = || {
        let mut pulls = Vec::new();
        for port in 1..=3 {
            pulls.extend(cluster.engine(port).state().pulls.clone());
        }
        pulls.sort();
        pulls
    };
    let with = |secret: &str| (image.to_owned(), Some(secret.to_owned()));
    cluster
        .plane
        .deploy(stack(vec![web.clone()]))
        .await
        .unwrap();
    cluster.until_ready().await;
    assert_eq!(pulls(), [with("secret-0")]);
    // Where its node is lost, the next one pulls with what the source gives then.
    let view = cluster.plane.container("shop-web-1").unwrap();
    let (lost, other) = if view.node.as_str() == "E1" {
        (1, 2)
    } else {
        (2, 1)
    };
    cluster.engine(lost).kill();
    cluster
        .until("it is elsewhere", || {
            !cluster.engine(other).running().is_empty()
        })
        .await;
    assert_eq!(pulls(), [with("secret-0"), with("secret-1")]);
}

#[tokio::test(start_paused = true)]
async fn s25_credentials_that_nobody_has_are_named_and_nothing_is_pulled() {
    let cluster = Cluster::started(1).await;
    let mut web = service("web", 1).with_registry_credentials("theirs");
    web.template.image = "registry.example/web".to_owned();
    cluster.engine(1).state().lacks = Some(web.template.image.clone());
    cluster.plane.deploy(stack(vec![web])).await.unwrap();
    let note = || {
        let status = cluster.plane.stack_status("shop").unwrap();
        status.services[0].instances[0].note.clone()
    };
    cluster
        .until("the reason", || {
            note().contains("no theirs for registry.example")
        })
        .await;
    assert!(cluster.engine(1).state().pulls.is_empty());
}
