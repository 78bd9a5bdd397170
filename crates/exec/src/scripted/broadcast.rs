//! A workload's output for all who are attached.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_core::{Error, ErrorKind, ExecOutput, ExecOutputStream};
use tokio::sync::broadcast;

use super::process::Pipe;

/// Reads a process's output and gives it to everybody; the last of it is kept for the backlog.
#[derive(Debug)]
pub(super) struct Broadcast(Mutex<State>);

#[derive(Debug)]
struct State {
    backlog: VecDeque<ExecOutput>,
    weight: usize,
    /// `None` after the end.
    sender: Option<broadcast::Sender<ExecOutput>>,
}

impl Broadcast {
    /// Must be called within a runtime.
    pub(super) fn of(pipe: Arc<Pipe>) -> Arc<Self> {
        let (sender, _) = broadcast::channel(PIECES);
        let broadcast = Arc::new(Self(Mutex::new(State {
            backlog: VecDeque::new(),
            weight: 0,
            sender: Some(sender),
        })));
        let told = Arc::clone(&broadcast);
        tokio::spawn(async move {
            while let Some(output) = pipe.next().await {
                told.lock().tell(output);
            }
            told.lock().sender = None;
        });
        broadcast
    }

    /// All output from now on, with what is kept of it before.
    pub(super) fn stream(&self, backlog: bool) -> ExecOutputStream {
        let state = self.lock();
        let kept = if backlog {
            state.backlog.clone()
        } else {
            VecDeque::new()
        };
        let receiver = state.sender.as_ref().map(broadcast::Sender::subscribe);
        Box::pin(futures::stream::unfold(
            (kept, receiver),
            |(mut kept, mut receiver)| async move {
                if let Some(output) = kept.pop_front() {
                    return Some((Ok(output), (kept, receiver)));
                }
                match receiver.as_mut()?.recv().await {
                    Ok(output) => Some((Ok(output), (kept, receiver))),
                    Err(broadcast::error::RecvError::Closed) => None,
                    Err(broadcast::error::RecvError::Lagged(count)) => {
                        let error = Error::new(
                            ErrorKind::ResourceExhausted,
                            format!("{count} pieces of output were missed"),
                        );
                        Some((Err(error), (kept, None)))
                    }
                }
            },
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, output: ExecOutput) {
        self.weight += output.bytes.len();
        self.backlog.push_back(output.clone());
        while self.weight > BACKLOG
            && let Some(oldest) = self.backlog.pop_front()
        {
            self.weight -= oldest.bytes.len();
        }
        if let Some(sender) = &self.sender {
            // Nobody may be attached.
            let _ = sender.send(output);
        }
    }
}

const PIECES: usize = 1024;
const BACKLOG: usize = 64 * 1024;
