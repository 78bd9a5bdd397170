//! Thousands of elections in virtual time, with partitions, lost and late answers, stalled and
//! crashed candidates, clocks that run 1 % fast or slow, a store that goes down and is wiped.

mod store;
mod world;

use world::World;

const REPLAY: &str = "LONGSHORE_ELECTION_SEED";

/// The seed that failed, in a line that runs it again.
fn run(seed: u64) -> world::Seen {
    let mut world = World::new(seed);
    if let Err(problem) = world.run() {
        panic!(
            "{problem}\nreplay: {REPLAY}={seed} cargo test -p longshore-discovery --lib \
             election::sim::a_seed_from_outside"
        );
    }
    world.seen
}

#[track_caller]
fn run_all(seeds: std::ops::Range<u64>) {
    let (mut terms, mut wipes, mut requests, count) = (0, 0, 0, seeds.end - seeds.start);
    for seed in seeds {
        let seen = run(seed);
        terms += seen.terms;
        wipes += seen.wipes;
        requests += seen.requests;
    }
    println!("{count} elections: {terms} terms, {wipes} wiped stores, {requests} requests");
    assert!(
        terms > 2 * count && wipes > count / 2,
        "too little happened"
    );
}

// Two tests, for two cores.

/// L2, L3: at no moment two leaders act, tokens grow, one leader emerges.
#[test]
fn l2_l3_never_two_leaders_and_always_one_in_the_end() {
    run_all(0..10_000);
}

/// L2, L3: as above.
#[test]
fn l2_l3_never_two_leaders_and_always_one_in_the_end_more_seeds() {
    run_all(10_000..20_000);
}

#[test]
fn a_seed_from_outside() {
    let seed = std::env::var(REPLAY).ok();
    run(seed.and_then(|seed| seed.parse().ok()).unwrap_or(1));
}
