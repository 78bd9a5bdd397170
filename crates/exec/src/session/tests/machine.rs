//! Single rules of the machine.

use std::time::Duration;

use longshore_core::{Error, ErrorKind, ExitStatus, OutputKind, Signal, TerminalSize, Timestamp};

use crate::session::{
    Action, EndReason, GapCause, Notice, RecordReach, Role, SessionCore, SessionEnd,
    SessionOptions, ViewerEvent, ViewerId, WhileDetached,
};

const START: Timestamp = Timestamp::from_secs(1_000);

fn begin(options: SessionOptions) -> (SessionCore, ViewerId) {
    let mut core = SessionCore::new(options, START);
    let writer = core.attach(Role::Writer, Some(0), START).unwrap();
    (core, writer)
}

/// The process starts, and the first writer is told so.
fn start(core: &mut SessionCore) {
    core.started();
    let writer = ViewerId(0);
    let mut notices = Vec::new();
    while let Some(ViewerEvent::Notice(notice)) = core.poll_event(writer, START) {
        notices.push(notice);
    }
    assert_eq!(notices.last(), Some(&Notice::Started));
}

fn later(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

#[track_caller]
fn ended(core: &SessionCore) -> SessionEnd {
    core.end().expect("it has ended").clone()
}

#[test]
fn what_comes_before_the_start_waits_for_it() {
    let (mut core, writer) = begin(SessionOptions::default());
    core.receive(writer, None, "ls\n".into(), START).unwrap();
    core.resize(writer, TerminalSize::new(10, 10));
    core.resize(writer, TerminalSize::new(0, 9));
    core.resize(writer, TerminalSize::new(99, 9));
    assert_eq!((core.take_input(9), core.poll_action()), (None, None));
    start(&mut core);
    assert_eq!(
        core.poll_action(),
        Some(Action::Resize(TerminalSize::new(99, 9)))
    );
    assert_eq!(core.poll_action(), None);
    assert_eq!(core.take_input(9).unwrap(), "ls\n");
}

#[test]
fn the_input_is_closed_behind_its_last_byte() {
    let (mut core, writer) = begin(SessionOptions::default());
    start(&mut core);
    core.receive(writer, None, "ab".into(), START).unwrap();
    core.end_input(writer, None).unwrap();
    assert_eq!(core.poll_action(), None);
    core.take_input(9).unwrap();
    core.input_written(2);
    assert_eq!(core.poll_action(), Some(Action::CloseInput));
    assert_eq!(core.poll_action(), None);
}

#[test]
fn the_end_waits_for_output_and_exit_and_is_told_last() {
    let (mut core, writer) = begin(SessionOptions::default());
    start(&mut core);
    core.exited(ExitStatus::signaled(Signal::KILL), START);
    core.output(OutputKind::Stdout, b"last words", START);
    assert!(core.end().is_none());
    core.output_ended(START);
    assert!(matches!(
        core.poll_event(writer, START),
        Some(ViewerEvent::Output { .. })
    ));
    let Some(ViewerEvent::Ended(end)) = core.poll_event(writer, START) else {
        panic!("the end is told");
    };
    assert_eq!(
        (end.reason, end.code, end.signal),
        (EndReason::Signaled, Some(137), Some(Signal::KILL))
    );
    assert_eq!(core.poll_event(writer, START), None);
}

#[test]
fn an_end_that_is_never_learnt_is_lost_and_has_no_code() {
    let (mut core, _) = begin(SessionOptions::default());
    start(&mut core);
    core.output_ended(START);
    let deadline = core.next_deadline(START).unwrap();
    core.handle_deadline(deadline);
    assert_eq!(
        (ended(&core).reason, ended(&core).code),
        (EndReason::Lost, None)
    );
}

#[test]
fn output_that_is_held_open_ends_with_the_process_and_not_before_it_was_read() {
    let (mut core, writer) = begin(SessionOptions::default().with_log(1024));
    start(&mut core);
    core.output(OutputKind::Stdout, &[0; 1024], START);
    core.exited(ExitStatus::exited(0), START);
    // The client is slow, so the process's output may not have been read to its end.
    core.handle_deadline(later(60));
    assert!(core.end().is_none());
    assert!(core.poll_event(writer, later(60)).is_some());
    core.acknowledge(writer, 1024, later(60)).unwrap();
    core.output(OutputKind::Stdout, b"more", later(61));
    core.handle_deadline(later(70));
    assert!(core.end().is_none());
    core.handle_deadline(later(71));
    assert!(ended(&core).is_success());
}

#[track_caller]
fn check_limit(options: SessionOptions, seconds: u64, reason: EndReason) {
    let (mut core, _) = begin(options);
    start(&mut core);
    core.handle_deadline(later(seconds - 1));
    assert_eq!(core.poll_action(), None);
    assert!(core.next_deadline(START).unwrap() <= later(seconds));
    core.handle_deadline(later(seconds));
    assert_eq!(core.poll_action(), Some(Action::Close));
    core.exited(ExitStatus::signaled(Signal::HUP), later(seconds));
    core.output_ended(later(seconds));
    // The process's own code is told beside the reason.
    assert_eq!(
        (ended(&core).reason, ended(&core).code),
        (reason, Some(129))
    );
}

#[test]
fn times_are_limited() {
    let options = || SessionOptions::default().with_recheck(Duration::from_secs(9999));
    check_limit(
        options().with_idle(Duration::from_secs(30)),
        30,
        EndReason::Idle,
    );
    check_limit(
        options().with_longest(Duration::from_secs(60)),
        60,
        EndReason::MaxDuration,
    );
}

#[test]
fn input_and_output_are_activity() {
    let options = SessionOptions::default().with_idle(Duration::from_secs(30));
    let (mut core, writer) = begin(options);
    start(&mut core);
    core.receive(writer, None, "x".into(), later(20)).unwrap();
    core.handle_deadline(later(40));
    core.output(OutputKind::Stdout, b"x", later(45));
    core.handle_deadline(later(74));
    assert_eq!(core.poll_action(), None);
    core.handle_deadline(later(75));
    assert_eq!(core.poll_action(), Some(Action::Close));
}

#[test]
fn a_client_that_stays_away_loses_its_session() {
    let grace = Duration::from_secs(5);
    let (mut core, writer) = begin(SessionOptions::default().with_grace(grace));
    start(&mut core);
    core.detach(writer, START);
    core.handle_deadline(later(4));
    let writer = core.attach(Role::Writer, Some(0), later(4)).unwrap();
    core.handle_deadline(later(60));
    assert_eq!(core.poll_action(), None);
    core.detach(writer, later(60));
    core.handle_deadline(later(65));
    assert_eq!(core.poll_action(), Some(Action::Close));
    core.output_ended(later(65));
    core.handle_deadline(later(75));
    assert_eq!(ended(&core).reason, EndReason::Lost);
    // And the end is kept as long again.
    assert!(!core.is_over(later(79)) && core.is_over(later(80)));
}

#[test]
fn without_grace_a_session_ends_with_its_connection() {
    let (mut core, writer) = begin(SessionOptions::default().with_grace(Duration::ZERO));
    start(&mut core);
    core.detach(writer, START);
    assert_eq!(core.poll_action(), Some(Action::Close));
    core.exited(ExitStatus::signaled(Signal::HUP), START);
    core.output_ended(START);
    assert!(core.is_over(START));
}

#[test]
fn watchers_only_watch() {
    let (mut core, writer) = begin(SessionOptions::default());
    let watcher = core.attach(Role::Watcher, None, START).unwrap();
    start(&mut core);
    assert_eq!(core.receive(watcher, None, "rm".into(), START).unwrap(), "");
    core.signal(watcher, Signal::KILL, START);
    core.release(watcher, START);
    core.resize(watcher, TerminalSize::new(1, 1));
    assert_eq!((core.take_input(9), core.poll_action()), (None, None));
    assert_eq!(
        core.poll_event(watcher, START),
        Some(ViewerEvent::Notice(Notice::ReadOnly))
    );
    assert_eq!(
        core.grant(watcher, watcher).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    core.grant(writer, watcher).unwrap();
    assert_eq!(
        core.receive(watcher, None, "ls".into(), START).unwrap(),
        "ls"
    );
    assert_eq!(core.receive(writer, None, "rm".into(), START).unwrap(), "");
    // The right goes back to who holds the session, as long as that one is here.
    core.detach(watcher, START);
    assert_eq!(
        core.receive(writer, None, "ls".into(), START).unwrap(),
        "ls"
    );
    core.detach(writer, START);
    assert!(!core.has_writer());
}

#[test]
fn a_moderated_session_takes_input_while_an_approver_is_there() {
    let (mut core, writer) = begin(SessionOptions::default().with_moderation());
    assert_eq!(
        core.poll_event(writer, START),
        Some(ViewerEvent::Notice(Notice::InputHeld))
    );
    start(&mut core);
    core.receive(writer, None, "ls".into(), START).unwrap();
    assert_eq!(core.take_input(9), None);
    let approver = core.attach(Role::Approver, None, START).unwrap();
    assert_eq!(core.take_input(9).unwrap(), "ls");
    assert_eq!(
        core.poll_event(writer, START),
        Some(ViewerEvent::Notice(Notice::InputReleased))
    );
    core.receive(writer, None, "rm".into(), START).unwrap();
    core.detach(approver, START);
    assert_eq!(core.take_input(9), None);
}

/// Whatever way the right to write is lost: what waited does not go through because its author may
/// approve again.
#[test]
fn nobody_approves_what_they_typed_themselves() {
    type Way = fn(&mut SessionCore, ViewerId, ViewerId);
    let ways: [Way; 5] = [
        |core, ann, bob| core.grant(bob, ann).unwrap(),
        |core, ann, _| core.take_back(ann).unwrap(),
        |core, ann, _| core.grant_from_outside(ann).unwrap(),
        |core, _, _| assert!(core.attach(Role::Writer, Some(0), START).is_ok()),
        |core, _, bob| {
            core.detach(bob, START);
            core.attach(Role::Approver, None, START).unwrap();
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let (mut core, ann) = begin(SessionOptions::default().with_moderation());
        start(&mut core);
        let bob = core.attach(Role::Approver, None, START).unwrap();
        core.receive(ann, None, "ls\n".into(), START).unwrap();
        assert_eq!(core.take_input(9).unwrap(), "ls\n");
        core.grant(ann, bob).unwrap();
        core.receive(bob, None, "rm\n".into(), START).unwrap();
        assert_eq!(core.take_input(9), None);
        way(&mut core, ann, bob);
        assert_eq!(core.take_input(9), None, "way {number}");
        // It counts as taken, and what comes behind it goes through, but for what is being written.
        core.input_written(3);
        assert_eq!(core.input_room(), SessionOptions::default().input);
        let mut here = core.connections().into_iter();
        let (writer, _) = here.find(|(_, role)| *role == Role::Writer).unwrap();
        core.receive(writer, Some(6), "id\n".into(), START).unwrap();
        assert_eq!(core.take_input(9).unwrap(), "id\n", "way {number}");
    }
    // Who comes back to a session finds what it typed, and waits for leave, as it was.
    let (mut core, ann) = begin(SessionOptions::default().with_moderation());
    start(&mut core);
    core.receive(ann, None, "ls".into(), START).unwrap();
    core.detach(ann, START);
    core.attach(Role::Writer, Some(0), START).unwrap();
    core.attach(Role::Approver, None, START).unwrap();
    assert_eq!(core.take_input(9).unwrap(), "ls");
}

#[test]
fn a_second_connection_of_the_same_person_approves_nothing() {
    let mut core = SessionCore::new(SessionOptions::default().with_moderation(), START);
    let as_who = |core: &mut SessionCore, role, who| {
        core.attach_as(role, Some(who), Some(0), START).unwrap()
    };
    let ann = as_who(&mut core, Role::Writer, "ann");
    start(&mut core);
    as_who(&mut core, Role::Approver, "ann");
    core.receive(ann, None, "a".into(), START).unwrap();
    assert_eq!(core.take_input(9), None);
    // Nor when the first one has gone.
    core.detach(ann, START);
    assert_eq!(core.take_input(9), None);
    let ann = as_who(&mut core, Role::Writer, "ann");
    let bob = as_who(&mut core, Role::Approver, "bob");
    assert_eq!(core.take_input(9).unwrap(), "a");
    as_who(&mut core, Role::Approver, "bob");
    core.detach(ViewerId(1), START);
    core.grant(ann, bob).unwrap();
    core.receive(bob, None, "b".into(), START).unwrap();
    assert_eq!(core.take_input(9), None);
    as_who(&mut core, Role::Approver, "eve");
    assert_eq!(core.take_input(9).unwrap(), "b");
}

#[test]
fn the_last_word_on_who_writes_is_never_left_out() {
    let (mut core, ann) = begin(SessionOptions::default());
    start(&mut core);
    let bob = core.attach(Role::Approver, None, START).unwrap();
    for _ in 0..20 {
        core.attach(Role::Watcher, None, START).unwrap_or(bob);
        core.tell(ann, Notice::SignalFailed);
        core.tell(ann, Notice::NotGranted);
    }
    core.grant(ann, bob).unwrap();
    core.grant(ann, ann).unwrap();
    core.grant(ann, bob).unwrap();
    let told: Vec<_> = std::iter::from_fn(|| core.poll_event(ann, START)).collect();
    let rights: Vec<_> = told
        .iter()
        .filter(|it| {
            let rights =
                |notice: &Notice| matches!(notice, Notice::MayWrite { .. } | Notice::ReadOnly);
            matches!(it, ViewerEvent::Notice(notice) if rights(notice))
        })
        .collect();
    assert_eq!(rights, [&ViewerEvent::Notice(Notice::ReadOnly)]);
    core.grant(ann, ann).unwrap();
    let may = ViewerEvent::Notice(Notice::MayWrite { next_input: 0 });
    assert_eq!(core.poll_event(ann, START), Some(may));
}

#[test]
fn who_comes_back_is_told_who_is_there_and_whose_the_input_is() {
    let (mut core, ann) = begin(SessionOptions::default());
    start(&mut core);
    let bob = core.attach(Role::Approver, None, START).unwrap();
    core.grant(ann, bob).unwrap();
    core.receive(bob, None, "ls".into(), START).unwrap();
    core.detach(ann, START);
    assert_eq!(core.own_input(), 0);
    let back = core.attach(Role::Writer, Some(0), START).unwrap();
    assert_eq!((core.own_input(), core.next_input()), (2, 2));
    let told: Vec<_> = std::iter::from_fn(|| core.poll_event(back, START)).collect();
    assert!(
        told.contains(&ViewerEvent::Notice(Notice::Joined(bob))),
        "{told:?}"
    );
    // Also when the other has left before.
    core.grant(back, bob).unwrap();
    core.receive(bob, None, "ls".into(), START).unwrap();
    core.detach(back, START);
    core.detach(bob, START);
    core.attach(Role::Writer, Some(0), START).unwrap();
    assert_eq!(core.own_input(), 4);
    // What the owner types is its own.
    let owner = core.attach(Role::Writer, Some(0), START).unwrap();
    core.receive(owner, None, "id".into(), START).unwrap();
    core.detach(owner, START);
    core.attach(Role::Writer, Some(0), START).unwrap();
    assert_eq!(core.own_input(), 4);
}

/// Ann has granted Bob the right to write.
fn lent(options: SessionOptions) -> (SessionCore, ViewerId, ViewerId) {
    let (mut core, ann) = begin(options);
    start(&mut core);
    let bob = core.attach(Role::Approver, None, START).unwrap();
    core.grant(ann, bob).unwrap();
    (core, ann, bob)
}

#[test]
fn a_session_is_its_owners_to_end() {
    // Also while another writes.
    let (mut core, ann, _) = lent(SessionOptions::default());
    core.release(ann, START);
    assert_eq!(core.poll_action(), Some(Action::Close));
    // Who only looks may not.
    let (mut core, _, bob) = lent(SessionOptions::default());
    let eve = core.attach(Role::Watcher, None, START).unwrap();
    core.release(eve, START);
    assert_eq!(core.poll_action(), None);
    // What an heir ends is kept for the owner, with its last words.
    core.output(OutputKind::Stdout, b"last", START);
    core.exited(ExitStatus::exited(3), START);
    core.output_ended(START);
    core.release(bob, START);
    for id in [0, 1, 2].map(ViewerId) {
        while core.poll_event(id, START).is_some() {}
        core.detach(id, START);
    }
    assert!(!core.is_over(START));
    let ann = core.attach(Role::Writer, Some(0), START).unwrap();
    let told: Vec<_> = std::iter::from_fn(|| core.poll_event(ann, START)).collect();
    let Some(ViewerEvent::Ended(end)) = told.last() else {
        panic!("{told:?}");
    };
    assert_eq!(end.code, Some(3));
    core.release(ann, START);
    assert!(core.is_over(START));
}

#[test]
fn the_grace_time_is_that_of_the_owners_absence() {
    let options = SessionOptions::default().with_grace(Duration::from_secs(60));
    let (mut core, ann, bob) = lent(options);
    core.detach(ann, later(10));
    core.detach(bob, later(40));
    assert_eq!(core.next_deadline(later(40)), Some(later(70)));
    core.handle_deadline(later(69));
    assert_eq!(core.poll_action(), None);
    core.handle_deadline(later(70));
    assert_eq!(core.poll_action(), Some(Action::Close));
    // Nobody else keeps it for longer.
    let (mut core, ann, bob) = lent(options);
    core.detach(ann, later(10));
    core.receive(bob, None, "ls".into(), later(69)).unwrap();
    core.handle_deadline(later(70));
    assert_eq!(core.poll_action(), Some(Action::Close));
    // Who gets the right while the owner is away does not either, and who comes back ends the wait.
    let (mut core, ann, bob) = lent(options);
    core.take_back(ann).unwrap();
    core.detach(ann, later(10));
    core.grant_from_outside(bob).unwrap();
    core.attach(Role::Writer, Some(0), later(50)).unwrap();
    core.handle_deadline(later(200));
    assert_eq!(core.poll_action(), None);
    // Without grace it ends with the owner's connection, and with no other.
    let (mut core, ann, bob) = lent(options.with_grace(Duration::ZERO));
    core.detach(bob, START);
    assert_eq!(core.poll_action(), None);
    let bob = core.attach(Role::Approver, None, START).unwrap();
    core.grant(ann, bob).unwrap();
    core.detach(ann, START);
    assert_eq!(core.poll_action(), Some(Action::Close));
}

#[cfg(feature = "gateway")]
#[test]
fn an_owner_whose_leave_ends_reads_on_no_more_whoever_writes() {
    let (mut core, ann, bob) = lent(SessionOptions::default());
    assert!(!core.is_barred(ann));
    core.not_authorized(&Error::new(ErrorKind::PermissionDenied, "no"), START);
    assert!(core.is_barred(ann));
    assert!(!core.is_barred(bob), "their leave is their own");
}

#[test]
fn unacknowledged_output_is_bounded_by_the_window() {
    let (mut core, writer) = begin(SessionOptions::default());
    start(&mut core);
    let mut sent = 0;
    for _ in 0..100 {
        core.output(OutputKind::Stdout, &vec![0; core.output_room()], START);
        while let Some(ViewerEvent::Output { bytes, .. }) = core.poll_event(writer, START) {
            sent += bytes.len() as u64;
        }
    }
    assert_eq!(sent, 64 << 10);
    core.acknowledge(writer, 100, START).unwrap();
    assert!(core.poll_event(writer, START).is_some());
    assert_eq!(
        core.acknowledge(writer, 1 << 40, START).unwrap_err().kind(),
        ErrorKind::Protocol
    );
}

#[test]
fn a_paused_client_makes_the_process_wait_and_misses_nothing() {
    let (mut core, writer) = begin(SessionOptions::default().with_log(4096));
    start(&mut core);
    core.set_paused(writer, true);
    core.output(OutputKind::Stdout, &[1; 4096], START);
    assert_eq!(
        (core.output_room(), core.poll_event(writer, START)),
        (0, None)
    );
    core.set_paused(writer, false);
    let Some(ViewerEvent::Output { bytes, .. }) = core.poll_event(writer, START) else {
        panic!("it goes on");
    };
    assert_eq!(bytes.len(), 4096);
}

#[test]
fn output_that_alternates_byte_by_byte_never_stands_still() {
    let options = SessionOptions::default()
        .with_log(1024)
        .with_history(1 << 20);
    let (mut core, writer) = begin(options);
    start(&mut core);
    for step in 0..10_000 {
        let kind = [OutputKind::Stdout, OutputKind::Stderr][step % 2];
        assert!(core.output_room() > 0, "{step}");
        core.output(kind, b"x", START);
        while core.poll_event(writer, START).is_some() {}
        core.acknowledge(writer, step as u64 + 1, START).unwrap();
    }
}

#[test]
fn an_interrupt_drops_what_was_not_sent() {
    let options = SessionOptions::default()
        .with_detached(WhileDetached::Live)
        .with_interrupt_flush();
    let (mut core, writer) = begin(options);
    start(&mut core);
    for _ in 0..32 {
        core.output(OutputKind::Stdout, &[0; 16 << 10], START);
    }
    core.receive(writer, None, "\u{3}".into(), START).unwrap();
    let gap = core.poll_event(writer, START).unwrap();
    let ViewerEvent::Gap {
        from: 0,
        to,
        cause: GapCause::Flushed,
    } = gap
    else {
        panic!("{gap:?}");
    };
    assert_eq!(to, 496 << 10);
    // What the program said before it heard of it is still on its way.
    let soon = START.after(Duration::from_millis(900));
    for _ in 0..8 {
        assert!(core.output_room() > 0, "it is not held up");
        core.output(OutputKind::Stdout, &[0; 16 << 10], soon);
    }
    let gap = core.poll_event(writer, soon).unwrap();
    assert!(
        matches!(gap, ViewerEvent::Gap { to, .. } if to == 624 << 10),
        "{gap:?}"
    );
    // Later output is an answer.
    let later = START.after(Duration::from_secs(2));
    for _ in 0..4 {
        core.output(OutputKind::Stdout, &[0; 16 << 10], later);
    }
    let next = core.poll_event(writer, later).unwrap();
    assert!(
        matches!(next, ViewerEvent::Output { offset, .. } if offset == 624 << 10),
        "{next:?}"
    );
}

#[test]
fn a_process_is_not_far_ahead_of_who_is_here() {
    let (mut core, writer) = begin(SessionOptions::default());
    start(&mut core);
    let mut ahead = 0;
    while core.output_room() > 0 {
        let room = core.output_room();
        core.output(OutputKind::Stdout, &vec![0; room], START);
        ahead += room;
    }
    assert_eq!(ahead, 64 << 10);
    // For whoever comes back, all of the log is filled.
    core.detach(writer, START);
    while core.output_room() > 0 {
        let room = core.output_room();
        core.output(OutputKind::Stdout, &vec![0; room], START);
        ahead += room;
    }
    assert_eq!(ahead, 2 << 20);
}

/// Prints as much as may be, up to a limit, into a record with so much room; gives how much.
fn print_recorded(core: &mut SessionCore, mut printed: u64, most: u64, room: u64) -> u64 {
    while printed < most && core.output_room() > 0 {
        let piece = core.output_room();
        printed += piece as u64;
        let left = room.saturating_sub(printed);
        core.recorded(Some(RecordReach::new(printed, left)));
        core.output(OutputKind::Stdout, &vec![0; piece], START);
    }
    printed
}

#[test]
fn who_takes_what_it_missed_from_the_record_is_not_waited_for() {
    let options = || SessionOptions::default().with_log(64 << 10);
    let (mut core, writer) = begin(options());
    start(&mut core);
    core.accept_refills(writer);
    core.detach(writer, START);
    assert!(print_recorded(&mut core, 0, 1 << 20, 1 << 30) >= 1 << 20);
    assert!(core.kept() <= 64 << 10, "{}", core.kept());
    // The newest is in memory; what lies before it comes from the record.
    let back = core.attach(Role::Writer, Some(1000), START).unwrap();
    let gap = core.poll_event(back, START);
    let Some(ViewerEvent::Notice(Notice::Started)) = gap else {
        panic!("{gap:?}");
    };
    let gap = core.poll_event(back, START).unwrap();
    assert!(
        matches!(gap, ViewerEvent::Gap { from: 1000, to, .. } if to == core.output_range().0),
        "{gap:?}"
    );
    // While it is here the process waits for it again.
    let head = core.output_range().1;
    print_recorded(&mut core, head, u64::MAX, 1 << 30);
    assert!(core.output_range().1 <= head + (64 << 10));
    assert_eq!(core.output_room(), 0);

    // A record is not filled to its brim, and not counted on by who does not read it.
    let (mut core, writer) = begin(options());
    start(&mut core);
    core.accept_refills(writer);
    core.detach(writer, START);
    let printed = print_recorded(&mut core, 0, u64::MAX, 1 << 20);
    assert!((500 << 10..=900 << 10).contains(&printed), "{printed}");
    let (mut core, writer) = begin(options());
    start(&mut core);
    core.detach(writer, START);
    assert_eq!(print_recorded(&mut core, 0, u64::MAX, 1 << 30), 64 << 10);
    // And not where nobody says that there is one.
    let (mut core, writer) = begin(options());
    start(&mut core);
    core.accept_refills(writer);
    core.detach(writer, START);
    while core.output_room() > 0 {
        core.recorded(None);
        core.output(OutputKind::Stdout, &[0; 1024], START);
    }
    assert_eq!(core.output_range(), (0, 64 << 10));
}

#[test]
fn bandwidth_is_limited() {
    let (mut core, writer) = begin(SessionOptions::default().with_bandwidth(1024));
    start(&mut core);
    core.output(OutputKind::Stdout, &[0; 8192], START);
    let mut got = 0;
    let mut now = START;
    for _ in 0..4000 {
        now = now.after(Duration::from_millis(1));
        while let Some(ViewerEvent::Output { bytes, .. }) = core.poll_event(writer, now) {
            got += bytes.len();
            core.acknowledge(writer, got as u64, now).unwrap();
        }
    }
    assert!((5_000..=5_130).contains(&got), "{got}");
    assert!(core.next_output(writer).is_some());
}

#[test]
fn leave_is_asked_again_and_a_refusal_ends_the_session() {
    let (mut core, _) = begin(SessionOptions::default());
    start(&mut core);
    core.authorized(Some(Duration::from_secs(20)), START);
    core.handle_deadline(later(19));
    assert_eq!(core.poll_action(), None);
    core.handle_deadline(later(20));
    assert_eq!(core.poll_action(), Some(Action::Recheck));
    core.handle_deadline(later(25));
    assert_eq!(core.poll_action(), None);
    core.authorized(None, later(25));
    core.handle_deadline(later(325));
    assert_eq!(core.poll_action(), Some(Action::Recheck));
    // Somebody who can't be asked is asked again, three times at most.
    core.not_authorized(&Error::unavailable("down"), later(325));
    core.handle_deadline(later(326));
    assert_eq!(core.poll_action(), Some(Action::Recheck));
    core.not_authorized(&Error::unavailable("down"), later(326));
    core.handle_deadline(later(327));
    assert_eq!(core.poll_action(), Some(Action::Recheck));
    core.not_authorized(&Error::new(ErrorKind::PermissionDenied, "no"), later(327));
    assert_eq!(core.poll_action(), Some(Action::Close));
    core.exited(ExitStatus::exited(0), later(327));
    core.output_ended(later(327));
    assert_eq!(ended(&core).reason, EndReason::AuthExpired);
    assert!(!ended(&core).is_success());
}

/// Also by a process that does not end, and says so for ever.
#[test]
fn that_a_session_is_being_ended_is_told_soon_and_its_end_is_bounded() {
    let (mut core, writer) = begin(SessionOptions::default());
    start(&mut core);
    let watcher = core.attach(Role::Watcher, None, START).unwrap();
    let end = SessionEnd::new(EndReason::EndedByOperator).with_text("maintenance");
    assert!(core.terminate(end.clone(), START));
    assert!(!core.terminate(SessionEnd::new(EndReason::Idle), START));
    // Most ends are quick, and not worth a word before.
    assert_eq!(core.poll_event(writer, START), None);
    assert_eq!(core.next_deadline(START), Some(later(1)));
    core.handle_deadline(later(1));
    for id in [writer, watcher] {
        let told = Some(ViewerEvent::Ending(end.clone()));
        assert_eq!(core.poll_event(id, later(1)), told);
        assert_eq!(core.poll_event(id, later(1)), None);
    }
    let mut now = 1;
    while core.end().is_none() {
        core.output(OutputKind::Stdout, b"I stay. ", later(now));
        now += 1;
        core.handle_deadline(later(now));
        assert!(now <= 10, "it has not ended after {now} seconds");
    }
    assert_eq!(ended(&core), end);
}

/// Whoever ended it knows.
#[test]
fn who_gives_a_session_up_is_not_told_that_it_ends() {
    let (mut core, writer) = begin(SessionOptions::default());
    start(&mut core);
    let watcher = core.attach(Role::Watcher, None, START).unwrap();
    core.release(writer, START);
    core.handle_deadline(later(1));
    assert_eq!(core.poll_event(writer, later(1)), None);
    let told = core.poll_event(watcher, later(1));
    assert!(matches!(told, Some(ViewerEvent::Ending(_))), "{told:?}");
}

#[test]
fn connections_are_limited_and_who_takes_over_is_not_refused() {
    let (mut core, _) = begin(SessionOptions::default().with_viewers(2));
    core.attach(Role::Watcher, None, START).unwrap();
    let full = core.attach(Role::Watcher, None, START).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::ResourceExhausted);
    core.attach(Role::Writer, Some(0), START).unwrap();
    let ahead = core.attach(Role::Writer, Some(9), START).unwrap_err();
    assert_eq!(ahead.kind(), ErrorKind::Protocol);
}

#[test]
fn how_much_input_was_taken_is_told_again_to_whoever_comes_back() {
    let (mut core, writer) = begin(SessionOptions::default());
    start(&mut core);
    while core.poll_event(writer, START).is_some() {}
    core.receive(writer, None, "typed".into(), START).unwrap();
    let taken = core.take_input(100).unwrap().len();
    core.input_written(taken);
    assert_eq!(
        core.poll_event(writer, START),
        Some(ViewerEvent::InputTaken(5))
    );
    // The word may have been lost with the connection: without it the client would wait for ever.
    core.detach(writer, START);
    let again = core.attach(Role::Writer, Some(0), START).unwrap();
    let mut told = Vec::new();
    while let Some(event) = core.poll_event(again, START) {
        told.push(event);
    }
    assert!(told.contains(&ViewerEvent::InputTaken(5)), "{told:?}");
}
