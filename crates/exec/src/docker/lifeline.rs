//! A shell beside the sessions of a container that ends their processes when they are let go.

mod driver;
mod helper;
mod line;
mod refusals;
mod script;
mod seat;
mod watch;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use longshore_core::{ClockExt, Error, ErrorKind, Result, Signal, Timestamp, WorkloadId};
use tokio::sync::{mpsc, oneshot, watch as latest};

use self::{driver::Driver, line::SAID, refusals::Refusals, seat::Seat};
pub(super) use self::{
    helper::not_running,
    script::{SCRIPT, SWEEP},
    watch::Watch,
};
use super::context::{Context, Settings};
use crate::cleanup::{Cleanup, Group, Identity, Marker};

/// The lifelines of one engine's containers, one for all sessions of a container, a user and a
/// policy: Linux shows a shell the environments of its own user's processes. One beside a container
/// is for all its users.
#[derive(Debug, Default)]
pub(super) struct Lifelines {
    table: Arc<Table>,
    refusals: Refusals,
}

#[derive(Debug, Default)]
struct Table(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Those that sessions can join.
    current: HashMap<Key, Lifeline>,
    /// How many there are in all. One that was lost goes on while sessions are under its watch.
    counts: HashMap<Key, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    workload: WorkloadId,
    seat: Seat,
    /// Of whose life, and what is ended: marks of another gateway or policy are no member's.
    identity: Identity,
    tree: bool,
}

#[derive(Clone, Debug)]
struct Lifeline {
    group: Group,
    requests: mpsc::UnboundedSender<Request>,
    trust: latest::Receiver<Trust>,
}

/// Whether sessions may begin.
#[derive(Clone, Debug)]
enum Trust {
    /// None is there, for now.
    NotYet,
    /// Until then.
    Until(Timestamp),
    /// It was lost: another is to be taken.
    Gone,
    /// There can't be any.
    Failed(Arc<Error>),
}

/// What a session asks. There are never more of them than a few per session.
#[derive(Debug)]
enum Request {
    Join,
    /// Whoever asks is told when the shell says that it is done, or by silence that it can't.
    End(Marker, oneshot::Sender<()>),
    Leave,
    Signal(Marker, Signal, oneshot::Sender<bool>),
}

/// One session's hold on a lifeline. Until it leaves, at the latest when it is dropped, the lifeline
/// is kept, and another is started in its place if it is lost.
#[derive(Debug)]
pub(super) struct Hold {
    marker: Marker,
    left: AtomicBool,
    requests: mpsc::UnboundedSender<Request>,
}

impl Lifelines {
    /// Puts a session under this lifeline's watch before it begins: from then on nothing is left
    /// behind. Waits only where none is there yet, or none that was heard of lately.
    ///
    /// # Errors
    /// There is no shell at that seat, or one without what the script needs; `Timeout` where nobody
    /// says so.
    async fn join(&self, context: &Context, workload: &WorkloadId, seat: Seat) -> Result<Hold> {
        let clock = &context.api.clock;
        let key = Key::new(&context.settings, workload, seat);
        let waiting = async {
            loop {
                let (hold, mut trust) = self.hold(context, &key)?;
                loop {
                    let now = clock.now();
                    match trust.borrow_and_update().clone() {
                        Trust::Until(until) if now < until => return Ok(hold),
                        // It is still there, and says nothing, or it is lost.
                        Trust::Until(_) | Trust::Gone => break,
                        Trust::Failed(error) => return Err(told(&error)),
                        Trust::NotYet => {}
                    }
                    // It has been let go meanwhile.
                    if trust.changed().await.is_err() {
                        break;
                    }
                }
            }
        };
        clock.timeout(START_LIMIT, "the lifeline", waiting).await?
    }

    /// Whether one is there, or on its way.
    fn stands(&self, context: &Context, workload: &WorkloadId, seat: &Seat) -> bool {
        let key = Key::new(&context.settings, workload, seat.clone());
        let now = context.api.clock.now();
        let table = self.table.lock();
        let there = table.current.get(&key);
        there.is_some_and(|there| there.is_usable(now))
    }

