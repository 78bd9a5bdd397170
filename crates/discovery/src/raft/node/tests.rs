//! What a member makes of others that say what no member says.

use longshore_core::SeededRandom;
use proptest::prelude::*;

use super::*;
use crate::raft::{
    RaftTimes,
    command::Command,
    wire::{decode, encode, encode_command},
};

pub(in crate::raft) const START: Timestamp = Timestamp::from_secs(1_000);
const CLUSTER: u128 = 77;

/// Member 0 of three, with these entries in its log, all of term 1.
pub(in crate::raft) fn member(entries: Vec<Bytes>) -> Node {
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let options = NodeOptions {
        me: 0,
        names: names.clone(),
        times: RaftTimes::default(),
        compaction: Compaction::default(),
    };
    let identity = Identity {
        me: "a".to_owned(),
        names: names.join(","),
        nonce: 1,
        incarnation: 1,
        cluster: Some(CLUSTER),
        founders: vec![1, 2, 3],
        joining: None,
    };
    let entries = entries.into_iter().zip(1..).map(|(data, index)| Entry {
        at: Position { term: 1, index },
        data,
    });
    let loaded = Loaded {
        identity,
        hard: HardState {
            term: 1,
            vote: None,
        },
        snapshot: None,
        entries: entries.collect(),
    };
    Node::new(options, loaded, Arc::new(SeededRandom::new(1)), START).unwrap()
}

/// As its driver does.
fn drive(node: &mut Node, now: Timestamp) {
    node.tick(now);
    let up_to = node.ready(now).save.up_to;
    node.saved(up_to);
}

/// As it comes in over a connection.
fn hear(node: &mut Node, from: usize, message: &Message, now: Timestamp) {
    if let Ok((cluster, message)) = decode(encode(Some(CLUSTER), message)) {
        node.handle(from, cluster, message, now);
    }
    drive(node, now);
}

/// Makes it the leader of the next term.
pub(in crate::raft) fn lead(node: &mut Node) -> Timestamp {
    let now = node.next_deadline();
    drive(node, now);
    let term = node.term() + 1;
    let granted = true;
    hear(node, 1, &Message::PreVoted { term, granted }, now);
    hear(node, 1, &Message::Voted { term, granted }, now);
    assert!(node.is_leader());
    now
}

fn command(member: u8) -> Bytes {
    encode_command(&Command {
        request: Some(RequestId {
            member,
            incarnation: 5,
            number: 9,
        }),
        settled: 1,
        action: Action::Grant(std::time::Duration::from_secs(9)),
    })
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..5u64,
        (0..5u64).prop_map(|less| u64::MAX - less),
        Just(1 << 62),
        Just(1 << 32),
    ]
}

prop_compose! {
    fn position()(term in number(), index in number()) -> Position {
        Position { term, index }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let entry = (position(), any::<bool>()).prop_map(|(at, grants)| Entry {
        at,
        data: if grants { command(1) } else { Bytes::new() },
    });
    let entries = prop::collection::vec(entry, 0..3);
    prop_oneof![
        (number(), position()).prop_map(|(term, last)| Message::PreVote { term, last }),
        (number(), any::<bool>()).prop_map(|(term, granted)| Message::PreVoted { term, granted }),
        (number(), position()).prop_map(|(term, last)| Message::Vote { term, last }),
        (number(), any::<bool>()).prop_map(|(term, granted)| Message::Voted { term, granted }),
        (number(), position(), number(), entries).prop_map(|(term, before, commit, entries)| {
            Message::Append {
                term,
                before,
                commit,
                entries,
            }
        }),
        (number(), number(), any::<bool>(), any::<bool>()).prop_map(
            |(term, index, accepted, counts)| Message::Appended {
                term,
                matched: if accepted { Ok(index) } else { Err(index) },
                counts,
            }
        ),
        (number(), number(), number()).prop_map(|(term, commit, round)| Message::Heartbeat {
            term,
            commit,
            round
        }),
        (number(), number(), number(), any::<bool>()).prop_map(|(term, round, last, counts)| {
            Message::HeartbeatAnswer {
                term,
                round,
                last,
                counts,
            }
        }),
        (number(), position(), number(), number()).prop_map(|(term, at, offset, total)| {
            Message::Snapshot {
                term,
                at,
                offset,
                total,
                part: encode_snapshot(&Machine::new()),
            }
        }),
        (number(), position(), number(), any::<bool>()).prop_map(|(term, at, received, counts)| {
            Message::SnapshotPart {
                term,
                at,
                received,
                counts,
            }
        }),
        (number(), number(), any::<bool>()).prop_map(|(id, index, lives)| Message::Confirmed {
            id,
            index,
            lives
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// L7: whatever members say, nobody panics, and the store goes on when they have come to
    /// their senses.
    #[test]
    fn l7_absurd_numbers_stop_nobody(
        leads in any::<bool>(),
        said in prop::collection::vec((1..3usize, message()), 1..12),
    ) {
        let mut node = member(vec![Bytes::new(), command(0)]);
        let mut now = if leads { lead(&mut node) } else { START };
        for (from, message) in said {
            now = now.after(std::time::Duration::from_millis(1));
            hear(&mut node, from, &message, now);
        }
        prop_assert!(node.term() < 1 << 40, "in term {}", node.term());
        let log = node.log();
        prop_assert!(log.last().index < 100, "{:?}", log.last());
        drive(&mut node, now.after(std::time::Duration::from_secs(10)));
    }
}

/// L7: nobody's requests are made to look old by another member.
#[test]
fn l7_a_member_proposes_in_its_own_name_only() {
    let mut node = member(Vec::new());
    let now = lead(&mut node);
    let before = node.log().len();
    hear(&mut node, 1, &Message::Propose(command(2)), now);
    assert_eq!(node.log().len(), before);
    hear(&mut node, 1, &Message::Propose(command(1)), now);
    assert_eq!(node.log().len(), before + 1);
}

/// L7: what all have agreed on is carried out by all or, where it can't be read, not passed over.
#[test]
fn l7_who_cannot_read_what_was_agreed_on_stops() {
    let newer = Bytes::from_static(b"\x02what comes after us");
    let mut node = member(vec![command(1), newer, command(2)]);
    let commit = Message::Append {
        term: 1,
        before: Position { term: 1, index: 3 },
        commit: 3,
        entries: Vec::new(),
    };
    hear(&mut node, 1, &commit, START);
    let failure = node.take_failure().expect("it does not go on");
    assert_eq!(failure.kind(), longshore_core::ErrorKind::Unsupported);
    assert!(failure.message().contains("entry 2"), "{failure}");
    assert_eq!(node.machine().applied.index, 1);
}
