//! The rules of a [`RecordStore`].

use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{ErrorKind, OutputKind, Result, TerminalSize};
use longshore_exec::{
    record::{
        CommandQuery, RecordLimits, RecordStore, Retention, SessionQuery, SessionStatus, WhenFull,
        log::LogEntry,
    },
    session::{RecordEvent, Recorder, RecordingSource, RuleAction, RuleHit},
};

use crate::scene::{about, at, ended, id, opened, output, record};

/// What the tests of a store need.
pub(crate) trait Harness {
    type Store: RecordStore + Clone;

    /// An empty store; called once.
    fn store(&self, limits: RecordLimits) -> Self::Store;
}

/// Makes one test of each rule.
#[macro_export]
macro_rules! record_suite {
    ($harness:expr) => {
        $crate::record_suite!($harness, [
            what_was_recorded_is_read_back,
            replay_gives_the_output_with_its_times,
            a_session_is_opened_once_and_first,
            nothing_follows_the_end,
            the_index_finds_sessions,
            the_index_finds_where_what_and_until_when,
            pages_are_newest_first,
            commands_are_guessed_from_recorded_input,
            a_session_that_goes_on_can_be_read,
            the_chain_is_checked_against_a_head,
            a_full_record_says_so_and_fails,
            a_full_record_may_be_stopped_instead,
            a_record_says_how_far_it_goes,
            nothing_is_removed_unless_asked_for,
            the_oldest_that_ended_are_removed_if_asked_for,
            concurrent_sessions_do_not_mix,
        ]);
    };
    ($harness:expr, [$($rule:ident),* $(,)?]) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                $crate::suite::$rule(&$harness).await;
            }
        )*
    };
}

async fn entries(store: &dyn RecordStore, session: &str) -> Vec<LogEntry> {
    let events = store.events(&id(session)).await.unwrap();
    events.map(Result::unwrap).collect().await
}

fn everything() -> Vec<RecordEvent> {
    vec![
        opened("alice", "shop"),
        output(0, b"\0\xff\x1b[31m"),
        RecordEvent::Output {
            offset: 7,
            kind: OutputKind::Stderr,
            bytes: Bytes::from_static(b"oops"),
        },
        RecordEvent::Input(Bytes::from_static(b"ls\r")),
        RecordEvent::InputHidden,
        RecordEvent::Hit(RuleHit::new("halt", RuleAction::Alert)),
        RecordEvent::Resize(TerminalSize::new(120, 40)),
        ended(),
    ]
}

pub(crate) async fn what_was_recorded_is_read_back(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    record(&store, "s", 100, &everything()).await;
    let entries = entries(&store, "s").await;
    let events: Vec<_> = entries.iter().map(|entry| entry.event.clone()).collect();
    assert_eq!(events, everything());
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(
            (entry.sequence, entry.at),
            (number as u64, at(100 + number as u64))
        );
    }
    let summary = store.session(&id("s")).await.unwrap();
    assert_eq!(
        (summary.status, summary.records, summary.hits),
        (SessionStatus::Inactive, 8, 1)
    );
    assert_eq!(
        (summary.created_at, summary.ended_at),
        (at(100), Some(at(107)))
    );
    assert_eq!(
        store.events(&id("none")).await.err().unwrap().kind(),
        ErrorKind::NotFound
    );
}

pub(crate) async fn replay_gives_the_output_with_its_times(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    record(&store, "s", 100, &everything()).await;
    let pieces: Vec<_> = store
        .open(&id("s"))
        .await
        .unwrap()
        .map(Result::unwrap)
        .collect()
        .await;
    let seen: Vec<_> = pieces
        .iter()
        .map(|piece| (piece.at.as_secs(), piece.kind, &piece.bytes[..]))
        .collect();
    assert_eq!(
        seen,
        [
            (1, OutputKind::Stdout, &b"\0\xff\x1b[31m"[..]),
            (2, OutputKind::Stderr, b"oops"),
        ]
    );
    assert_eq!(
        store.open(&id("none")).await.err().unwrap().kind(),
        ErrorKind::NotFound
    );
}

