use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{ExecRequest, Identity, OutputKind, TerminalSize, WorkloadId};

use super::*;
use crate::{
    record::SessionStatus,
    session::{EndReason, Launch, SessionAbout, SessionEnd, SessionOrigin},
};

fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

fn opened() -> RecordEvent {
    let request = ExecRequest::new(WorkloadId::new("web").unwrap(), ["sh"]);
    let launch = Launch::Exec(request.with_tty(TerminalSize::default()));
    let who = Identity::new("alice", "token");
    RecordEvent::Opened(Box::new(SessionAbout::new(
        who,
        &launch,
        SessionOrigin::new(),
    )))
}

fn output(offset: u64, text: &'static str) -> RecordEvent {
    RecordEvent::Output {
        offset,
        kind: OutputKind::Stdout,
        bytes: Bytes::from_static(text.as_bytes()),
    }
}

fn open(root: &Path) -> DirectoryRecords {
    DirectoryRecords::open(root, RecordLimits::default()).unwrap()
}

/// A session with two pieces of output; with an end if it has `ended`.
async fn session(records: &DirectoryRecords, name: &str, ended: bool) -> SessionId {
    let session = id(name);
    let mut events = vec![opened(), output(0, "first"), output(5, "second")];
    events.extend(ended.then(|| RecordEvent::Ended(SessionEnd::new(EndReason::Exited))));
    for (at, event) in events.iter().enumerate() {
        records
            .record(&session, Timestamp::from_secs(at as u64 + 1), event)
            .await
            .unwrap();
    }
    session
}

struct Scene {
    dir: tempfile::TempDir,
    session: SessionId,
    log: PathBuf,
}

/// A directory that a server has left.
async fn left(ended: bool) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let session = session(&open(dir.path()), "s", ended).await;
    let log = dir.path().join("s.log");
    Scene { dir, session, log }
}

impl Scene {
    fn edit(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(&self.log).unwrap();
        change(&mut bytes);
        fs::write(&self.log, bytes).unwrap();
    }
}

#[tokio::test]
async fn only_its_owner_may_look_into_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/records");
    let records = open(&root);
    session(&records, "s", true).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    for entry in fs::read_dir(&root).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let second = DirectoryRecords::open(&root, RecordLimits::default()).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn ids_that_mean_something_to_a_path_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(&dir.path().join("records"));
    for name in ["..", ".", "a.b", "a\\b", "~"] {
        let error = records
            .record(&id(name), Timestamp::ZERO, &opened())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        assert!(records.session(&id(name)).await.is_err());
    }
}

#[tokio::test]
async fn sessions_of_a_dead_server_are_interrupted() {
    let scene = left(false).await;
    let records = open(scene.dir.path());
    let found = Recovered {
        session: scene.session.clone(),
        torn: 0,
        damage: None,
    };
    assert_eq!(records.recovered(), [found]);
    let summary = records.session(&scene.session).await.unwrap();
    assert_eq!(summary.status, SessionStatus::Interrupted);
    assert_eq!(
        (summary.ended_at, summary.end.clone()),
        (Some(Timestamp::from_secs(3)), None)
    );
    let verified = records.verify(&scene.session, None).await.unwrap();
    assert!(verified.is_complete && verified.output == 11);
    let late = records
        .record(&scene.session, Timestamp::from_secs(9), &output(11, "x"))
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
    drop(records);
    let again = open(scene.dir.path());
    assert_eq!(again.recovered(), []);
    assert_eq!(again.session(&scene.session).await.unwrap(), summary);
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_said() {
    let whole = fs::read(left(false).await.log).unwrap();
    // The last event is "second".
    let start = whole.len() - (13 + 8 + 6 + 32);
    for end in (start + 1)..whole.len() {
        let scene = left(false).await;
        scene.edit(|bytes| bytes.truncate(end));
        let records = open(scene.dir.path());
        let torn = (end - start) as u64;
        assert_eq!(records.recovered()[0].torn, torn);
        let verified = records.verify(&scene.session, None).await.unwrap();
        assert!(verified.is_complete && verified.output == 5);
    }
}

/// As a server of the version before has left it, whole or torn, with an index or without.
#[tokio::test]
async fn a_record_of_version_1_is_finished_as_what_it_is() {
    let written = include_bytes!("../log/written/unfinished-1.log");
    // The last event is a size.
    let last = written.len() - (13 + 4 + 32);
    for end in [written.len(), written.len() - 1, last + 1] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("old.log");
        fs::write(&log, &written[..end]).unwrap();
        let records = open(dir.path());
        let torn = if end == written.len() { 0 } else { end - last };
        assert_eq!(records.recovered()[0].torn, torn as u64);
        assert_eq!(records.recovered()[0].damage, None);
        let verified = records.verify(&id("old"), None).await.unwrap();
        assert!(verified.is_complete && verified.output == 11);
        let bytes = fs::read(&log).unwrap();
        assert!(bytes.starts_with(&written[..if torn == 0 { end } else { last }]));
        drop(records);
        let records = open(dir.path());
        let summary = records.session(&id("old")).await.unwrap();
        assert_eq!(summary.status, SessionStatus::Interrupted);
        assert_eq!(summary.head, verified.head.hash());
        let again = records.verify(&id("old"), Some(&verified.head)).await;
        assert_eq!(again.unwrap(), verified);
    }
}

