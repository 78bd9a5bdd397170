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
    world::{World, gateway, plant, stub},
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
