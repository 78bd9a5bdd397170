//! Links between a gateway and an engine that are cut: no end of a stream reaches the container.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::future::join_all;
use longshore::exec::DockerExec;

use crate::{
    drops::runtime,
    survivors,
    tree::Shedding,
    tunnel::Ends,
    world::{Reports, World, gateway, kinds, plant, stub},
};

#[test]
fn a_link_that_is_cut_ends_its_sessions() {
    let Some(world) = World::start("lab exec: a cut link") else {
        return;
    };
    let runtime = runtime();
    let through_stub = gateway(world.tcp()).with_stub(stub());
    runtime.block_on(cut(
        &world,
        "by stubs",
        &through_stub,
        Shedding::Everything,
        0,
    ));
    // bash and busybox know `read -t`; without a shell there is nothing beside.
    let beside = gateway(world.tcp());
    runtime.block_on(cut(
        &world,
        "by lifelines",
        &beside,
        Shedding::Something,
        100,
    ));
    drop((through_stub, beside));
    runtime.shutdown_background();
    world.lab.stop().expect("a clean end");
}

/// Dropped, and then cut: the tunnel passes on the end of a stream, and its own end.
#[test]
fn through_a_tunnel_nothing_is_left_either() {
    let Some(world) = World::start("lab exec: through a tunnel") else {
        return;
    };
    let runtime = runtime();
    let ends = Ends::new(world.lab.gateway()).expect("certificates");
    let reports = Reports::default();
    ends.run(world.host(), &runtime, |connector| {
        let gateway = reports.hear(gateway(connector)).with_stub(stub());
        let numbers: BTreeSet<u64> = (0..world.classes.len() * 2)
            .map(|place| survivors::number(world.lab.id(), 200 + place))
            .collect();
        runtime.block_on(async {
            let planting = numbers.iter().enumerate().map(|(index, number)| {
                let class = &world.classes[index % world.classes.len()];
                plant(
                    &gateway,
                    class,
                    *number,
                    index % 2 == 0,
                    Shedding::Everything,
                )
            });
            let sessions = join_all(planting).await;
            assert_eq!(survivors::count(&numbers).len(), numbers.len());
            let dropped = Instant::now();
            drop(sessions);
            let times = survivors::vanish(&numbers, dropped, LIMIT).await;
            survivors::tell("dropped sessions, through a tunnel", times);
            reports.wait_for(numbers.len()).await;
            let kinds = kinds(&reports.take());
            assert_eq!(
                kinds.get("Clean by [Stub]"),
                Some(&numbers.len()),
                "{kinds:?}"
            );
            cut(
                &world,
                "through a tunnel",
                &gateway,
                Shedding::Everything,
                300,
            )
            .await;
        });
    });
    runtime.shutdown_background();
    world.lab.stop().expect("a clean end");
}

async fn cut(world: &World, what: &str, gateway: &DockerExec, shedding: Shedding, first: usize) {
    let classes: Vec<_> = match shedding {
        Shedding::Everything => world.classes.iter().collect(),
        Shedding::Something => vec![&world.classes[0], &world.classes[2]],
    };
    let numbers: BTreeSet<u64> = (0..classes.len() * 2)
        .map(|place| survivors::number(world.lab.id(), first + place))
        .collect();
    let planting = numbers.iter().enumerate().map(|(index, number)| {
        plant(
            gateway,
            classes[index % classes.len()],
            *number,
            index < classes.len(),
            shedding,
        )
    });
    let sessions = join_all(planting).await;
    // Beats keep them alive for longer than silence may last.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let standing = survivors::count(&numbers);
    assert_eq!(standing.len(), numbers.len(), "{standing:?}");
    let fault = world.lab.isolate(0).expect("the link");
    let times = survivors::vanish(&numbers, Instant::now(), LIMIT).await;
    survivors::tell(&format!("sessions behind a cut link, {what}"), times);
    fault.undo().expect("the link again");
    drop(sessions);
}

const LIMIT: Duration = Duration::from_secs(40);
