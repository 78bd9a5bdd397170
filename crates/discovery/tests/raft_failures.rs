//! Members of the replicated store end, come back, are cut off and lose their disks; on paused time,
//! over a network in memory.
#![cfg(feature = "raft")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "raft/cluster.rs"]
mod cluster;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{
    ClockExt, ErrorKind, Expect, KvEvent, KvStore, OsRandom, PutOptions, Shutdown, TransactionOp,
};
use longshore_discovery::{Election, ElectionOptions, Leadership, RaftClient, RaftKv, RaftOptions};

use cluster::{Cluster, Place, clock, name_of};

async fn put(store: &RaftKv, key: &str, value: &str) {
    let put = store.put(key, value.to_owned().into(), PutOptions::default());
    put.await.unwrap();
}

/// Writes, also while a leader is being found.
async fn put_with_patience(store: &RaftKv, key: &str, value: &str) {
    for _ in 0..5 {
        let put = store.put(key, value.to_owned().into(), PutOptions::default());
        match put.await {
            Ok(_) => return,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    panic!("{key} could not be written");
}

async fn get(store: &RaftKv, key: &str) -> Option<String> {
    let entry = store.get(key).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

fn others(cluster: &Cluster, number: usize) -> Vec<usize> {
    (0..cluster.count())
        .filter(|other| *other != number)
        .collect()
}

/// L7: the loss of one manager of three is a pause, not an outage.
#[tokio::test(start_paused = true)]
async fn l7_writes_go_on_without_the_leader() {
    let cluster = Cluster::start(3, Place::Disk).await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let rest = others(&cluster, leader);
    put(&cluster.member(leader), "before", "1").await;
    cluster.stop(leader).await;
    // Within one call, which waits for the next leader.
    put(&cluster.member(rest[0]), "after", "2").await;
    assert_eq!(get(&cluster.member(rest[1]), "before").await.unwrap(), "1");
    assert_eq!(get(&cluster.member(rest[1]), "after").await.unwrap(), "2");
    cluster.start_member(leader);
    assert_eq!(get(&cluster.member(leader), "after").await.unwrap(), "2");
}

/// L7: without a majority nothing is acknowledged, nothing old is read, and it works again by itself.
#[tokio::test(start_paused = true)]
async fn l7_without_a_majority_calls_are_refused_until_it_is_back() {
    let cluster = Cluster::start(3, Place::Disk).await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let rest = others(&cluster, leader);
    put(&cluster.member(leader), "a", "1").await;
    for number in &rest {
        cluster.stop(*number).await;
    }
    let left = cluster.member(leader);
    let error = left.get("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.is_retryable());
    let write = left.put("b", "2".into(), PutOptions::default());
    let error = write.await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    // By now nobody leads, so this one was never on its way.
    let write = left.put("c", "3".into(), PutOptions::default());
    let error = write.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(
        error
            .message()
            .contains("no leader among the managers m0, m1, m2"),
        "{error}"
    );
    // Whichever member a client comes to last, it is told this, not that others can't be reached.
    let network = cluster.network.join("client");
    let client = RaftClient::new((0..3).map(name_of), network, clock()).unwrap();
    for _ in 0..3 {
        let error = client.get("a").await.unwrap_err();
        assert!(error.message().contains("no leader among"), "{error}");
    }
    cluster.start_member(rest[0]);
    put_with_patience(&left, "d", "4").await;
    assert_eq!(get(&left, "a").await.unwrap(), "1");
    assert_eq!(get(&left, "c").await, None);
}

/// L7: a restart of all loses nothing, and leases live on.
#[tokio::test(start_paused = true)]
async fn l7_a_restart_of_all_keeps_what_was_acknowledged() {
    let cluster = Cluster::start(3, Place::Disk).await;
    let store = cluster.member(1);
    let lease = store.grant(Duration::from_secs(20)).await.unwrap();
    let tied = PutOptions::default().with_lease(lease.id);
    store.put("tied", "x".into(), tied).await.unwrap();
    let mut last = store
        .put("first", "x".into(), PutOptions::default())
        .await
        .unwrap();
    let from = last;
    // More than the log keeps, so that snapshots take part.
    for number in 0..300 {
        let steps = (0..40).map(|step| {
            TransactionOp::put(
                format!("key-{step}"),
                format!("{number}-{}", "x".repeat(3000)),
                PutOptions::default(),
            )
        });
        last = store.transact(steps.collect()).await.unwrap();
    }
    for number in 0..3 {
        cluster.stop(number).await;
    }
    for number in 0..3 {
        cluster.start_member(number);
    }
    let store = cluster.member(2);
    assert!(get(&store, "key-7").await.unwrap().starts_with("299-"));
    assert_eq!(store.range("key-", "", 100).await.unwrap().revision, last);
    store.keep_alive(lease.id).await.unwrap();
    // A watch from before goes on, or is told that it can't.
    let mut watch = store.watch("", Some(from));
    let event = watch.next().await.unwrap().unwrap();
    assert!(
        matches!(event, KvEvent::Resync(_)),
        "12,000 changes are more than are kept"
    );
    let clock = clock();
    clock.sleep(Duration::from_secs(19)).await;
    assert!(get(&store, "tied").await.is_some());
    clock.sleep(Duration::from_secs(2)).await;
    assert_eq!(get(&store, "tied").await, None);
}

/// L7: the minority's leader acknowledges nothing, and a watch there goes on without a gap.
#[tokio::test(start_paused = true)]
async fn l7_a_leader_without_a_majority_acknowledges_nothing() {
    let cluster = Cluster::start(3, Place::Memory).await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let rest = others(&cluster, leader);
    let (cut, free) = (cluster.member(leader), cluster.member(rest[0]));
    let from = cut
        .put("n", "0".into(), PutOptions::default())
        .await
        .unwrap();
    let mut watch = cut.watch("n", Some(from));
    cluster.isolate(leader);
    let lost = cut.put("n", "lost".into(), PutOptions::default());
    let (lost, ()) = tokio::join!(lost, async {
        for number in 1..=5 {
            put_with_patience(&free, "n", &number.to_string()).await;
        }
    });
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(cut.get("n").await.is_err(), "an old value may not be read");
    cluster.network.heal();
    put_with_patience(&free, "n", "6").await;
    let (mut seen, mut outages) = (Vec::new(), 0);
    while seen.last().is_none_or(|last| last != "6") {
        match watch.next().await.unwrap() {
            Ok(KvEvent::Put(entry)) => {
                seen.push(String::from_utf8(entry.value.to_vec()).unwrap());
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => outages += 1,
        }
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(outages, 1, "an outage is told once");
    assert_eq!(get(&cut, "n").await.unwrap(), "6");
}

/// L7: a lost disk is filled by the others.
#[tokio::test(start_paused = true)]
async fn l7_a_member_without_its_disk_is_filled() {
    let cluster = Cluster::start(3, Place::Disk).await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let lost = others(&cluster, leader)[0];
    for number in 0..200 {
        put(&cluster.member(leader), &format!("key-{number}"), "x").await;
    }
    cluster.stop(lost).await;
    cluster.lose_disk(lost);
    cluster.start_member(lost);
    let again = cluster.member(lost);
    assert_eq!(
        again.range("key-", "", 1000).await.unwrap().entries.len(),
        200
    );
    // Its word counts again: it makes a majority with one other.
    put_with_patience(&again, "more", "x").await;
    clock().sleep(Duration::from_secs(2)).await;
    cluster.stop(leader).await;
    put_with_patience(&again, "most", "x").await;
    assert_eq!(get(&again, "key-199").await.unwrap(), "x");
}

/// A lost disk may have promised anything: alone with one other it makes no majority.
#[tokio::test(start_paused = true)]
async fn l7_a_member_without_its_disk_counts_for_nothing_until_it_has_heard_all() {
    let cluster = Cluster::start(3, Place::Disk).await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let rest = others(&cluster, leader);
    put(&cluster.member(leader), "a", "1").await;
    for number in 0..3 {
        cluster.stop(number).await;
    }
    cluster.lose_disk(rest[0]);
    cluster.start_member(rest[0]);
    cluster.start_member(rest[1]);
    let error = cluster.member(rest[1]).get("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    cluster.start_member(leader);
    assert_eq!(get(&cluster.member(rest[0]), "a").await.unwrap(), "1");
}

/// A directory of other managers, and a member of another cluster, are named.
#[tokio::test(start_paused = true)]
async fn l7_another_clusters_directory_is_refused() {
    let cluster = Cluster::start(3, Place::Disk).await;
    put(&cluster.member(0), "a", "1").await;
    cluster.stop(1).await;
    let options = |me: &str, names: [&str; 3]| {
        RaftOptions::new(me, names, clock())
            .unwrap()
            .with_directory(cluster.directory_of(1))
    };
    let network = cluster.network.join("m1");
    let error = RaftKv::start(options("m1", ["m1", "m2", "m3"]), network.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.message().contains("belongs to the managers m0,m1,m2"),
        "{error}"
    );
    let error = RaftKv::start(options("m0", ["m0", "m1", "m2"]), network).unwrap_err();
    assert!(
        error
            .message()
            .contains("belongs to the manager m1, not to m0"),
        "{error}"
    );
    // The right names, and the directory of another cluster.
    let other = Cluster::start(3, Place::Disk).await;
    other.stop(1).await;
    let foreign = RaftOptions::new("m1", ["m0", "m1", "m2"], clock())
        .unwrap()
        .with_directory(other.directory_of(1));
    let foreign = RaftKv::start(foreign, cluster.network.join("m1")).unwrap();
    let error = foreign.get("a").await.unwrap_err();
    assert!(
        error.message().contains("belongs to another cluster"),
        "{error}"
    );
    assert_eq!(get(&cluster.member(0), "a").await.unwrap(), "1");
}

/// Elections stand on it: a change among the members is none among the managers, and with the leading
/// manager the lock goes, once.
#[tokio::test(start_paused = true)]
async fn an_election_over_it_has_one_leader() {
    let cluster = Cluster::start(3, Place::Memory).await;
    let ttl = Duration::from_secs(10);
    let (shutdown, clock) = (Shutdown::new(), clock());
    let elections: Vec<_> = (0..3)
        .map(|number| {
            let options = ElectionOptions::candidate("lock", name_of(number)).with_ttl(ttl);
            let store = Arc::new(cluster.member(number));
            let random = Arc::new(OsRandom);
            Arc::new(Election::new(store, options, clock.clone(), random).unwrap())
        })
        .collect();
    for election in &elections {
        let (election, stop) = (election.clone(), shutdown.clone());
        shutdown.spawn(async move { election.run(&stop).await });
    }
    let leading = || {
        let valid = |election: &Arc<Election>| {
            let leadership = election.leadership();
            leadership
                .filter(Leadership::is_valid)
                .map(|leads| leads.token())
        };
        let all: Vec<_> = elections.iter().map(valid).collect();
        let who: Vec<_> = (0..3).filter(|number| all[*number].is_some()).collect();
        assert!(who.len() <= 1, "{all:?}");
        who.first().map(|first| (*first, all[*first].unwrap()))
    };
    let found = async |not: Option<usize>| {
        for _ in 0..600 {
            clock.sleep(Duration::from_millis(100)).await;
            if let Some((who, token)) = leading()
                && Some(who) != not
            {
                return (who, token);
            }
        }
        panic!("nobody leads");
    };
    let (first, token) = found(None).await;
    let member = cluster.leader(&[0, 1, 2]).await;
    // The members elect another one, while the leading manager stays with the majority.
    let away = match member == first {
        true => others(&cluster, first)[0],
        false => member,
    };
    cluster.isolate(away);
    for _ in 0..200 {
        clock.sleep(Duration::from_millis(100)).await;
        let (who, now) = leading().expect("the lock has not changed hands");
        assert_eq!((who, &now), (first, &token));
    }
    cluster.network.heal();
    clock.sleep(Duration::from_secs(5)).await;
    cluster.isolate(first);
    let (second, newer) = found(Some(first)).await;
    assert!(
        second != first && newer > token,
        "{newer:?} after {token:?}"
    );
    shutdown.trigger();
}

/// Calls end with the member, and so do watches.
#[tokio::test(start_paused = true)]
async fn a_closed_member_answers_at_once() {
    let cluster = Cluster::start(3, Place::Disk).await;
    let store = cluster.member(0);
    let mut watch = store.watch("", None);
    cluster.isolate(0);
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.delete("a", Expect::Any).await }
    });
    clock().sleep(Duration::from_millis(50)).await;
    store.close().await;
    assert_eq!(
        waiting.await.unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(store.get("a").await.unwrap_err().kind(), ErrorKind::Closed);
    while let Some(event) = watch.next().await {
        assert!(event.is_err(), "{event:?}");
    }
    // The directory is free again.
    cluster.start_member(0);
    cluster.network.heal();
    assert_eq!(get(&cluster.member(0), "a").await, None);
}

/// More than a member takes is refused before it is sent, and nothing else suffers from it.
#[tokio::test(start_paused = true)]
async fn a_transaction_has_a_size() {
    let cluster = Cluster::start(1, Place::Memory).await;
    let steps = (0..7).map(|number| {
        TransactionOp::put(
            format!("key-{number}"),
            vec![0; 1 << 20],
            PutOptions::default(),
        )
    });
    let steps: Vec<_> = steps.collect();
    let error = cluster.member(0).transact(steps.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let network = cluster.network.join("client");
    let client = RaftClient::new([name_of(0)], network, clock()).unwrap();
    let mut watch = client.watch("a", Some(client.range("a", "", 1).await.unwrap().revision));
    let error = client.transact(steps).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let error = client.get(&"k".repeat(7 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    // The watch shares their connection: it would be told of an outage.
    let put = client.put("a", "1".into(), PutOptions::default());
    put.await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(KvEvent::Put(_)))));
}
