use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use longshore_core::{BoxStream, Clock, Error, ErrorKind, KvStore, Random, Result, Shutdown};
use tokio::sync::watch;

mod call;
mod driver;
mod leadership;
mod lease;
mod machine;
mod options;
mod stage;
mod state;
mod token;

pub use leadership::Leadership;
pub use options::{ElectionOptions, NewStore};
pub use state::ElectionState;
pub use token::{Fence, FencingToken};

/// The election of one leader among several processes, over any [`KvStore`].
///
/// The lock is Swarm's: a key whose value is the leader's advertised address, tied to a lease. On
/// top of it:
///
/// * A leader has a [`FencingToken`] that is larger than every leader's before it, whatever the
///   store's revisions do.
/// * A leader steps down ahead of its lease's end, by its own clock, if it can't renew. A renewal
///   counts from before it was sent, and only once the lock was seen to be its own after it.
/// * A record without a live lease counts as absent.
/// * A store that lost its past (wiped, or never used) makes a new leader wait for one time to
///   live, since the one before may not know of the loss yet.
/// * Outages, lost answers, lost watches and wiped stores need no restart: every participant goes
///   on looking, and one leader emerges.
///
/// Two leaders never act at the same time as long as clocks run equally fast within the margin, all
/// candidates have the same time to live, and leaders look at [`Leadership::check`] before each
/// act. Deleting the lock by hand breaks this for as long as the store takes to tell the leader; the
/// token still tells both apart.
///
/// Clones are the same participant.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use longshore_core::{OsRandom, Shutdown, SystemClock};
/// use longshore_discovery::{Election, ElectionOptions, MemoryKv};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> longshore_core::Result<()> {
/// let clock = Arc::new(SystemClock::new());
/// let store = Arc::new(MemoryKv::new(clock.clone()));
/// let options = ElectionOptions::candidate("", "10.0.0.1:4000");
/// let election = Election::new(store, options, clock, Arc::new(OsRandom))?;
///
/// let shutdown = Shutdown::new();
/// let (candidate, until) = (election.clone(), shutdown.clone());
/// let task = shutdown.spawn(async move { candidate.run(&until).await });
///
/// let leadership = election.elected().await?;
/// // Before each act, and with each write:
/// let token = leadership.check()?;
/// # assert!(token.get() > 0);
///
/// shutdown.trigger(); // resigns at once
/// # assert!(task.await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Election {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn KvStore>,
    options: ElectionOptions,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    state: watch::Sender<ElectionState>,
    running: AtomicBool,
}

impl Election {
    /// A participant, that does nothing before [`run`](Self::run).
    ///
    /// # Errors
    /// An option is out of its bounds, named.
    pub fn new(
        store: Arc<dyn KvStore>,
        options: ElectionOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        options.check(store.capabilities().shortest_lease)?;
        let state = watch::Sender::new(ElectionState::default());
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                options,
                clock,
                random,
                state,
                running: AtomicBool::new(false),
            }),
        })
    }

    /// Takes part until the shutdown, then resigns: the lock is free at once, and who leads is
    /// nobody before that. Resigning takes a sixth of the time to live at most.
    ///
    /// # Errors
    /// It runs already.
    ///
    /// # Cancel safety
    /// Dropping the future ends a leadership here at once; the store frees the lock when its lease
    /// ends.
    pub async fn run(&self, shutdown: &Shutdown) -> Result<()> {
        if self.shared.running.swap(true, Ordering::SeqCst) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "this participant of the election runs already",
            ));
        }
        driver::run(&self.shared, shutdown).await;
        Ok(())
    }

    /// What is known now.
    pub fn state(&self) -> ElectionState {
        self.shared.state.borrow().clone()
    }

    /// The state now and after each change. A slow reader misses steps in between, never the last
    /// one.
    pub fn watch(&self) -> BoxStream<ElectionState> {
        let first = Some(self.shared.state.subscribe());
        Box::pin(futures::stream::unfold(
            (first, None::<watch::Receiver<ElectionState>>),
            |(first, later)| async move {
                let receiver = match (first, later) {
                    (Some(receiver), _) => Some(receiver),
                    (None, Some(mut receiver)) => {
                        receiver.changed().await.ok()?;
                        Some(receiver)
                    }
                    (None, None) => None,
                };
                let mut receiver = receiver?;
                let state = receiver.borrow_and_update().clone();
                Some((state, (None, Some(receiver))))
            },
        ))
    }

    /// This participant's leadership, if it leads now.
    pub fn leadership(&self) -> Option<Leadership> {
        let (token, _) = self.shared.state.borrow().leading?;
        let receiver = self.shared.state.subscribe();
        let leadership = Leadership::new(token, self.shared.clock.clone(), receiver);
        leadership.is_valid().then_some(leadership)
    }

    /// Waits until this participant leads. Cancel safe.
    ///
    /// # Errors
    /// It only observes.
    pub async fn elected(&self) -> Result<Leadership> {
        if self.shared.options.advertise.is_none() {
            return Err(Error::unsupported(
                "an observer is never elected: give it an address to advertise",
            ));
        }
        let mut state = self.shared.state.subscribe();
        loop {
            state.mark_unchanged();
            if let Some(leadership) = self.leadership() {
                return Ok(leadership);
            }
            // `self` holds the sender, so this only ends with a change.
            let _ = state.changed().await;
        }
    }

    /// Waits until a leader is known, and gives its address. Bound the wait with a timeout. Cancel
    /// safe.
    pub async fn leader(&self) -> String {
        let mut state = self.shared.state.subscribe();
        loop {
            if let Some(leader) = &state.borrow_and_update().leader {
                return leader.clone();
            }
            let _ = state.changed().await;
        }
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
