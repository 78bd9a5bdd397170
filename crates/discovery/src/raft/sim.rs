//! Members in virtual time: messages lost, doubled, late and out of order, one-way partitions, crashes
//! also between a decision and its place on the disk, stalled disks, lost disks, clocks that run 1 %
//! fast or slow. Encoding is part of it; sockets and files are not.
//!
//! Checked at every step: one leader per term at most, and all members agree on every entry. And by
//! clients: a counter swapped by compare-and-swap is linearizable, a change is carried out once or,
//! where that was left open, at most once; a lock under a lease has one holder; a watch that moves
//! from member to member misses nothing.

mod clients;
mod disk;
mod world;

use world::World;

const REPLAY: &str = "LONGSHORE_RAFT_SEED";

/// The seed that failed, in a line that runs it again.
fn run(seed: u64) -> world::Seen {
    let mut world = World::new(seed);
    if let Err(problem) = world.run() {
        panic!(
            "{problem}\nreplay: {REPLAY}={seed} cargo test -p longshore-discovery --features raft \
             --lib raft::sim::a_seed_from_outside"
        );
    }
    world.seen
}

#[track_caller]
fn run_all(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let mut sum = world::Seen::default();
    for seed in seeds {
        sum.add(&run(seed));
    }
    println!("{count} clusters: {sum:?}");
    // A simulation in which nothing happens shows nothing.
    for (what, number) in [
        ("terms", sum.terms),
        ("increments", sum.increments),
        ("lost disks", sum.lost_disks * 4),
        ("crashes", sum.crashes),
        ("snapshots", sum.snapshots),
        ("holders of the lock", sum.holders),
        ("watched changes", sum.watched),
    ] {
        assert!(number >= 2 * count, "{number} {what} in {count} clusters");
    }
}

// Two tests, for two cores.

/// L7: never two leaders, nothing acknowledged is lost, and all is well again in the end.
#[test]
fn l7_every_schedule_is_linearizable_and_heals() {
    run_all(0..60);
}

/// L7: as above.
#[test]
fn l7_every_schedule_is_linearizable_and_heals_more_seeds() {
    run_all(60..120);
}

#[test]
fn a_seed_from_outside() {
    let seed = std::env::var(REPLAY).ok();
    run(seed.and_then(|seed| seed.parse().ok()).unwrap_or(1));
}
