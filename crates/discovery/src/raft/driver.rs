//! What carries out what a [`Node`] decides.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_core::{Clock, ClockExt, Error, ErrorKind, Result, Timestamp};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use super::{
    command::Outcome,
    disk::Disk,
    inbound::Letter,
    message::Message,
    node::{Node, Ticket},
    outbound::Outbound,
    wire,
};

/// A member, as its callers see it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) describe: String,
    /// Whether all members may restart at once.
    pub(super) durable: bool,
    pub(super) request: Duration,
    state: Mutex<State>,
    /// Something was asked of the node.
    wake: Notify,
    places: Semaphore,
    /// Changes with what is applied, and with whether there is a leader.
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct State {
    node: Node,
    waiting: HashMap<Ticket, oneshot::Sender<Result<Outcome>>>,
    /// Why nothing goes any more.
    ended: Option<(ErrorKind, String)>,
}

/// How far a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) applied: u64,
    pub(super) is_led: bool,
    pub(super) has_ended: bool,
}

impl Shared {
    pub(super) fn new(
        node: Node,
        clock: Arc<dyn Clock>,
        (describe, durable): (String, bool),
        request: Duration,
    ) -> Self {
        let state = State {
            node,
            waiting: HashMap::new(),
            ended: None,
        };
        Self {
            clock,
            describe,
            durable,
            request,
            state: Mutex::new(state),
            wake: Notify::new(),
            places: Semaphore::new(MOST_CALLS),
            progress: watch::Sender::new(Progress {
                is_led: true,
                ..Progress::default()
            }),
        }
    }

    /// Begins something, and waits for its answer.
    pub(super) async fn call(
        &self,
        begin: impl FnOnce(&mut Node, Timestamp) -> Ticket + Send,
    ) -> Result<Outcome> {
        let wait = self.clock.timeout(
            self.request,
            "waiting for other calls",
            self.places.acquire(),
        );
        let _place = wait.await?;
        let answer = {
            let mut state = self.lock();
            if let Some((kind, why)) = &state.ended {
                return Err(Error::new(*kind, why.clone()).with_backend("raft"));
            }
            let (sender, answer) = oneshot::channel();
            let ticket = begin(&mut state.node, self.clock.now());
            state.waiting.insert(ticket, sender);
            answer
        };
        self.wake.notify_one();
        let outcome = answer
            .await
            .map_err(|_| Error::closed("the manager's store was closed").with_backend("raft"))?
            .map_err(|error| error.with_backend("raft"))?;
        match outcome {
            Outcome::Refused(refusal) => Err(refusal.into_error()),
            done => Ok(done),
        }
    }

    /// Looks at what this member has come to.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Node) -> R) -> R {
        look(&self.lock().node)
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Nothing goes any more.
    pub(super) fn end(&self, kind: ErrorKind, why: &str) {
        let waiting: Vec<_> = {
            let mut state = self.lock();
            state.ended.get_or_insert_with(|| (kind, why.to_owned()));
            let waiting = std::mem::take(&mut state.waiting);
            let told = |(ticket, caller)| (state.node.may_take_effect(ticket), caller);
            waiting.into_iter().map(told).collect()
        };
        for (may_take_effect, caller) in waiting {
            // Unavailable means that nothing happened, and that it may be asked for again.
            let error = match (may_take_effect, kind) {
                (true, ErrorKind::Unavailable) => Error::new(
                    ErrorKind::Timeout,
                    format!("{why}; the change may still take effect, at most once"),
                ),
                _ => Error::new(kind, why.to_owned()),
            };
            let _ = caller.send(Err(error));
        }
        self.progress
            .send_modify(|progress| progress.has_ended = true);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A node that panicked half-way may hold anything: whoever comes later sees the panic too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task of a member: saves, sends, answers.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) peers: Vec<Option<Outbound>>,
    pub(super) letters: mpsc::Receiver<Letter>,
}

impl Driver {
    /// Runs until the end, or until the disk fails. What is being saved is not broken off: the
    /// directory is free when this returns.
    pub(super) async fn run(mut self) {
        let _guard = EndOnDrop(self.shared.clone());
        if let Err(error) = self.drive().await {
            tracing::error!(error = error.chain(), "the manager's store has stopped");
            let why = format!("the manager's store has stopped: {error}");
            self.shared.end(ErrorKind::Unavailable, &why);
        }
    }

    async fn drive(&mut self) -> Result<()> {
        let (shared, mut deaf) = (self.shared.clone(), false);
        loop {
            let (ready, answers, cluster, deadline) = {
                let (mut state, now) = (shared.lock(), shared.clock.now());
                if state.ended.is_some() {
                    return Ok(());
                }
                state.node.tick(now);
                let ready = state.node.ready(now);
                if let Some(failure) = state.node.take_failure() {
                    return Err(failure);
                }
                let mut answers = Vec::new();
                while let Some((ticket, answer)) = state.node.poll_answer() {
                    if let Some(caller) = state.waiting.remove(&ticket) {
                        answers.push((caller, answer));
                    }
                }
                let progress = Progress {
                    applied: state.node.machine().applied.index,
                    is_led: state.node.is_led(now),
                    has_ended: false,
                };
                shared.progress.send_if_modified(|told| {
                    let changed = *told != progress;
                    *told = progress;
                    changed
                });
                let cluster = state.node.cluster();
                // Never without a pause: this task shares its thread.
                let deadline = state.node.next_deadline().max(now.after(TICK));
                (ready, answers, cluster, deadline)
            };
            self.send(cluster, ready.at_once);
            for (caller, answer) in answers {
                // Who has gone has no use for it.
                let _ = caller.send(answer);
            }
            if !ready.save.is_empty() {
                let up_to = ready.save.up_to;
                if let Some(disk) = self.disk.clone() {
                    let saving = tokio::task::spawn_blocking(move || disk.save(&ready.save));
                    saving.await.map_err(|stopped| {
                        Error::unavailable("the runtime stopped").with_source(stopped)
                    })??;
                }
                shared.lock().node.saved(up_to);
                self.send(cluster, ready.once_saved);
                continue;
            }
            self.send(cluster, ready.once_saved);
            tokio::select! {
                letter = self.letters.recv(), if !deaf => match letter {
                    Some(letter) => self.take(&shared, letter),
                    // Only calls and time are left.
                    None => deaf = true,
                },
                () = shared.wake.notified() => {}
                () = shared.clock.sleep_until(deadline) => {}
            }
        }
    }

    /// Takes in what came, and what waits behind it.
    fn take(&mut self, shared: &Shared, first: Letter) {
        let (mut state, now) = (shared.lock(), shared.clock.now());
        let mut next = Some(first);
        let mut count = 0;
        while let Some((from, cluster, message)) = next {
            state.node.handle(from, cluster, message, now);
            count += 1;
            next = match count < BATCH {
                true => self.letters.try_recv().ok(),
                false => None,
            };
        }
    }

    fn send(&self, cluster: Option<u128>, messages: Vec<(usize, Message)>) {
        for (to, message) in messages {
            if let Some(Some(peer)) = self.peers.get(to) {
                peer.send(wire::encode(cluster, &message));
            }
        }
    }
}

/// Lets nobody wait for a driver that is gone, also if it panicked or its runtime was shut down.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0
            .end(ErrorKind::Unavailable, "the manager's store has stopped");
    }
}

/// Calls of a member at a time; others wait.
const MOST_CALLS: usize = 512;
/// The least time between two looks at the clock.
const TICK: Duration = Duration::from_millis(1);
/// Messages that are taken in at once.
const BATCH: usize = 128;

#[cfg(test)]
mod tests;
