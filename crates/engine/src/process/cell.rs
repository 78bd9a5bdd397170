//! One workload of the process engine.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use longshore_core::{Error, Result, WorkloadId};
use tokio::sync::{Notify, mpsc, watch};

use super::{family::Family, leader::Leader, pipe::Terminal};
use crate::{journal::Journal, lifecycle::Phase, output_log::Output, record::Record};

/// A workload with its output, its waiters and its process, if it has one.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) id: WorkloadId,
    pub(super) output: Arc<Journal<Output>>,
    pub(super) phase: watch::Sender<Phase>,
    /// Wakes the supervisor when a deadline may have changed.
    pub(super) poke: Notify,
    pub(super) stdin: Option<Stdin>,
    pub(super) family: Family,
    /// Whether a supervisor task is on it. Changed under the lock of the state.
    pub(super) supervised: AtomicBool,
    state: Mutex<CellState>,
}

/// The part of a [`Cell`] that changes.
#[derive(Debug)]
pub(super) struct CellState {
    pub(super) record: Record,
    pub(super) run: Option<Run>,
}

/// A running process of a workload.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) leader: Arc<Leader>,
    pub(super) terminal: Option<Terminal>,
}

/// A workload's standard input: attachments write into the queue, the run reads from it.
#[derive(Debug)]
pub(super) struct Stdin {
    pub(super) sender: mpsc::Sender<StdinPiece>,
    pub(super) receiver: Arc<tokio::sync::Mutex<mpsc::Receiver<StdinPiece>>>,
}

/// A piece of input.
#[derive(Debug)]
pub(super) enum StdinPiece {
    /// Bytes.
    Bytes(Bytes),
    /// The end of the input.
    End,
}

impl Cell {
    pub(super) fn new(record: Record, family: Family, output_capacity: usize) -> Self {
        let stdin = record.spec.open_stdin.then(|| {
            let (sender, receiver) = mpsc::channel(STDIN_PIECES);
            Stdin {
                sender,
                receiver: Arc::new(tokio::sync::Mutex::new(receiver)),
            }
        });
        Self {
            id: record.id.clone(),
            output: Arc::new(Journal::new(output_capacity)),
            phase: watch::Sender::new(record.life.phase()),
            poke: Notify::new(),
            stdin,
            family,
            supervised: AtomicBool::new(false),
            state: Mutex::new(CellState { record, run: None }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, CellState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to supervise; true for the first who asks.
    pub(super) fn begin_supervision(&self, _state: &CellState) -> bool {
        !self.supervised.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_supervision(&self, _state: &CellState) {
        self.supervised.store(false, Ordering::Release);
    }

    /// Waits until it does not run and will not run again by itself. Cancel safe.
    pub(super) async fn inactive(&self) -> Result<Phase> {
        let mut phase = self.phase.subscribe();
        let phase = phase.wait_for(|phase| !phase.active || phase.gone).await;
        phase
            .map(|phase| phase.clone())
            .map_err(|_| Error::closed("the process engine has gone"))
    }
}

const STDIN_PIECES: usize = 16;