pub(crate) async fn a_session_is_opened_once_and_first(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    let early = store
        .record(&id("s"), at(1), &output(0, b"x"))
        .await
        .unwrap_err();
    assert_eq!(early.kind(), ErrorKind::NotFound);
    record(&store, "s", 1, &[opened("alice", "shop")]).await;
    let again = store
        .record(&id("s"), at(2), &opened("bob", "shop"))
        .await
        .unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        store.session(&id("s")).await.unwrap().about.who.subject,
        "alice"
    );
}

pub(crate) async fn nothing_follows_the_end(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    record(&store, "s", 1, &[opened("alice", "shop"), ended()]).await;
    for event in [output(0, b"x"), ended()] {
        let late = store.record(&id("s"), at(3), &event).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Closed);
    }
    assert_eq!(entries(&store, "s").await.len(), 2);
}

async fn names(store: &dyn RecordStore, query: SessionQuery) -> Vec<String> {
    let found = store.sessions(&query).await.unwrap();
    found
        .into_iter()
        .map(|summary| summary.session.into())
        .collect()
}

pub(crate) async fn the_index_finds_sessions(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    record(
        &store,
        "a",
        10,
        &[opened("alice@example.com", "shop"), ended()],
    )
    .await;
    record(
        &store,
        "b",
        20,
        &[opened("bob@example.com", "shop"), ended()],
    )
    .await;
    record(&store, "c", 30, &[opened("alice@example.com", "blog")]).await;
    let all = SessionQuery::default();
    assert_eq!(names(&store, all.clone()).await, ["c", "b", "a"]);
    assert_eq!(
        names(&store, all.clone().with_patterns("alice%", "")).await,
        ["c", "a"]
    );
    assert_eq!(
        names(&store, all.clone().with_patterns("%", "sh_p")).await,
        ["b", "a"]
    );
    assert_eq!(
        names(&store, all.clone().with_patterns("alice", "")).await,
        [""; 0]
    );
    assert_eq!(
        names(&store, all.clone().with_since(at(20))).await,
        ["c", "b"]
    );
    assert_eq!(names(&store, all.clone().with_session("b")).await, ["b"]);
    assert_eq!(names(&store, all.clone().with_session("%")).await, [""; 0]);
    let status = |summary: longshore_exec::record::SessionSummary| summary.status;
    let found: Vec<_> = store
        .sessions(&all)
        .await
        .unwrap()
        .into_iter()
        .map(status)
        .collect();
    let over = SessionStatus::Inactive;
    assert_eq!(found, [SessionStatus::Active, over, over]);
}

pub(crate) async fn the_index_finds_where_what_and_until_when(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    let opened = |place: &str, container: &str, node: Option<&str>, command: &str| {
        let mut about = about("alice", "");
        about.origin = about.origin.with_place(place);
        about.origin.node = node.map(str::to_owned);
        about.container = container.to_owned();
        let words = command.split(' ').map(str::to_owned).collect();
        about.commands = vec![vec!["no-such-shell".to_owned()], words];
        RecordEvent::Opened(Box::new(about))
    };
    let tar = opened("web", "c0ffee", Some("node-1"), "tar -c /etc");
    record(&store, "a", 10, &[tar, ended()]).await;
    let bash = opened("shop/web/1", "decaf", Some("node-2"), "bash -l");
    record(&store, "b", 20, &[bash, ended()]).await;
    let top = opened("web", "feed", None, "top");
    record(&store, "c", 30, &[top, ended()]).await;
    let all = SessionQuery::default();
    let at_place = |container: &str, node: &str| all.clone().with_place(container, node);
    // As its engine knows it, or as it was asked for.
    assert_eq!(names(&store, at_place("c0f%", "")).await, ["a"]);
    assert_eq!(names(&store, at_place("WEB", "")).await, ["c", "a"]);
    assert_eq!(names(&store, at_place("shop/%", "")).await, ["b"]);
    assert_eq!(names(&store, at_place("", "node-_")).await, ["b", "a"]);
    assert_eq!(names(&store, at_place("web", "node-1")).await, ["a"]);
    assert_eq!(names(&store, at_place("web", "node-2")).await, [""; 0]);
    let runs = |command: &str| all.clone().with_command(command);
    assert_eq!(names(&store, runs("tar%/etc")).await, ["a"]);
    assert_eq!(names(&store, runs("bash -l")).await, ["b"]);
    assert_eq!(names(&store, runs("bash")).await, [""; 0]);
    assert_eq!(names(&store, runs("no-such-%")).await, ["c", "b", "a"]);
    let until = |seconds| all.clone().with_until(at(seconds));
    assert_eq!(names(&store, until(30)).await, ["b", "a"]);
    assert_eq!(names(&store, until(10)).await, [""; 0]);
    let between = until(30).with_since(at(20));
    assert_eq!(names(&store, between.clone()).await, ["b"]);
    assert_eq!(names(&store, between.with_command("t%")).await, [""; 0]);
    // The page is of what was found.
    assert_eq!(names(&store, until(30).with_page(1, 1)).await, ["a"]);
}

