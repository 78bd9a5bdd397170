//! `gossip://` over real sockets on loopback. A thousand members are simulated in the library.
#![cfg(feature = "gossip")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{net::SocketAddr, sync::Arc, sync::Mutex, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    Announcement, Clock, Discovery, ErrorKind, Labels, MembershipEvent, SystemClock,
    testkit::discovery::Harness,
};
use longshore_discovery::{
    DiscoveryOptions, GossipDiscovery, GossipKey, GossipOptions, GossipTimes, open,
};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Ten times as fast as it is by default.
fn member(key: &str, bind: SocketAddr, seeds: &[SocketAddr]) -> GossipDiscovery {
    let options = GossipOptions::new(GossipKey::parse(key).unwrap(), bind, seeds.to_vec())
        .with_times(GossipTimes::default().scaled(0.1))
        .with_grace(Duration::from_millis(200));
    GossipDiscovery::new(options, clock()).unwrap()
}

fn free_port() -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// One process: its clients are clones of one member.
struct OneMember(Mutex<Option<GossipDiscovery>>);

#[async_trait]
impl Harness for OneMember {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        let mut member = self.0.lock().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        Arc::new(
            member
                .get_or_insert_with(|| self::member(KEY, any, &[]))
                .clone(),
        )
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(1500)
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(500)
    }
}

mod one_member {
    use super::*;
    longshore_core::discovery_suite!(live, OneMember(Mutex::new(None)));
}

/// Waits for a member to know so many nodes. Bounded by the number of tries, not by a clock.
async fn until(member: &GossipDiscovery, count: usize) -> Vec<Announcement> {
    for _ in 0..600 {
        let nodes = member.list().await.unwrap().nodes;
        if nodes.len() == count {
            return nodes;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {count} nodes");
}

fn node(number: usize) -> Announcement {
    let labels = Labels::new().with("zone", "eu");
    Announcement::new(format!("10.0.0.{number}:2375").parse().unwrap()).with_labels(labels)
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn members_find_each_other_miss_the_dead_and_hear_goodbyes() {
    let first = free_port();
    let any = "127.0.0.1:0".parse().unwrap();
    let mut members = vec![member(KEY, first, &[])];
    for _ in 0..4 {
        members.push(member(KEY, any, &[first]));
    }
    for (number, member) in members.iter().enumerate() {
        member.register(&node(number), LONG).await.unwrap();
    }
    for member in &members {
        let known = until(member, 5).await;
        assert_eq!(known[3], node(3), "labels arrive");
    }
    drop(members.pop());
    until(&members[1], 4).await;
    members.pop().unwrap().leave().await.unwrap();
    until(&members[1], 3).await;
    // The seed comes back as another process at the same address.
    drop(members.remove(0));
    until(&members[1], 2).await;
    let again = member(KEY, first, &[]);
    again.register(&node(0), LONG).await.unwrap();
    until(&again, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_another_key_or_none_is_not_heard() {
    let first = free_port();
    let any = "127.0.0.1:0".parse().unwrap();
    let (a, b) = (member(KEY, first, &[]), member(KEY, any, &[first]));
    let stranger = member(&"ff".repeat(32), any, &[first]);
    for (number, member) in [&a, &b, &stranger].into_iter().enumerate() {
        member.register(&node(number), LONG).await.unwrap();
    }
    let noise = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 24, 25, 60, 1000, 1300, 9000] {
        noise.send_to(&vec![1; length], first).unwrap();
    }
    until(&b, 2).await;
    assert_eq!(until(&a, 2).await, [node(0), node(1)]);
    assert_eq!(stranger.list().await.unwrap().nodes, [node(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn d6_a_member_that_is_cut_off_holds_the_others_for_a_while() {
    let first = free_port();
    let any = "127.0.0.1:0".parse().unwrap();
    let options = GossipOptions::new(GossipKey::parse(KEY).unwrap(), any, vec![first])
        .with_times(GossipTimes::default().scaled(0.05))
        .with_grace(Duration::from_secs(3600));
    let cut_off = GossipDiscovery::new(options, clock()).unwrap();
    let other = member(KEY, first, &[]);
    other.register(&node(1), LONG).await.unwrap();
    other.register(&node(2), LONG).await.unwrap();
    until(&cut_off, 2).await;
    let mut watch = cut_off.watch();
    assert!(matches!(watch.next().await, Some(MembershipEvent::Reset(all)) if all.len() == 2));
    drop(other);
    until(&cut_off, 0).await;
    let told = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn urls_and_options_are_read_and_bad_ones_named() {
    let opened = |url: &str, pairs: &[&str]| {
        let options = DiscoveryOptions::new(clock()).with_pairs(pairs).unwrap();
        open(url, &options)
    };
    let key = format!("gossip.key={KEY}");
    let here = "gossip.bind=127.0.0.1:0";
    let discovery = opened("gossip://127.0.0.1:7946", &[&key, here]).unwrap();
    assert_eq!(discovery.describe(), "gossip://127.0.0.1:7946");
    assert!(!format!("{discovery:?}").contains("0001"));
    for (pairs, text) in [
        (vec![here], "always encrypted"),
        (vec!["gossip.key=12", here], "64 hexadecimal"),
        (vec![&key, "gossip.bind=0.0.0.0:0"], "gossip.advertise"),
        (vec![&key, "gossip.bind=nonsense"], "host:port"),
        (vec![&key, "gossip.other=1"], "unknown"),
        (vec![&key, "gossip.keyfile=/x"], "not both"),
        (vec!["gossip.keyfile=/nonexistent/key"], "can't be read"),
    ] {
        let error = opened("gossip://", &pairs).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(!error.to_string().contains(KEY));
    }
}

#[tokio::test]
async fn what_one_member_announces_is_bounded() {
    let any = "127.0.0.1:0".parse().unwrap();
    let member = member(KEY, any, &[]);
    let mut refused = None;
    for number in 0..60 {
        if let Err(error) = member.register(&node(number), LONG).await {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused.unwrap().kind(), ErrorKind::ResourceExhausted);
    assert!(member.list().await.unwrap().nodes.len() > 5);
}
