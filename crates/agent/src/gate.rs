use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_core::{Error, Mandate, Result};
use tokio::sync::oneshot;

use self::{
    file::TokenFile,
    machine::{Input, Machine, Output, Ticket},
};

mod file;
mod machine;

/// Lets only the newest leader of a control cluster act through this node.
///
/// A stream of a manager says what it is for ([`Mandate`]). To act it carries the fencing token of
/// its leadership. The gate remembers the highest token; it refuses a stream with a lower one, and
/// ends those that were opened under lower ones when a higher one comes. Streams that only observe
/// are let in always, and held to looking. Streams of a manager without an election carry no token,
/// and are let in as long as none was ever seen.
///
/// One gate stands for one node and one control cluster: agents of one process that dial several of
/// its managers share it. Clones are the same gate.
#[derive(Clone)]
pub struct LeaderGate(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    file: Option<TokenFile>,
    /// The token on the disk. Held while it is written.
    kept: Arc<tokio::sync::Mutex<Option<u64>>>,
}

struct State {
    machine: Machine,
    next: Ticket,
    /// Rung when a stream must end, with the reason.
    bells: BTreeMap<Ticket, oneshot::Sender<String>>,
}

/// What the gate says to a stream.
pub(crate) enum Passage {
    /// Anything goes, until the pass ends.
    Act(Pass),
    /// It is held to looking.
    Observe,
    /// Nothing, for this reason.
    Refused(String),
}

/// An admitted stream's leave. Dropping it tells the gate that the stream is over.
pub(crate) struct Pass {
    gate: Arc<Shared>,
    ticket: Ticket,
    bell: oneshot::Receiver<String>,
}

impl Default for LeaderGate {
    fn default() -> Self {
        Self::in_memory()
    }
}

impl LeaderGate {
    /// A gate that forgets with its process: after a restart of the agent the first token that comes
    /// counts, and an old leader may be the first to come.
    pub fn in_memory() -> Self {
        Self::from(None, None)
    }

    /// A gate that keeps the highest token in a directory, which is made where there is none. It
    /// belongs to one node and one control cluster; no two processes may share it.
    ///
    /// # Errors
    /// The directory can't be made or read, or its file `leader-token` holds something else; the
    /// error names it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let file = TokenFile::new(directory.as_ref());
        let kept = file.open()?;
        Ok(Self::from(Some(file), kept))
    }

    fn from(file: Option<TokenFile>, kept: Option<u64>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                machine: Machine::new(kept),
                next: 0,
                bells: BTreeMap::new(),
            }),
            file,
            kept: Arc::new(tokio::sync::Mutex::new(kept)),
        }))
    }

    /// The highest token that was seen.
    pub fn highest(&self) -> Option<u64> {
        self.0.lock().machine.highest()
    }

    /// Asks for a stream. A new highest token is on the disk before its stream may act.
    ///
    /// Cancel safe: a token that was seen stays seen.
    pub(crate) async fn admit(&self, mandate: Option<Mandate>) -> Passage {
        let (passage, token) = self.ask(mandate);
        if let Some(token) = token
            && let Err(error) = self.0.keep(token).await
        {
            // It holds as long as this process does. Refusing would leave a node with a full disk
            // without anybody who can empty it.
            tracing::error!(token, error = %error.chain(), "a restart of this agent would forget who leads");
        }
        passage
    }

    fn ask(&self, mandate: Option<Mandate>) -> (Passage, Option<u64>) {
        let mut state = self.0.lock();
        let ticket = state.next;
        state.next += 1;
        state.machine.handle(Input::Opened(ticket, mandate));
        let mut answer = (
            Passage::Refused("the gate is out of order".to_owned()),
            None,
        );
        while let Some(output) = state.machine.poll_output() {
            match output {
                Output::Admit(ticket, token) => {
                    let (bell, rung) = oneshot::channel();
                    state.bells.insert(ticket, bell);
                    let pass = Pass {
                        gate: Arc::clone(&self.0),
                        ticket,
                        bell: rung,
                    };
                    answer = (Passage::Act(pass), token);
                }
                Output::Observe(_) => answer = (Passage::Observe, None),
                Output::Refuse(_, reason) => answer = (Passage::Refused(reason), None),
                Output::End(ticket, reason) => {
                    if let Some(bell) = state.bells.remove(&ticket) {
                        // A stream that is over by itself does not listen any more.
                        let _ = bell.send(reason);
                    }
                }
            }
        }
        answer
    }
}

impl fmt::Debug for LeaderGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderGate")
            .field("highest", &self.highest())
            .field("file", &self.0.file)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the disk has this token or a higher one.
    async fn keep(&self, token: u64) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut kept = Arc::clone(&self.kept).lock_owned().await;
        if *kept >= Some(token) {
            return Ok(());
        }
        let file = file.clone();
        // It goes on when nobody waits any more, so the lock goes along.
        let written = tokio::task::spawn_blocking(move || {
            file.write(token)?;
            *kept = Some(token);
            Ok(())
        });
        written
            .await
            .map_err(|error| Error::internal("writing the token failed").with_source(error))?
    }
}

impl Pass {
    /// Waits until a higher token has come, and says so. Cancel safe.
    pub(crate) async fn ended(&mut self) -> String {
        match (&mut self.bell).await {
            Ok(reason) => reason,
            // The bell goes with the pass or is rung.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.bells.remove(&self.ticket);
        state.machine.handle(Input::Ended(self.ticket));
    }
}

#[cfg(test)]
mod tests;
