//! Several managers over a real etcd and a real Docker engine: one leads, the other passes on to it,
//! and takes over when it goes, hangs or resigns.
#![expect(unreachable_pub, reason = "a test has no outside")]

#[path = "lab_replication/managers.rs"]
mod managers;

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use managers::{IMAGE, Managers};

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
