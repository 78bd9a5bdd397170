//! A process that is an async function.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use longshore_core::{ExecOutput, ExecRequest, ExitStatus, OutputKind, Signal, TerminalSize};
use tokio::sync::{Notify, mpsc, watch};

use super::Program;

/// What a scripted program sees: its request, its input, its outputs, its terminal.
pub struct ScriptedProcess {
    request: ExecRequest,
    input: mpsc::Receiver<Bytes>,
    /// The part of a piece of input that was not taken yet.
    rest: Bytes,
    pipe: Arc<Pipe>,
    size: watch::Receiver<TerminalSize>,
    signals: mpsc::Receiver<Signal>,
}

impl ScriptedProcess {
    /// What was asked for: command, environment, terminal.
    pub fn request(&self) -> &ExecRequest {
        &self.request
    }

    /// The value of an environment variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        let mut pairs = self.request.env.iter().rev();
        pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The next input, at most so many bytes of it; `None` at its end. Cancel safe.
    pub async fn read(&mut self, most: usize) -> Option<Bytes> {
        if self.rest.is_empty() {
            self.rest = self.input.recv().await?;
        }
        Some(self.rest.split_to(most.min(self.rest.len())))
    }

    /// Writes to standard output, as soon as there is room.
    pub async fn print(&self, bytes: impl Into<Bytes> + Send) {
        self.write(OutputKind::Stdout, bytes.into()).await;
    }

    /// Writes to standard error, which is standard output on a terminal.
    pub async fn print_error(&self, bytes: impl Into<Bytes> + Send) {
        let kind = if self.request.tty {
            OutputKind::Stdout
        } else {
            OutputKind::Stderr
        };
        self.write(kind, bytes.into()).await;
    }

    /// Waits until all that was printed is read, as `tcdrain` does. Cancel safe.
    pub async fn drained(&self) {
        self.pipe.drained().await;
    }

    /// The terminal's present size.
    pub fn size(&self) -> TerminalSize {
        *self.size.borrow()
    }

    /// The next signal. Whoever does not ask is ended by it, as is everybody by KILL. Cancel safe.
    pub async fn signal(&mut self) -> Signal {
        self.pipe.lock().handles_signals = true;
        match self.signals.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    async fn write(&self, kind: OutputKind, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pipe.push(ExecOutput { kind, bytes }).await;
        }
    }
}

impl fmt::Debug for ScriptedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedProcess")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// The output of a process: bounded, in order, with at most one reader at a time.
pub(super) struct Pipe {
    state: Mutex<PipeState>,
    changed: Notify,
}

struct PipeState {
    waiting: VecDeque<ExecOutput>,
    weight: usize,
    /// Nobody reads any more: output goes nowhere.
    unread: bool,
    ended: bool,
    handles_signals: bool,
}

impl Pipe {
    fn new() -> Self {
        Self {
            state: Mutex::new(PipeState {
                waiting: VecDeque::new(),
                weight: 0,
                unread: false,
                ended: false,
                handles_signals: false,
            }),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn push(&self, output: ExecOutput) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if state.unread {
                    return;
                }
                if state.weight < ROOM {
                    state.weight += output.bytes.len();
                    state.waiting.push_back(output);
                    break;
                }
            }
            changed.await;
        }
        self.changed.notify_waiters();
    }

    /// Waits until nothing waits. Cancel safe.
    async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lock().waiting.is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// The next output; `None` at the end. Cancel safe.
    pub(super) async fn next(&self) -> Option<ExecOutput> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if let Some(output) = state.waiting.pop_front() {
                    state.weight -= output.bytes.len();
                    drop(state);
                    self.changed.notify_waiters();
                    return Some(output);
                }
                if state.ended {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Throws away what waits and what comes: nobody reads any more.
    pub(super) fn stop_reading(&self) {
        let mut state = self.lock();
        state.unread = true;
        state.waiting.clear();
        state.weight = 0;
        drop(state);
        self.changed.notify_waiters();
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_waiters();
    }
}

/// A process from outside.
pub(super) struct Running {
    pub(super) input: Mutex<Option<mpsc::Sender<Bytes>>>,
    pub(super) pipe: Arc<Pipe>,
    pub(super) size: watch::Sender<TerminalSize>,
    pub(super) end: watch::Receiver<Option<ExitStatus>>,
    signals: mpsc::Sender<Signal>,
    kill: mpsc::Sender<Signal>,
}

impl Running {
    /// After the end nothing happens.
    pub(super) fn signal(&self, signal: Signal) {
        let handled = self.pipe.lock().handles_signals && signal != Signal::KILL;
        // A full queue has a signal in it already.
        let _ = if handled {
            self.signals.try_send(signal)
        } else {
            self.kill.try_send(signal)
        };
    }
}

/// Starts a program in a task.
pub(super) fn run(program: Program, request: &ExecRequest) -> Arc<Running> {
    let (input, input_end) = mpsc::channel(PIECES);
    let (size, size_end) = watch::channel(request.size.unwrap_or_default());
    let (signals, signals_end) = mpsc::channel(PIECES);
    let (kill, mut killed) = mpsc::channel(1);
    let (told, end) = watch::channel(None);
    let pipe = Arc::new(Pipe::new());
    let process = ScriptedProcess {
        request: request.clone(),
        input: input_end,
        rest: Bytes::new(),
        pipe: Arc::clone(&pipe),
        size: size_end,
        signals: signals_end,
    };
    let output = Arc::clone(&pipe);
    tokio::spawn(async move {
        let status = tokio::select! {
            biased;
            Some(signal) = killed.recv() => ExitStatus::signaled(signal),
            code = program(process) => ExitStatus::exited(i64::from(code)),
        };
        output.end();
        told.send_replace(Some(status));
    });
    Arc::new(Running {
        input: Mutex::new(request.stdin.then_some(input)),
        pipe,
        size,
        end,
        signals,
        kill,
    })
}

const ROOM: usize = 256 * 1024;
const PIECES: usize = 16;
