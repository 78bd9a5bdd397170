//! Output that is read while other output is being recorded.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use longshore_core::{
    ClockExt, Error, ExecRequest, Identity, OsRandom, Result, SessionId, Shutdown, SystemClock,
    TerminalSize, Timestamp, WorkloadId,
};
use longshore_exec::{
    ScriptedExec,
    session::{
        Attachment, EndReason, Launch, OpenRequest, RecordEvent, Recorder, SessionEnd, SessionHub,
        ViewerEvent,
    },
};
use tokio::sync::Semaphore;

const PIECE: usize = 32 << 10;
/// As many are recorded in one.
const IN_ONE: usize = 8;

/// Takes the beginning, and then an event for each permit, up to the one that is refused.
#[derive(Debug)]
struct Gate {
    permits: Semaphore,
    most: usize,
    taken: Mutex<Vec<RecordEvent>>,
}

impl Gate {
    fn new(permits: usize, most: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Semaphore::new(permits),
            most,
            taken: Mutex::default(),
        })
    }

    fn output(&self) -> BytesMut {
        let mut all = BytesMut::new();
        for event in self.taken.lock().unwrap().iter() {
            if let RecordEvent::Output { offset, bytes, .. } = event {
                assert_eq!(*offset, all.len() as u64);
                all.extend_from_slice(bytes);
            }
        }
        all
    }
}

#[async_trait]
impl Recorder for Gate {
    async fn record(&self, _: &SessionId, _: Timestamp, event: &RecordEvent) -> Result<()> {
        if !matches!(event, RecordEvent::Opened(_)) {
            self.permits.acquire().await.unwrap().forget();
        }
        let mut taken = self.taken.lock().unwrap();
        if taken.len() == self.most {
            return Err(Error::unavailable("the disk is full"));
        }
        taken.push(event.clone());
        Ok(())
    }
}

fn web() -> WorkloadId {
    WorkloadId::new("web").unwrap()
}

/// A program that says so many pieces of `length`, each when the one before was read; and how many
/// were.
fn backend(pieces: usize, length: usize) -> (Arc<ScriptedExec>, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&read);
    let backend =
        ScriptedExec::new()
            .with_workload(web())
            .with_program("program", move |process| {
                let counts = Arc::clone(&counts);
                async move {
                    for number in 0..pieces {
                        process.print(vec![number as u8; length]).await;
                        process.drained().await;
                        counts.fetch_add(1, Ordering::Relaxed);
                    }
                    7
                }
            });
    (Arc::new(backend), read)
}

fn open(
    hub: impl FnOnce(SessionHub) -> SessionHub,
    backend: Arc<ScriptedExec>,
    size: Option<TerminalSize>,
) -> Attachment {
    let hub = hub(SessionHub::new(
        Arc::new(SystemClock::new()),
        Arc::new(OsRandom),
        Shutdown::new(),
    ));
    let exec = ExecRequest::new(web(), ["program"]);
    let exec = match size {
        Some(size) => exec.with_tty(size),
        None => exec,
    };
    let who = Identity::new("alice", "token");
    hub.open(OpenRequest::new(backend, Launch::Exec(exec), who))
        .unwrap()
}

async fn settle() {
    SystemClock::new().sleep(Duration::from_millis(50)).await;
}

fn whole(pieces: usize, length: usize) -> Vec<u8> {
    (0..pieces)
        .flat_map(|number| vec![number as u8; length])
        .collect()
}

