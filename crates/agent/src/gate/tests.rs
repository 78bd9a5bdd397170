use longshore_core::ErrorKind;

use super::*;

fn act(token: u64) -> Option<Mandate> {
    Some(Mandate::Act { token })
}

#[track_caller]
fn pass(passage: Passage) -> Pass {
    match passage {
        Passage::Act(pass) => pass,
        Passage::Observe => panic!("only to observe"),
        Passage::Refused(reason) => panic!("{reason}"),
    }
}

#[tokio::test]
async fn l2_a_restarted_agent_still_refuses_an_older_leader() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("agent");
    let gate = LeaderGate::open(&inside).unwrap();
    drop(pass(gate.admit(act(41)).await));
    drop(pass(gate.admit(act(42)).await));
    drop(gate);
    let gate = LeaderGate::open(&inside).unwrap();
    assert_eq!(gate.highest(), Some(42));
    let Passage::Refused(reason) = gate.admit(act(41)).await else {
        panic!("let in");
    };
    assert!(reason.contains("41") && reason.contains("42"), "{reason}");
    assert!(matches!(gate.admit(None).await, Passage::Refused(_)));
    drop(pass(gate.admit(act(42)).await));
    let names: Vec<_> = std::fs::read_dir(&inside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["leader-token"], "no half-written file stays");
}

#[tokio::test]
async fn a_newer_leader_ends_the_pass_of_the_older_one() {
    let gate = LeaderGate::in_memory();
    let mut old = pass(gate.admit(act(1)).await);
    let over = pass(gate.admit(act(1)).await);
    drop(over);
    let _new = pass(gate.clone().admit(act(2)).await);
    let reason = old.ended().await;
    assert!(
        reason.contains("token 1") && reason.contains('2'),
        "{reason}"
    );
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_no_reason_to_take_no_leader() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("agent");
    let gate = LeaderGate::open(&inside).unwrap();
    std::fs::remove_dir(&inside).unwrap();
    drop(pass(gate.admit(act(7)).await));
    assert!(matches!(gate.admit(act(6)).await, Passage::Refused(_)));
    // It is kept as soon as it can be.
    std::fs::create_dir(&inside).unwrap();
    drop(pass(gate.admit(act(7)).await));
    assert_eq!(LeaderGate::open(&inside).unwrap().highest(), Some(7));
}

#[test]
fn a_file_with_something_else_in_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for content in [
        "",
        "seven",
        "-1",
        "7 8",
        "18446744073709551616",
        &"9".repeat(500),
    ] {
        std::fs::write(directory.path().join("leader-token"), content).unwrap();
        let error = LeaderGate::open(directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{content}");
        assert!(error.context("file").unwrap().ends_with("leader-token"));
    }
    std::fs::write(directory.path().join("leader-token"), "7").unwrap();
    assert_eq!(
        LeaderGate::open(directory.path()).unwrap().highest(),
        Some(7)
    );
}
