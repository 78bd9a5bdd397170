//! A byte stream in memory that behaves like a bad network, on anybody's clock.

mod end;
mod options;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use end::LinkEnd;
pub use options::{Fault, LinkOptions, Way};
use wire::Wire;

use crate::{Clock, SeededRandom, Timestamp};

/// A path between two places. Every [`pair`](Self::pair) is a connection over it, and what befalls
/// the path befalls all of them. Clones are the same path.
///
/// Bytes of a connection keep their order and are never changed, as with TCP: loss shows as delay.
/// The same seed, clock and use give the same delays.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use longshore_core::{SystemClock, testkit::link::{Link, LinkOptions}};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> std::io::Result<()> {
/// let options = LinkOptions::default().with_delay(Duration::from_millis(50));
/// let link = Link::new(Arc::new(SystemClock::new()), 7, options);
/// let (mut near, mut far) = link.pair();
/// let start = tokio::time::Instant::now();
/// near.write_all(b"hello").await?;
/// far.read_exact(&mut [0; 5]).await?;
/// assert!(start.elapsed() >= Duration::from_millis(50));
///
/// link.cut();
/// assert!(far.read(&mut [0; 1]).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Link(Arc<Path>);

#[derive(Debug)]
struct Path {
    clock: Arc<dyn Clock>,
    random: SeededRandom,
    options: LinkOptions,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Faults to come, soonest last.
    schedule: Vec<(Timestamp, Fault)>,
    /// Until when bytes are held back, per direction.
    stalled_until: [Timestamp; 2],
    black_hole: [bool; 2],
    wires: Vec<Weak<Mutex<Wire>>>,
}

impl Link {
    /// A path whose scheduled faults count from now.
    pub fn new(clock: Arc<dyn Clock>, seed: u64, options: LinkOptions) -> Self {
        let start = clock.now();
        let mut schedule: Vec<_> = options
            .faults
            .iter()
            .map(|(after, fault)| (start.after(*after), *fault))
            .collect();
        schedule.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let state = State {
            schedule,
            stalled_until: [Timestamp::ZERO; 2],
            black_hole: [false; 2],
            wires: Vec::new(),
        };
        Self(Arc::new(Path {
            clock,
            random: SeededRandom::new(seed),
            options,
            state: Mutex::new(state),
        }))
    }

    /// A new connection: the near end and the far end.
    pub fn pair(&self) -> (LinkEnd, LinkEnd) {
        let wire = Arc::new(Mutex::new(Wire::default()));
        let mut state = self.0.lock();
        state.wires.retain(|wire| wire.strong_count() > 0);
        state.wires.push(Arc::downgrade(&wire));
        drop(state);
        (
            LinkEnd::new(&self.0, &wire, 0),
            LinkEnd::new(&self.0, &wire, 1),
        )
    }

    /// Breaks every connection: both ends get a reset. New ones can be made.
    pub fn cut(&self) {
        self.befall(Fault::Cut);
    }

    /// Swallows bytes in this direction from now on, without a sign to either end.
    pub fn black_hole(&self, way: Way) {
        self.befall(Fault::BlackHole(way));
    }

    /// Holds bytes in this direction back until [`heal`](Self::heal).
    pub fn stall(&self, way: Way) {
        self.befall(Fault::Stall(way, std::time::Duration::MAX));
    }

    /// Ends stalls and black holes. Bytes that were held back arrive; those swallowed do not.
    pub fn heal(&self) {
        let mut state = self.0.lock();
        state.stalled_until = [Timestamp::ZERO; 2];
        state.black_hole = [false; 2];
        state.wake_all();
    }

    fn befall(&self, fault: Fault) {
        let now = self.0.clock.now();
        self.0.lock().apply(fault, now);
    }
}

impl Path {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings about the faults that are due. Returns the state of one direction.
    fn look(&self, direction: usize, now: Timestamp) -> Outlook {
        let mut state = self.lock();
        while let Some((_, fault)) = state.schedule.pop_if(|(at, _)| *at <= now) {
            state.apply(fault, now);
        }
        Outlook {
            stalled_until: state.stalled_until[direction],
            black_hole: state.black_hole[direction],
            next_fault: state.schedule.last().map(|(at, _)| *at),
        }
    }
}

struct Outlook {
    stalled_until: Timestamp,
    black_hole: bool,
    next_fault: Option<Timestamp>,
}

impl State {
    fn apply(&mut self, fault: Fault, now: Timestamp) {
        match fault {
            Fault::Cut => {
                for wire in self.wires.drain(..).filter_map(|wire| wire.upgrade()) {
                    wire::lock(&wire).cut();
                }
            }
            Fault::Stall(way, lasts) => {
                for direction in way.directions() {
                    self.stalled_until[*direction] = now.after(lasts);
                }
            }
            Fault::BlackHole(way) => {
                for direction in way.directions() {
                    self.black_hole[*direction] = true;
                }
            }
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        for wire in self.wires.iter().filter_map(Weak::upgrade) {
            wire::lock(&wire).wake_all();
        }
    }
}

#[cfg(test)]
mod tests;