/// All output to the end. None of it is seen before it was recorded, where there is a `gate` for it.
async fn drain(session: &Attachment, gate: Option<&Gate>) -> (BytesMut, SessionEnd) {
    let mut seen = BytesMut::new();
    loop {
        match session.next().await.unwrap() {
            ViewerEvent::Output { offset, bytes, .. } => {
                assert_eq!(offset, seen.len() as u64);
                seen.extend_from_slice(&bytes);
                session.acknowledge(seen.len() as u64).unwrap();
                if let Some(gate) = gate {
                    assert!(gate.output().starts_with(&seen));
                }
            }
            ViewerEvent::Ended(end) => return (seen, end),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_is_read_while_a_piece_is_recorded_and_no_more() {
    let gate = Gate::new(0, usize::MAX);
    let (backend, read) = backend(20, PIECE);
    let session = open(|hub| hub.with_recorder(gate.clone()), backend, None);
    settle().await;
    // One is being recorded, and as many as go together are ready to be.
    assert_eq!(read.load(Ordering::Relaxed), 1 + IN_ONE);
    assert!(
        futures::FutureExt::now_or_never(session.next())
            .is_none_or(|event| !matches!(event, Some(ViewerEvent::Output { .. })))
    );
    gate.permits.add_permits(1000);
    let (seen, end) = drain(&session, Some(&gate)).await;
    assert_eq!((seen, end.code), (whole(20, PIECE)[..].into(), Some(7)));
    settle().await;
    let taken = gate.taken.lock().unwrap();
    assert!(matches!(taken.last(), Some(RecordEvent::Ended(_))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_read_ahead_of() {
    let gate = Gate::new(1000, usize::MAX);
    let (backend, read) = backend(100, PIECE);
    let session = open(|hub| hub.with_recorder(gate.clone()), backend, None);
    settle().await;
    // What waits for it, what has no room there, and what was read while that was recorded.
    let most = IN_ONE * 3;
    let ahead = read.load(Ordering::Relaxed);
    assert!((1..=most).contains(&ahead), "{ahead}");
    let (seen, _) = drain(&session, Some(&gate)).await;
    assert_eq!(seen, whole(100, PIECE));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_recorded_is_not_seen() {
    for most in 1..8 {
        let gate = Gate::new(1000, most);
        let (backend, _) = backend(80, PIECE);
        let session = open(|hub| hub.with_recorder(gate.clone()), backend, None);
        let (seen, end) = drain(&session, Some(&gate)).await;
        assert_eq!(end.reason, EndReason::EndedByOperator);
        assert_eq!(seen, gate.output());
    }
}

/// The piece that was given up may be in the record all the same.
#[tokio::test(start_paused = true)]
async fn behind_a_recorder_that_stalls_only_the_end_is_recorded() {
    let gate = Gate::new(0, usize::MAX);
    let (backend, _) = backend(40, PIECE);
    let session = open(|hub| hub.with_recorder(gate.clone()), backend, None);
    settle().await;
    SystemClock::new().sleep(Duration::from_secs(11)).await;
    gate.permits.add_permits(1000);
    let (seen, end) = drain(&session, None).await;
    assert_eq!((seen.len(), end.reason), (0, EndReason::EndedByOperator));
    settle().await;
    assert_eq!(gate.output().len(), 0);
    let taken = gate.taken.lock().unwrap();
    assert!(matches!(taken.last(), Some(RecordEvent::Ended(_))));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_may_go_on_without_a_record_loses_nothing() {
    for most in 1..8 {
        let gate = Gate::new(1000, most);
        let (backend, _) = backend(40, PIECE);
        let hub = |hub: SessionHub| hub.with_recorder(gate.clone()).without_record_if_it_fails();
        let session = open(hub, backend, None);
        let (seen, end) = drain(&session, None).await;
        assert_eq!((seen, end.code), (whole(40, PIECE)[..].into(), Some(7)));
    }
}

/// Also under a flood, which leaves no moment in which nothing is being recorded.
#[tokio::test(start_paused = true)]
async fn a_size_is_recorded_behind_what_was_read_before_it() {
    let gate = Gate::new(0, usize::MAX);
    let (backend, _) = backend(60, PIECE);
    let size = Some(TerminalSize::new(80, 24));
    let session = open(|hub| hub.with_recorder(gate.clone()), backend, size);
    settle().await;
    let other = TerminalSize::new(120, 40);
    session.resize(other);
    settle().await;
    // Each takes its time, in which the program says more.
    let slowly = async {
        for _ in 0..100 {
            gate.permits.add_permits(1);
            settle().await;
        }
    };
    let ((seen, _), ()) = tokio::join!(drain(&session, Some(&gate)), slowly);
    assert_eq!(seen, whole(60, PIECE));
    let taken = gate.taken.lock().unwrap();
    let lengths: Vec<_> = taken
        .iter()
        .take_while(|event| **event != RecordEvent::Resize(other))
        .filter_map(|event| match event {
            RecordEvent::Output { bytes, .. } => Some(bytes.len()),
            _ => None,
        })
        .collect();
    assert_eq!(lengths, [PIECE, IN_ONE * PIECE]);
}

/// How far it may go then is asked of the record each time.
#[tokio::test(start_paused = true)]
async fn without_a_client_nothing_is_read_ahead() {
    let gate = Gate::new(0, usize::MAX);
    let (backend, read) = backend(20, PIECE);
    let session = open(|hub| hub.with_recorder(gate.clone()), backend, None);
    drop(session);
    settle().await;
    assert_eq!(read.load(Ordering::Relaxed), 1);
    gate.permits.add_permits(1000);
    settle().await;
    assert!(read.load(Ordering::Relaxed) > 3);
}

/// There is always something to record next, and the size has its turn all the same.
#[tokio::test(start_paused = true)]
async fn output_that_goes_on_keeps_no_size_from_being_set() {
    let gate = Gate::new(0, usize::MAX);
    let backend =
        ScriptedExec::new()
            .with_workload(web())
            .with_program("program", |process| async move {
                for _ in 0..500 {
                    process.print(vec![b'x'; 1000]).await;
                    SystemClock::new().sleep(Duration::from_millis(10)).await;
                }
                0
            });
    let size = Some(TerminalSize::new(80, 24));
    let session = open(
        |hub| hub.with_recorder(gate.clone()),
        Arc::new(backend),
        size,
    );
    let other = TerminalSize::new(120, 40);
    let slowly = async {
        for round in 0..200 {
            gate.permits.add_permits(1);
            settle().await;
            if round == 5 {
                session.resize(other);
            }
        }
    };
    tokio::join!(drain(&session, Some(&gate)), slowly);
    let taken = gate.taken.lock().unwrap();
    let place = taken
        .iter()
        .position(|event| *event == RecordEvent::Resize(other));
    assert!(place.is_some_and(|place| place < 15), "{place:?}");
}
