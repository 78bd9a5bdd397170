//! Several managers over a real etcd, or over what they replicate among themselves, and a real Docker
//! engine: one leads, the others pass on to it, and one takes over when it goes, hangs, resigns or is
//! cut off.
#![expect(unreachable_pub, reason = "a test has no outside")]

#[path = "lab_replication/managers.rs"]
mod managers;
#[path = "lab_replication/members.rs"]
mod members;

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use managers::{IMAGE, Managers};
use members::Members;

#[test]
fn a_replica_passes_on_and_takes_over() {
    let Some(mut managers) = Managers::start("lab replication") else {
        return;
    };
    managers.wait_for("a leader that both know", |m| m.leader() == Some(0));
    assert_eq!(managers.role(1), "replica");
    assert_eq!(managers.info(1, "Primary"), Some(managers.address(0)));

    // The whole way through the replica: placed, listed, entered, its exit code told.
    let run = ["run", "-d", "--name", "web", IMAGE, "sleep", "600"];
    managers.ok(1, run);
    assert_eq!(
        managers.ok(0, ["ps", "--format", "{{.Names}}"]),
        managers.ok(1, ["ps", "--format", "{{.Names}}"])
    );
    let mut exec = managers.docker(1);
    exec.args(["exec", "-i", "web", "sh", "-c", "tr a-z A-Z; exit 7"]);
    exec.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut exec = exec.spawn().expect("docker runs");
    std::io::Write::write_all(&mut exec.stdin.take().expect("a pipe"), b"through").expect("input");
    let done = exec.wait_with_output().expect("it ends");
    assert_eq!(
        (done.stdout.as_slice(), done.status.code()),
        (&b"THROUGH"[..], Some(7))
    );

    // It resigns when it is asked to end: the other leads without waiting for the lease.
    managers.stop(0);
    managers.wait_for("the other leader", |m| m.leader() == Some(1));
    assert!(
        managers
            .ok(1, ["ps", "--format", "{{.Names}}"])
            .contains("web")
    );

    // Killed, it is replaced when its lease is over; what runs goes on running.
    managers.launch(0);
    managers.wait_for("a replica", |m| m.role(0) == "replica");
    managers.kill(1);
    managers.wait_for("the first one again", |m| m.leader() == Some(0));
    assert!(
        managers
            .ok(0, ["ps", "--format", "{{.Names}}"])
            .contains("web")
    );

    // Every leader had a larger token than the one before.
    let tokens = managers.tokens();
    assert_eq!(tokens.len(), 3, "{tokens:?}");
    assert!(tokens.is_sorted(), "{tokens:?}");
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn a_leader_that_hung_does_not_act_when_it_wakes() {
    let Some(mut managers) = Managers::start("lab replication") else {
        return;
    };
    managers.wait_for("a leader that both know", |m| m.leader() == Some(0));
    managers.freeze(0);
    managers.wait_for("the other leader", |m| m.role(1) == "primary");
    managers.thaw(0);
    // Asked at once, and for a while: it leads no more.
    let until = std::time::Instant::now() + Duration::from_secs(6);
    while std::time::Instant::now() < until {
        assert_eq!(managers.role(0), "replica");
        assert_eq!(managers.role(1), "primary");
    }
}

#[test]
fn the_store_goes_and_comes_back_and_one_leads() {
    let Some(mut managers) = Managers::start("lab replication") else {
        return;
    };
    managers.wait_for("a leader that both know", |m| m.leader() == Some(0));
    managers.store.member(0).kill();
    managers.wait_for("nobody leads without the store", |m| {
        m.role(0) == "replica" && m.role(1) == "replica"
    });
    let refused = managers
        .docker(1)
        .args(["ps"])
        .output()
        .expect("docker runs");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("No elected primary cluster manager")
    );
    managers.store.member(0).restart().expect("etcd comes back");
    managers.wait_for("one leader again", |m| m.leader().is_some());
    managers.ok(1, ["ps"]);
}

/// Rule L7, with nothing but the managers themselves: no store server, each in a network of its own.
#[test]
fn l7_managers_without_a_store_server_lead_one_at_a_time() {
    let Some(mut members) = Members::start("lab replication without a store") else {
        return;
    };
    let leader = members.leader().expect("one leads");
    let follower = (leader + 1) % 3;
    let file = members.stack_file(1);
    members.stack(follower, "deploy", &[&file]);
    members.ok(
        follower,
        ["run", "-d", "--name", "web", IMAGE, "sleep", "600"],
    );
    members.succeed(members.kv("put", &["note", "kept"]));
    members.wait_for("the stack's instance", |m| {
        m.stack(leader, "ls", &[]).contains("1/1")
    });

    // The leader is cut off from everything. Asked on its own host, it leads no more once another one
    // does; and it refuses, in the words that clients know.
    let isolated = members.lab.isolate(leader).expect("its link is cut");
    let others = || (0..3).filter(|number| *number != leader);
    members.wait_for("another leader", |m| {
        // In this order: whoever leads now leads because the old one has stopped.
        let taken_over = others().any(|other| m.leads(other));
        assert!(!taken_over || !m.leads(leader), "two lead\n{}", m.logs());
        taken_over
    });
    assert!(members.status(leader, "/containers/json").contains("503"));
    for refused in [
        members.refused(leader, ["ps"]),
        members.refused(leader, ["run", "-d", IMAGE, "sleep", "1"]),
    ] {
        assert!(
            refused.contains("No elected primary cluster manager"),
            "{refused}"
        );
    }
    let next = others().find(|other| members.leads(*other));
    let next = next.expect("it still leads");
    // What was desired and what runs is all there, at the new one.
    members.wait_for("the stack at the new leader", |m| {
        m.stack(next, "ls", &[]).contains("1/1")
    });
    let names = members.ok(next, ["ps", "--format", "{{.Names}}"]);
    assert!(
        names.contains("web") && names.contains("shop-web-1"),
        "{names}"
    );

    // Healed, it follows.
    isolated.undo().expect("its link is back");
    let address = members.address(next);
    members.wait_for("that the old leader follows", |m| {
        m.primary(leader) == address
    });
    assert!(!members.leads(leader));

    // Two of three are gone: whoever is left neither leads nor writes, and says so.
    let left = others()
        .find(|other| *other != next)
        .expect("the third one");
    members.kill(next);
    members.kill(leader);
    members.wait_for("nobody who leads", |m| m.primary(left) == "(none)");
    assert!(members.status(left, "/containers/json").contains("503"));
    let refused = members.kv("put", &["note", "lost"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{words}");
    assert!(
        words.contains("majority") || words.contains("no leader"),
        "{words}"
    );

    // Back with their directories: everything that was acknowledged is there.
    members.launch(next);
    members.launch(leader);
    members.wait_for("one leader again", |m| m.leader().is_some());
    assert_eq!(members.succeed(members.kv("get", &["note"])), "kept");
    let file = members.stack_file(2);
    members.stack(left, "deploy", &[&file]);
    members.wait_for("two instances", |m| {
        m.stack(left, "ls", &[]).contains("2/2")
    });

    // No two times of leading overlap, and each token is larger than the one before.
    let all = members.leaderships();
    assert!(all.len() >= 3, "{all:?}");
    for pair in all.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert!(after.token > before.token, "{all:?}");
        if let Some(ended) = &before.ended {
            assert!(*ended <= after.began, "{all:?}");
        }
    }
    let cut_off = all.iter().find(|it| it.manager == leader);
    assert!(cut_off.is_some_and(|it| it.ended.is_some()), "{all:?}");
}
