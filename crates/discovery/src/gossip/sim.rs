//! Up to a thousand members in virtual time, with 1 % loss and 1 to 51 ms on the way.

mod net;
mod partition;
mod traffic;

use net::Net;

/// SWIM's own: each member probes one other per second and is answered, also on probes for others
/// (1 + 1). Of 1 % loss each way, 2 % of the probes are lost, and for each three others are asked,
/// ping, are answered and pass that on (2 % of 12, 0.24). Twice a minute everything is compared
/// (0.03). Makes 2.3.
///
/// One wrong suspicion and its denial are told twelve times each by everybody: in the 20 s that are
/// measured, up to 1.2 more. One is let pass; two would be a fault of the protocol.
const CALM: f64 = 2.3 + 1.3;
/// News are passed on to three others five times per second while there are any (15); the rest are
/// probes, and the differences between the sides.
const HEALING: f64 = 15.0 + 2.3 + 15.0;

const REPLAY: &str = "LONGSHORE_GOSSIP_SEED";

fn partition(members: usize, seed: u64) {
    match partition::run(members, seed) {
        Ok(report) => println!("{report}"),
        Err(problem) => panic!(
            "{members} members: {problem}\nreplay: {REPLAY}={members}:{seed} cargo test \
             -p longshore-discovery --features gossip --lib gossip::sim::a_seed_from_outside"
        ),
    }
}

#[test]
fn a_thousand_members_converge_after_a_partition_of_30_percent_heals() {
    partition(1000, 42);
}

#[test]
fn two_hundred_members_converge_after_a_partition_of_30_percent_heals() {
    for seed in 1..=3 {
        partition(200, seed);
    }
}

#[test]
fn a_seed_from_outside() {
    let given = std::env::var(REPLAY).ok();
    let given = given.as_ref().and_then(|text| text.split_once(':'));
    let given = given.and_then(|(members, seed)| Some((members.parse().ok()?, seed.parse().ok()?)));
    let (members, seed) = given.unwrap_or((30, 1));
    partition(members, seed);
}

#[test]
fn dead_members_are_found_and_those_that_start_again_replace_themselves() {
    let mut net = Net::new(60, 7);
    net.loss = 0.05;
    net.converge(60, "joining").unwrap();
    for node in [5, 6, 7] {
        net.nodes[node] = None;
    }
    let found = net.converge(90, "three died").unwrap();
    assert!(found > 1);
    for node in [5, 6, 7, 8] {
        net.start(node);
    }
    net.converge(90, "four started again").unwrap();
    net.leave(9);
    let left = net.converge(20, "one left").unwrap();
    assert!(left < found, "saying goodbye is faster than dying");
}

#[test]
fn nobody_is_declared_dead_in_a_lossy_network() {
    let mut net = Net::new(40, 3);
    net.loss = 0.15;
    net.converge(90, "joining").unwrap();
    let mut wrong = 0;
    for _ in 0..300 {
        net.run(1);
        wrong += u32::from(!net.converged());
    }
    assert_eq!(wrong, 0, "seconds in which somebody was missed");
}

#[test]
fn news_end() {
    let mut net = Net::new(40, 5);
    net.loss = 0.0;
    net.converge(60, "joining").unwrap();
    net.run(30);
    let before = net.sent;
    net.run(60);
    let calm = (net.sent - before).over(40, 60);
    assert!(
        calm.news == 0.0 && calm.differences == 0.0,
        "nothing happens and is told: {calm}"
    );
}