#[tokio::test]
async fn a_changed_record_of_version_1_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = include_bytes!("../log/written/unfinished-1.log").to_vec();
    let at = bytes.windows(5).position(|part| part == b"first").unwrap();
    bytes[at] = b'F';
    fs::write(dir.path().join("old.log"), &bytes).unwrap();
    let records = open(dir.path());
    assert!(records.recovered()[0].damage.is_some());
    assert_eq!(fs::read(dir.path().join("old.log")).unwrap(), bytes);
}

#[tokio::test]
async fn records_are_of_the_newest_version() {
    let scene = left(true).await;
    let bytes = fs::read(&scene.log).unwrap();
    assert!(bytes.starts_with(b"LONGSHORE RECORD 2\n"));
}

#[tokio::test]
async fn an_end_of_zeros_is_torn_too() {
    for zeros in [1, 50, 100_000] {
        let scene = left(false).await;
        scene.edit(|bytes| bytes.resize(bytes.len() + zeros, 0));
        let records = open(scene.dir.path());
        assert_eq!(
            (
                records.recovered()[0].torn,
                records.recovered()[0].damage.clone()
            ),
            (zeros as u64, None)
        );
        assert_eq!(
            records.verify(&scene.session, None).await.unwrap().output,
            11
        );
    }
}

#[tokio::test]
async fn a_changed_record_is_damaged_and_left_as_it_is() {
    let scene = left(false).await;
    scene.edit(|bytes| {
        let at = bytes.windows(5).position(|part| part == b"first").unwrap();
        bytes[at] = b'F';
    });
    let before = fs::read(&scene.log).unwrap();
    let records = open(scene.dir.path());
    assert!(records.recovered()[0].damage.is_some());
    assert_eq!(
        records.session(&scene.session).await.unwrap().status,
        SessionStatus::Damaged
    );
    assert_eq!(
        records
            .verify(&scene.session, None)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Protocol
    );
    assert_eq!(fs::read(&scene.log).unwrap(), before);
}

#[tokio::test]
async fn the_index_knows_a_record_that_was_cut() {
    let scene = left(true).await;
    let end = fs::read(&scene.log).unwrap().len() - 100;
    scene.edit(|bytes| bytes.truncate(end));
    let records = open(scene.dir.path());
    let error = records.verify(&scene.session, None).await.unwrap_err();
    assert!(
        error
            .message()
            .starts_with("the record was cut: 4 events were written"),
        "{error}"
    );
    // Nor is it read as if it were whole.
    let mut events = records.events(&scene.session).await.unwrap();
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let error = last.unwrap().unwrap_err();
    assert!(error.message().starts_with("the record was cut"), "{error}");
}

#[tokio::test]
async fn a_record_that_was_written_anew_is_found_by_its_head() {
    let scene = left(true).await;
    let records = open(scene.dir.path());
    let head = records.verify(&scene.session, None).await.unwrap().head;
    drop(records);
    // The same session with another output, and an index to fit.
    for kind in ["log", "json", "commands"] {
        let _ = fs::remove_file(scene.dir.path().join(format!("s.{kind}")));
    }
    let records = open(scene.dir.path());
    let events = [
        opened(),
        output(0, "other"),
        output(5, "second"),
        RecordEvent::Ended(SessionEnd::new(EndReason::Exited)),
    ];
    for event in &events {
        records
            .record(&scene.session, Timestamp::from_secs(1), event)
            .await
            .unwrap();
    }
    records.verify(&scene.session, None).await.unwrap();
    let error = records
        .verify(&scene.session, Some(&head))
        .await
        .unwrap_err();
    assert!(
        error.message().starts_with("the record was rewritten"),
        "{error}"
    );
}

#[tokio::test]
async fn an_index_that_is_lost_is_read_from_the_log() {
    for text in [None, Some("not JSON")] {
        let scene = left(true).await;
        let json = scene.dir.path().join("s.json");
        let known = open(scene.dir.path())
            .session(&scene.session)
            .await
            .unwrap();
        match text {
            None => fs::remove_file(&json).unwrap(),
            Some(text) => fs::write(&json, text).unwrap(),
        }
        let records = open(scene.dir.path());
        assert_eq!(records.recovered(), []);
        let found = records.session(&scene.session).await.unwrap();
        assert_eq!(
            serde_json::to_value(&found).unwrap(),
            serde_json::to_value(&known).unwrap()
        );
    }
}

