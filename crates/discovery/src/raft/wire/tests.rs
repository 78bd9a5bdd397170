use longshore_core::{Expect, PutOptions, Revision, TransactionOp};
use proptest::prelude::*;

use super::*;
use crate::raft::{
    command::{Action, Command, RequestId},
    machine::Machine,
};

fn put(key: &str, lease: Option<LeaseId>) -> TransactionOp {
    let mut options = PutOptions::default().with_expect(Expect::Absent);
    options.lease = lease;
    TransactionOp::put(key, Bytes::from_static(b"value"), options)
}

fn command(number: u64, action: Action) -> Command {
    Command {
        request: Some(RequestId {
            member: 2,
            incarnation: 7,
            number,
        }),
        settled: 1,
        action,
    }
}

fn messages() -> Vec<Message> {
    let at = Position { term: 3, index: 9 };
    let status = Status {
        names: "a,b,c".to_owned(),
        nonce: 5,
        cluster: Some(u128::MAX),
        founders: vec![1, 2, 3],
        term: 4,
        last: at,
    };
    let entry = Entry {
        at,
        data: Bytes::from_static(b"data"),
    };
    vec![
        Message::PreVote { term: 1, last: at },
        Message::PreVoted {
            term: 1,
            granted: true,
        },
        Message::Vote { term: 1, last: at },
        Message::Voted {
            term: 1,
            granted: false,
        },
        Message::Append {
            term: 1,
            before: at,
            commit: 8,
            entries: vec![entry.clone(), entry],
        },
        Message::Appended {
            term: 1,
            matched: Ok(4),
            counts: true,
        },
        Message::Appended {
            term: 1,
            matched: Err(4),
            counts: false,
        },
        Message::Heartbeat {
            term: 1,
            commit: 2,
            round: 3,
        },
        Message::HeartbeatAnswer {
            term: 1,
            round: 3,
            last: 9,
            counts: true,
        },
        Message::Snapshot {
            term: 1,
            at,
            offset: 5,
            total: 10,
            part: Bytes::from_static(b"12345"),
        },
        Message::SnapshotPart {
            term: 1,
            at,
            received: 10,
            counts: true,
        },
        Message::Propose(Bytes::from_static(b"command")),
        Message::Confirm {
            id: 1,
            lease: Some(LeaseId(9)),
        },
        Message::Confirm { id: 1, lease: None },
        Message::Confirmed {
            id: 1,
            index: 2,
            lives: true,
        },
        Message::Ask(status.clone()),
        Message::Status(status),
    ]
}

#[test]
fn messages_are_read_as_written_and_not_when_cut() {
    for message in messages() {
        for cluster in [None, Some(12)] {
            let bytes = encode(cluster, &message);
            assert_eq!(decode(bytes.clone()).unwrap(), (cluster, message.clone()));
            for cut in 0..bytes.len() {
                assert!(
                    decode(bytes.slice(..cut)).is_err(),
                    "{message:?} cut at {cut}"
                );
            }
            let longer = Bytes::from([&bytes[..], b"x"].concat());
            assert!(decode(longer).is_err(), "{message:?}");
        }
    }
}

#[test]
fn commands_are_read_as_written() {
    for action in [
        Action::Apply(vec![
            put("a", Some(LeaseId(3))),
            TransactionOp::delete("b", Expect::Revision(Revision(8))),
            TransactionOp::check("c", Expect::Absent),
        ]),
        Action::Grant(std::time::Duration::from_millis(1500)),
        Action::Revoke(LeaseId(u128::MAX)),
        Action::Expire(vec![LeaseId(1), LeaseId(2)]),
    ] {
        let written = command(5, action);
        let bytes = encode_command(&written);
        let read = decode_command(bytes.clone()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        assert!(decode_command(bytes.slice(..bytes.len() - 1)).is_err());
    }
}

/// What a member goes on from a snapshot with is what the others have.
#[test]
fn a_snapshot_is_the_whole_state() {
    let mut machine = Machine::new();
    machine.apply(command(1, Action::Grant(std::time::Duration::from_secs(3))));
    machine.apply(command(
        2,
        Action::Apply(vec![put("a", Some(LeaseId(1))), put("b", None)]),
    ));
    machine.apply(command(3, Action::Apply(vec![put("a", None)])));
    machine.applied = Position { term: 2, index: 3 };
    let bytes = encode_snapshot(&machine);
    let mut restored = decode_snapshot(bytes.clone()).unwrap();
    assert_eq!(encode_snapshot(&restored), bytes);
    assert_eq!(restored.sessions, machine.sessions);
    // Both go on in the same way: a request done before is not done again, a lease takes its key.
    for next in [
        command(3, Action::Apply(vec![put("a", None)])),
        command(4, Action::Revoke(LeaseId(1))),
        command(5, Action::Apply(vec![put("a", None)])),
        command(6, Action::Grant(std::time::Duration::from_secs(1))),
    ] {
        assert_eq!(restored.apply(next.clone()), machine.apply(next));
    }
    assert_eq!(restored.store.image(), machine.store.image());
    for cut in 0..bytes.len() {
        assert!(decode_snapshot(bytes.slice(..cut)).is_err(), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = decode(bytes.clone());
        let _ = decode_command(bytes.clone());
        let _ = decode_snapshot(bytes.clone());
        let _ = crate::raft::operation::decode_operation(bytes.clone());
        let _ = crate::raft::operation::decode_answer(bytes);
    }
}
