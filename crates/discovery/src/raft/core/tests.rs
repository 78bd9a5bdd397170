//! Rules of the paper that a simulation meets rarely, each by itself.

use std::time::Duration;

use longshore_core::SeededRandom;

use super::*;

const START: Timestamp = Timestamp::from_secs(1_000);

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

/// Member 0 of three, with a log of these terms.
fn member(hard: HardState, terms: &[u64]) -> Core {
    let entries = terms.iter().zip(1..).map(|(term, index)| Entry {
        at: at(*term, index),
        data: Bytes::from_static(b"x"),
    });
    let log = Log::new(Position::default(), entries.collect());
    let random = Arc::new(SeededRandom::new(1));
    let times = RaftTimes::default();
    let mut core = Core::new((0, 3), times, hard, log, random, START);
    core.set_counts(true);
    core
}

fn in_term(term: u64) -> HardState {
    HardState { term, vote: None }
}

/// Whether it votes for a peer that asks.
fn votes(core: &mut Core, from: usize, term: u64, last: Position) -> bool {
    core.handle(from, Message::Vote { term, last }, START);
    let answers = core.take_messages();
    let [(to, Message::Voted { granted, .. })] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(*to, from);
    *granted
}

/// Makes it leader of the next term.
fn elected(core: &mut Core) -> Timestamp {
    let now = core.next_deadline();
    core.tick(now);
    let term = core.term() + 1;
    let granted = true;
    core.handle(1, Message::PreVoted { term, granted }, now);
    core.handle(1, Message::Voted { term, granted }, now);
    assert!(core.is_leader());
    core.take_messages();
    now
}

#[test]
fn l7_a_vote_is_given_once_in_a_term_also_by_who_was_restarted() {
    let mut core = member(in_term(1), &[1]);
    assert!(votes(&mut core, 1, 2, at(1, 1)));
    let saved = core.take_unsaved().hard.expect("it is told to the disk");
    assert_eq!((saved.term, saved.vote), (2, Some(Vote::For(1))));
    assert!(!votes(&mut core, 2, 2, at(1, 1)));
    assert!(votes(&mut core, 1, 2, at(1, 1)), "the answer was lost");
    let mut restarted = member(saved, &[1]);
    assert!(!votes(&mut restarted, 2, 2, at(1, 1)));
    assert!(votes(&mut restarted, 1, 2, at(1, 1)));
}

#[test]
fn l7_who_has_an_older_log_gets_no_vote() {
    // §5.4.1: a later last term wins, then the longer log.
    for (last, granted) in [
        (at(2, 3), true),
        (at(2, 4), true),
        (at(3, 1), true),
        (at(2, 2), false),
        (at(1, 9), false),
    ] {
        let mut core = member(in_term(3), &[1, 2, 2]);
        assert_eq!(votes(&mut core, 1, 4, last), granted, "{last:?}");
        core.handle(2, Message::PreVote { term: 9, last }, START);
        let answer = core.take_messages().pop();
        assert_eq!(
            matches!(answer, Some((2, Message::PreVoted { granted: true, .. }))),
            granted,
            "{last:?}"
        );
    }
}

#[test]
fn l7_entries_of_earlier_terms_wait_for_one_of_the_leaders_own() {
    // §5.4.2: that a majority has them does not make them agreed on.
    let mut core = member(in_term(2), &[1, 2]);
    let now = elected(&mut core);
    core.saved(at(3, 3));
    let appended = |matched| Message::Appended {
        term: 3,
        matched: Ok(matched),
        counts: true,
    };
    core.handle(1, appended(2), now);
    core.settle(now);
    assert_eq!(core.commit(), 0);
    core.handle(1, appended(3), now);
    core.settle(now);
    assert_eq!(core.commit(), 3);
}

#[test]
fn l7_what_the_leaders_own_disk_does_not_have_counts_for_nobody() {
    let mut core = member(in_term(1), &[]);
    let now = elected(&mut core);
    core.settle(now);
    assert_eq!(core.commit(), 0);
    core.saved(at(2, 1));
    core.settle(now);
    assert_eq!(core.commit(), 0, "one of three");
    let appended = Message::Appended {
        term: 2,
        matched: Ok(1),
        counts: true,
    };
    core.handle(1, appended, now);
    core.settle(now);
    assert_eq!(core.commit(), 1);
}

#[test]
fn l7_the_leaders_log_replaces_what_was_not_agreed_on_and_nothing_else() {
    let mut core = member(in_term(3), &[1, 1, 2, 2]);
    let entry = |term, index| Entry {
        at: at(term, index),
        data: Bytes::from_static(b"y"),
    };
    let append = Message::Append {
        term: 3,
        before: at(1, 2),
        commit: 3,
        entries: vec![entry(3, 3)],
    };
    core.handle(1, append, START);
    assert_eq!((core.log().last(), core.commit()), (at(3, 3), 3));
    let unsaved = core.take_unsaved();
    assert_eq!(unsaved.truncate, Some(3));
    assert_eq!(unsaved.entries, [entry(3, 3)]);
    // A late message with less of the same cuts nothing off.
    let late = Message::Append {
        term: 3,
        before: at(1, 1),
        commit: 0,
        entries: vec![entry(1, 2)],
    };
    core.handle(1, late, START.after(Duration::from_millis(1)));
    assert_eq!((core.log().last(), core.commit()), (at(3, 3), 3));
}
