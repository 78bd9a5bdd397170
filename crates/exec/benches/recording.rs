//! What recording costs a flood: processor seconds of sessions with and without a record, in turns,
//! in the same run. `cargo bench -p longshore-exec --bench recording`.
//!
//! The program, the hub and the reader are the same, in one process. There is no engine and no
//! network in it: what is compared with nothing else is what recording adds to each MiB.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use longshore_core::{
    ClockExt, ExecRequest, Identity, OsRandom, Shutdown, SystemClock, TerminalSize, WorkloadId,
};
use longshore_exec::{
    ScriptedExec,
    record::{DirectoryRecords, MemoryRecords, RecordLimits, RecordStore},
    session::{EndReason, Launch, OpenRequest, SessionHub, ViewerEvent},
};

/// A flood.
const WHOLE: usize = 192 << 20;
const ROUNDS: usize = 5;

/// What the program's pieces are like: an engine's frames of a terminal, and of a pipe.
const PIECES: [usize; 2] = [4 << 10, 32 << 10];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nowhere,
    InMemory,
    OnDisk,
}

/// Processor time of this process, in seconds (proc(5): fields 14 and 15, in ticks of 10 ms).
fn used() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |field: &str| field.parse::<f64>().unwrap();
    (ticks(fields[11]) + ticks(fields[12])) / 100.0
}

fn backend(piece: usize) -> ScriptedExec {
    let line = b"the quick brown fox jumps over the lazy dog, again and again\r\n";
    let text: Bytes = line.iter().copied().cycle().take(piece).collect();
    ScriptedExec::new()
        .with_workload(WorkloadId::new("web").unwrap())
        .with_program("flood", move |process| {
            let text = text.clone();
            async move {
                for _ in 0..WHOLE / text.len() {
                    process.print(text.clone()).await;
                }
                0
            }
        })
}

/// Seconds by the clock and by the processor.
async fn flood(kept: Kept, piece: usize) -> (f64, f64) {
    let directory = tempfile::tempdir().unwrap();
    let limits = RecordLimits::default().with_bytes(1 << 30, 1 << 40);
    let (clock, shutdown) = (Arc::new(SystemClock::new()), Shutdown::new());
    let mut hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone());
    let store: Option<Arc<dyn RecordStore>> = match kept {
        Kept::Nowhere => None,
        Kept::InMemory => Some(Arc::new(MemoryRecords::new(limits))),
        Kept::OnDisk => Some(Arc::new(
            DirectoryRecords::open(directory.path(), limits).unwrap(),
        )),
    };
    if let Some(store) = store {
        hub = hub.with_recorder(store);
    }
    let (start, before) = (std::time::Instant::now(), used());
    let exec = ExecRequest::new(WorkloadId::new("web").unwrap(), ["flood"])
        .with_tty(TerminalSize::default());
    let request = OpenRequest::new(
        Arc::new(backend(piece)),
        Launch::Exec(exec),
        Identity::new("ann", "bench"),
    );
    let session = hub.open(request).unwrap();
    let mut got = 0;
    while let Some(event) = session.next().await {
        match event {
            ViewerEvent::Output { offset, bytes, .. } => {
                got += bytes.len();
                session.acknowledge(offset + bytes.len() as u64).unwrap();
            }
            ViewerEvent::Ended(end) => {
                assert_eq!(end.reason, EndReason::Exited);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(got, WHOLE / piece * piece);
    session.release();
    drop(session);
    // The record's end is written behind the session's.
    clock.sleep(Duration::from_millis(50)).await;
    let took = (start.elapsed().as_secs_f64(), used() - before);
    shutdown.trigger();
    took
}

/// Of all rounds together: single ones are few ticks long.
fn sums(seen: &[(f64, f64)]) -> (f64, f64) {
    seen.iter().fold((0.0, 0.0), |(clock, processor), (a, b)| {
        (clock + a, processor + b)
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mib = (ROUNDS * (WHOLE >> 20)) as f64;
    for piece in PIECES {
        let mut all: [Vec<(f64, f64)>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (kept, seen) in [Kept::Nowhere, Kept::InMemory, Kept::OnDisk]
                .into_iter()
                .zip(&mut all)
            {
                seen.push(flood(kept, piece).await);
            }
        }
        let [none, memory, disk] = all.map(|seen| sums(&seen));
        println!(
            "pieces of {} KiB: {:.0} MiB/s unrecorded, {:.2} ms of a processor for each MiB",
            piece >> 10,
            mib / none.0,
            none.1 * 1000.0 / mib
        );
        for (name, kept) in [("in memory", memory), ("on disk", disk)] {
            println!(
                "  recorded {name}: {:.0} MiB/s, {:.2} ms of a processor for each MiB",
                mib / kept.0,
                kept.1 * 1000.0 / mib
            );
        }
    }
}