#[tokio::test]
async fn other_files_harm_nobody() {
    let scene = left(true).await;
    let root = scene.dir.path();
    fs::write(root.join("x.log"), "not a record").unwrap();
    fs::write(root.join("empty.log"), "").unwrap();
    fs::write(root.join("s.json.new"), "half a summ").unwrap();
    fs::write(root.join("README"), "hello").unwrap();
    let records = open(root);
    assert_eq!(records.recovered().len(), 1, "the one that is not a record");
    assert!(records.recovered()[0].damage.is_some() && root.join("x.log").exists());
    assert!(!root.join("empty.log").exists());
    assert_eq!(
        records
            .sessions(&SessionQuery::default())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_dropped_call_writes_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let records = open(dir.path());
    let session = session(&records, "s", false).await;
    for round in 0..50_u64 {
        let event = RecordEvent::Resize(TerminalSize::new(1, round as u16));
        let recording = records.record(&session, Timestamp::from_secs(5), &event);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(round), recording).await;
    }
    let end = RecordEvent::Ended(SessionEnd::new(EndReason::Exited));
    records
        .record(&session, Timestamp::from_secs(6), &end)
        .await
        .unwrap();
    assert!(records.verify(&session, None).await.unwrap().is_complete);
}

/// Notes at each event whether the ledger of these records is free.
struct Asks {
    records: DirectoryRecords,
    free: Mutex<Vec<bool>>,
}

impl tracing::Subscriber for Asks {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        about.target().ends_with("record::directory")
    }

    fn event(&self, _: &tracing::Event<'_>) {
        let free = self.records.inner.ledger.try_lock().is_ok();
        self.free.lock().unwrap().push(free);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn nobody_waits_for_files_that_are_removed_to_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let limits = RecordLimits::default()
        .with_bytes(128 << 10, 64 << 10)
        .with_sessions(2)
        .with_retention(crate::record::Retention::RemoveOldest);
    let records = DirectoryRecords::open(dir.path(), limits).unwrap();
    let large = |offset| RecordEvent::Output {
        offset,
        kind: OutputKind::Stdout,
        bytes: vec![b'x'; 30 << 10].into(),
    };
    for (at, name) in [(1, "first"), (2, "second")] {
        let end = RecordEvent::Ended(SessionEnd::new(EndReason::Exited));
        for event in [&opened(), &large(0), &end] {
            let at = Timestamp::from_secs(at);
            records.record(&id(name), at, event).await.unwrap();
        }
    }
    let asks = Arc::new(Asks {
        records: records.clone(),
        free: Mutex::default(),
    });
    let (inner, third, at) = (&records.inner, id("third"), Timestamp::from_secs(3));
    tracing::subscriber::with_default(Arc::clone(&asks), || {
        inner.begin(&third, at, &opened()).unwrap();
        let writing = inner.open().get(&third).cloned().unwrap();
        let mut writing = writing.try_lock().unwrap();
        for offset in [0, 30 << 10] {
            inner.append(&mut writing, at, &large(offset)).unwrap();
        }
    });
    let left = records.sessions(&SessionQuery::default()).await.unwrap();
    assert_eq!(left.len(), 1, "one went for the beginning, one for output");
    assert_eq!(*asks.free.lock().unwrap(), [true, true]);
    for name in ["first", "second"] {
        assert!(!dir.path().join(format!("{name}.log")).exists());
    }
}

/// Patterns are compared where that holds up neither a task nor the ledger.
#[test]
fn a_long_search_holds_up_no_session() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let directory = DirectoryRecords::open(dir.path(), RecordLimits::default()).unwrap();
        let memory = crate::record::MemoryRecords::new(RecordLimits::default());
        for records in [&directory as &dyn Recorder, &memory] {
            let at = Timestamp::from_secs(1);
            records.record(&id("one"), at, &opened()).await.unwrap();
        }
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || gate.recv());
        let query = SessionQuery {
            command: "%a%a%a%b".into(),
            ..Default::default()
        };
        let commands = crate::record::CommandQuery {
            of: query.clone(),
            ..Default::default()
        };
        for records in [&directory as &dyn crate::record::RecordStore, &memory] {
            let (mut sessions, mut guesses) =
                (records.sessions(&query), records.commands(&commands));
            assert!(futures::poll!(&mut sessions).is_pending());
            assert!(futures::poll!(&mut guesses).is_pending());
            assert!(directory.inner.ledger.try_lock().is_ok());
        }
        go.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(directory.sessions(&query).await.unwrap().len(), 0);
        assert_eq!(
            memory
                .sessions(&SessionQuery::default())
                .await
                .unwrap()
                .len(),
            1
        );
    });
}