    fn hold(&self, context: &Context, key: &Key) -> Result<(Hold, latest::Receiver<Trust>)> {
        let (api, settings) = (&context.api, &context.settings);
        let group = Group::new(&key.identity, settings.cleanup, &*api.random)
            .ok_or_else(|| Error::internal("a lifeline with nothing to do"))?;
        let mut table = self.table.lock();
        let now = api.clock.now();
        let there = table.current.get(key);
        let usable = there.filter(|lifeline| lifeline.is_usable(now));
        let lifeline = match usable {
            Some(lifeline) => lifeline.clone(),
            None => {
                let place = table.place(&self.table, key)?;
                let lifeline = Driver::spawn(Arc::clone(api), place, group);
                table.current.insert(key.clone(), lifeline.clone());
                lifeline
            }
        };
        // Under the lock: who lets go of an idle one looks under it, too.
        let _ = lifeline.requests.send(Request::Join);
        let hold = Hold {
            marker: lifeline.group.mark(&*api.random),
            left: AtomicBool::new(false),
            requests: lifeline.requests,
        };
        Ok((hold, lifeline.trust))
    }
}

impl Key {
    fn new(settings: &Settings, workload: &WorkloadId, seat: Seat) -> Self {
        Self {
            workload: workload.clone(),
            seat,
            identity: settings.life.identity().clone(),
            tree: settings.cleanup == Cleanup::Tree,
        }
    }
}

/// What the lifeline's own task was told, for each that waits for it.
fn told(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.chain()).with_retryable(error.is_retryable());
    match error.context(SAID) {
        Some(said) => copy.with_context(SAID, said),
        None => copy,
    }
}

impl Lifeline {
    fn is_usable(&self, now: Timestamp) -> bool {
        if self.requests.is_closed() {
            return false;
        }
        match &*self.trust.borrow() {
            Trust::NotYet => true,
            Trust::Until(until) => now < *until,
            Trust::Gone | Trust::Failed(..) => false,
        }
    }
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// A place for one more. Who ends one lifeline after the other makes each new session take
    /// another, and each that was lost is replaced for its own sessions: of containers beside a
    /// container there are not more than a few, whatever it does.
    fn place(&mut self, table: &Arc<Table>, key: &Key) -> Result<Place> {
        let count = self.counts.entry(key.clone()).or_default();
        if matches!(key.seat, Seat::Beside(_)) && *count >= MOST_BESIDE {
            let text = format!("{MOST_BESIDE} helpers of this container were lost under sessions");
            return Err(Error::new(ErrorKind::ResourceExhausted, text).with_retryable(false));
        }
        *count += 1;
        Ok(Place {
            table: Arc::downgrade(table),
            key: key.clone(),
        })
    }

    /// Another may stand there already.
    fn remove_if_own(&mut self, key: &Key, group: &Group) {
        let there = self.current.get(key);
        if there.is_some_and(|there| there.group == *group) {
            self.current.remove(key);
        }
    }
}

/// Where a lifeline stands in its table. It counts until this is dropped.
#[derive(Debug)]
struct Place {
    table: Weak<Table>,
    key: Key,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else {
            return;
        };
        let mut entries = table.lock();
        if let Some(count) = entries.counts.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                entries.counts.remove(&self.key);
            }
        }
    }
}

impl Hold {
    /// The mark that the session's processes are to carry.
    pub(super) fn marker(&self) -> &Marker {
        &self.marker
    }

    /// The session is over: the shell ends what is left of it. What is given here ends when the shell
    /// says that it has, or is lost.
    pub(super) fn end(&self) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        let _ = self.requests.send(Request::End(self.marker.clone(), done));
        told
    }

    /// Nothing of the session is left.
    pub(super) fn leave(&self) {
        if !self.left.swap(true, Ordering::Relaxed) {
            let _ = self.requests.send(Request::Leave);
        }
    }

    /// Sends a signal to the session's foreground.
    pub(super) async fn signal(&self, signal: Signal) -> Result<()> {
        let (answer, told) = oneshot::channel();
        let request = Request::Signal(self.marker.clone(), signal, answer);
        let _ = self.requests.send(request);
        match told.await {
            Ok(true) => Ok(()),
            _ => Err(Error::unavailable(
                "the lifeline of the session is gone; no signal can be sent",
            )),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.leave();
    }
}

/// For a container, and a policy.
const MOST_BESIDE: usize = 4;
const START_LIMIT: std::time::Duration = std::time::Duration::from_secs(25);