pub(crate) async fn pages_are_newest_first(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    for number in 0..25_u64 {
        record(
            &store,
            &format!("s{number}"),
            number,
            &[opened("alice", "shop")],
        )
        .await;
    }
    let first = names(&store, SessionQuery::default()).await;
    assert_eq!(
        (first.len(), first[0].as_str(), first[19].as_str()),
        (20, "s24", "s5")
    );
    let second = names(&store, SessionQuery::default().with_page(3, 20)).await;
    assert_eq!(second, ["s4", "s3", "s2"]);
    assert_eq!(
        names(&store, SessionQuery::default().with_page(3, usize::MAX)).await,
        [""; 0]
    );
}

pub(crate) async fn commands_are_guessed_from_recorded_input(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    let line = |text: &'static str| RecordEvent::Input(Bytes::from_static(text.as_bytes()));
    let of_alice = [
        opened("alice", "shop"),
        line("lz\u{7f}s -l\r"),
        line("\r"),
        RecordEvent::InputHidden,
        line("make\r"),
    ];
    record(&store, "a", 10, &of_alice).await;
    record(
        &store,
        "b",
        20,
        &[opened("bob", "shop"), line("ls\r"), ended()],
    )
    .await;
    let find = async |query: CommandQuery| -> Vec<_> {
        let found = store.commands(&query).await.unwrap();
        found
            .into_iter()
            .map(|command| (String::from(command.session), command.content))
            .collect()
    };
    let of = |session: &str, text: &str| (session.to_owned(), text.to_owned());
    let all = SessionQuery::default();
    let every = [of("b", "ls"), of("a", "make"), of("a", "ls -l")];
    assert_eq!(find(CommandQuery::new(all.clone())).await, every);
    let ls = CommandQuery::new(all.clone()).with_content("ls%");
    assert_eq!(find(ls).await, [of("b", "ls"), of("a", "ls -l")]);
    // Later than, not at.
    assert_eq!(
        find(CommandQuery::new(all.clone().with_since(at(14)))).await,
        [of("b", "ls")]
    );
    assert_eq!(
        find(CommandQuery::new(all.clone().with_patterns("alice", "")))
            .await
            .len(),
        2
    );
    // At the time itself it is late.
    assert_eq!(
        find(CommandQuery::new(all.clone().with_until(at(14)))).await,
        [of("a", "ls -l")]
    );
    assert_eq!(
        find(CommandQuery::new(all.clone().with_place("%", "node-2"))).await,
        []
    );
    assert_eq!(
        find(CommandQuery::new(all.with_page(1, 1))).await,
        [of("a", "make")]
    );
}

pub(crate) async fn a_session_that_goes_on_can_be_read(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    record(
        &store,
        "s",
        1,
        &[opened("alice", "shop"), output(0, b"one")],
    )
    .await;
    assert_eq!(entries(&store, "s").await.len(), 2);
    assert!(!store.verify(&id("s"), None).await.unwrap().is_complete);
    store
        .record(&id("s"), at(5), &output(3, b"two"))
        .await
        .unwrap();
    assert_eq!(entries(&store, "s").await.len(), 3);
}

pub(crate) async fn the_chain_is_checked_against_a_head(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    record(&store, "s", 1, &everything()[..3]).await;
    let early = store.verify(&id("s"), None).await.unwrap().head;
    record(&store, "s", 4, &everything()[3..]).await;
    let verified = store.verify(&id("s"), Some(&early)).await.unwrap();
    assert!(verified.is_complete && verified.output == 11);
    let summary = store.session(&id("s")).await.unwrap();
    assert_eq!(
        (verified.head.records, verified.head.hash()),
        (summary.records, summary.head)
    );
    record(&store, "other", 1, &everything()).await;
    let other = store.verify(&id("other"), None).await.unwrap().head;
    let error = store.verify(&id("s"), Some(&other)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

const SMALL: u64 = 64 << 10;

pub(crate) async fn a_full_record_says_so_and_fails(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default().with_bytes(SMALL, u64::MAX));
    record(&store, "s", 1, &[opened("alice", "shop")]).await;
    let piece = [b'x'; 1000];
    let mut written = 0;
    let error = loop {
        match store
            .record(&id("s"), at(2), &output(written, &piece))
            .await
        {
            Ok(()) => written += 1000,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!((40_000..SMALL).contains(&written));
    store.record(&id("s"), at(3), &ended()).await.unwrap();
    let entries = entries(&store, "s").await;
    assert_eq!(entries[entries.len() - 2].event, RecordEvent::Full);
    let summary = store.session(&id("s")).await.unwrap();
    assert!(summary.is_cut && summary.bytes <= SMALL && summary.status == SessionStatus::Inactive);
}

pub(crate) async fn a_full_record_may_be_stopped_instead(harness: &impl Harness) {
    let limits = RecordLimits::default()
        .with_bytes(SMALL, u64::MAX)
        .with_when_full(WhenFull::Stop);
    let store = harness.store(limits);
    record(&store, "s", 1, &[opened("alice", "shop")]).await;
    for number in 0..200 {
        store
            .record(&id("s"), at(2), &output(number * 1000, &[b'x'; 1000]))
            .await
            .unwrap();
    }
    let full = entries(&store, "s")
        .await
        .iter()
        .filter(|entry| entry.event == RecordEvent::Full)
        .count();
    assert_eq!(full, 1);
    assert!(store.session(&id("s")).await.unwrap().bytes <= SMALL);
}

/// Never farther than it can be read, and with no more room than there is.
pub(crate) async fn a_record_says_how_far_it_goes(harness: &impl Harness) {
    let limits = RecordLimits::default()
        .with_bytes(SMALL, 640_000)
        .with_when_full(WhenFull::Stop);
    let store = harness.store(limits);
    let reach = |session: &str| {
        let reach = store.reach(&id(session))?;
        Some((reach.whole_to, reach.room))
    };
    assert_eq!(reach("s"), None);
    record(&store, "s", 1, &[opened("alice", "shop")]).await;
    let (whole_to, room) = reach("s").unwrap();
    assert!(whole_to == 0 && (30_000..SMALL).contains(&room), "{room}");
    let piece = [b'x'; 1000];
    record(&store, "s", 2, &[output(0, &piece), output(1000, &piece)]).await;
    let after = reach("s").unwrap();
    assert_eq!(after.0, 2000);
    assert!(after.1 <= room - 2000, "{after:?}");
    // What does not follow on that is no use to who wants all of it.
    record(&store, "s", 4, &[output(5000, &piece)]).await;
    assert_eq!(reach("s").unwrap().0, 2000);
    // All that there is said to be room for fits, within the bound of all records, too.
    record(&store, "t", 5, &[opened("bob", "shop")]).await;
    let (mut written, mut said) = (0, u64::MAX);
    while reach("t").unwrap().1 > 2 * 1000 {
        let room = reach("t").unwrap().1;
        assert!(room < said);
        said = room;
        record(&store, "t", 6, &[output(written, &piece)]).await;
        written += 1000;
        assert_eq!(reach("t").unwrap().0, written);
    }
    assert!(written >= 30_000, "{written}");
    for _ in 0..3 {
        let _ = store
            .record(&id("t"), at(7), &output(written, &piece))
            .await;
        written = reach("t").unwrap().0;
    }
    let read: u64 = entries(&store, "t")
        .await
        .iter()
        .map(|entry| match &entry.event {
            RecordEvent::Output { bytes, .. } => bytes.len() as u64,
            _ => 0,
        })
        .sum();
    assert_eq!(reach("t"), Some((read, 0)));
    record(&store, "s", 9, &[ended()]).await;
    assert_eq!(reach("s"), Some((2000, 0)));
}

pub(crate) async fn nothing_is_removed_unless_asked_for(harness: &impl Harness) {
    let store = harness.store(
        RecordLimits::default()
            .with_sessions(2)
            .with_bytes(SMALL, 100_000),
    );
    record(&store, "a", 1, &[opened("alice", "shop"), ended()]).await;
    record(&store, "b", 2, &[opened("alice", "shop")]).await;
    let third = store
        .record(&id("c"), at(3), &opened("alice", "shop"))
        .await
        .unwrap_err();
    assert_eq!(third.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(names(&store, SessionQuery::default()).await, ["b", "a"]);
}

pub(crate) async fn the_oldest_that_ended_are_removed_if_asked_for(harness: &impl Harness) {
    let limits = RecordLimits::default()
        .with_sessions(3)
        .with_bytes(SMALL, 100_000)
        .with_retention(Retention::RemoveOldest);
    let store = harness.store(limits);
    record(&store, "active", 1, &[opened("alice", "shop")]).await;
    record(
        &store,
        "a",
        2,
        &[opened("alice", "shop"), output(0, &[b'x'; 20_000]), ended()],
    )
    .await;
    record(
        &store,
        "b",
        3,
        &[opened("alice", "shop"), output(0, &[b'x'; 20_000]), ended()],
    )
    .await;
    record(&store, "c", 9, &[opened("alice", "shop"), ended()]).await;
    assert_eq!(
        names(&store, SessionQuery::default()).await,
        ["c", "b", "active"]
    );
    assert_eq!(
        store.events(&id("a")).await.err().unwrap().kind(),
        ErrorKind::NotFound
    );
    // By bytes.
    for number in 0..2 {
        store
            .record(
                &id("active"),
                at(20),
                &output(number * 20_000, &[b'x'; 20_000]),
            )
            .await
            .unwrap();
    }
    record(&store, "d", 30, &[opened("alice", "shop")]).await;
    let left = names(&store, SessionQuery::default()).await;
    assert!(
        left.contains(&"active".to_owned()) && !left.contains(&"b".to_owned()),
        "{left:?}"
    );
}

pub(crate) async fn concurrent_sessions_do_not_mix(harness: &impl Harness) {
    let store = harness.store(RecordLimits::default());
    let writers = (0..20_u64).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let name = format!("s{number}");
            let mine = name.repeat(10);
            let mut events = vec![opened("alice", "shop")];
            events.extend((0..20).map(|at| output(at * mine.len() as u64, mine.as_bytes())));
            events.push(ended());
            record(&store, &name, number, &events).await;
            (name, events)
        })
    });
    for writer in futures::future::join_all(writers).await {
        let (name, events) = writer.unwrap();
        let read: Vec<_> = entries(&store, &name)
            .await
            .into_iter()
            .map(|entry| entry.event)
            .collect();
        assert_eq!(read, events);
    }
}
