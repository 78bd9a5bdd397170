//! Who of many connections may stay.

mod book;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_core::{Clock, Timestamp};
use tokio::sync::Notify;

use self::book::{Book, Limits};
use super::ListenOptions;

/// The connections of a listener. One that waits (for a handshake, or for a request) gives way when
/// there are too many; one that is being answered never does.
#[derive(Debug)]
pub(super) struct Slots {
    book: Mutex<Book>,
    room: Notify,
    clock: Arc<dyn Clock>,
    pressure: Quiet,
    #[cfg(feature = "tls")]
    handshakes: Quiet,
}

/// A connection's place. Given back when this is dropped.
#[derive(Debug)]
pub(in crate::endpoint) struct Slot {
    slots: Arc<Slots>,
    id: u64,
    evicted: Arc<Notify>,
}

impl Slots {
    pub(super) fn new(options: &ListenOptions, clock: Arc<dyn Clock>) -> Arc<Self> {
        let limits = Limits {
            all: options.max_connections.max(1),
            handshaking: options.max_handshakes.max(1),
            idle: options.max_idle.max(1),
            per_peer: options.max_per_peer.max(1),
        };
        Arc::new(Self {
            book: Mutex::new(Book::new(limits)),
            room: Notify::new(),
            clock,
            pressure: Quiet::default(),
            #[cfg(feature = "tls")]
            handshakes: Quiet::default(),
        })
    }

    /// Waits until another connection may be accepted.
    ///
    /// # Cancel safety
    /// Nothing is taken: dropping the future changes nothing. For one caller at a time.
    pub(super) async fn room(&self) {
        while !self.lock().has_room() {
            self.room.notified().await;
        }
    }

    /// Takes a connection in, at the cost of one that waits if it must be. `None`: this peer has
    /// enough that are being answered.
    pub(super) fn enter(self: &Arc<Self>, peer: Option<IpAddr>, handshakes: bool) -> Option<Slot> {
        let evicted = Arc::new(Notify::new());
        let mut book = self.lock();
        let entered = book.enter(peer.map(network), handshakes, Arc::clone(&evicted));
        let turned_away = book.take_turned_away();
        drop(book);
        self.warn(turned_away, peer);
        entered.map(|id| Slot {
            slots: Arc::clone(self),
            id,
            evicted,
        })
    }

    /// Whether a handshake that failed is worth a line of the log: a few a minute are.
    #[cfg(feature = "tls")]
    pub(super) fn may_tell_of_handshake(&self) -> bool {
        self.handshakes.turn(self.clock.now(), 1).is_some()
    }

    fn warn(&self, turned_away: u64, peer: Option<IpAddr>) {
        if turned_away > 0
            && let Some(count) = self.pressure.turn(self.clock.now(), turned_away)
        {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(
                count,
                peer,
                "too many connections: those that waited longest were closed. Does a client keep \
                 connections open without need?"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Resolves when the connection has to give way.
    pub(super) fn evicted(&self) -> impl Future<Output = ()> + use<> {
        let evicted = Arc::clone(&self.evicted);
        async move { evicted.notified().await }
    }

    /// The handshake is over or a request was answered: it waits for the next request.
    pub(super) fn wait(&self) {
        let mut book = self.slots.lock();
        book.wait(self.id);
        let turned_away = book.take_turned_away();
        drop(book);
        self.slots.room.notify_one();
        self.slots.warn(turned_away, None);
    }

    /// A request came. False: too late, the connection has to give way and the request is not to be
    /// looked at.
    pub(super) fn work(&self) -> bool {
        self.slots.lock().work(self.id)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().leave(self.id);
        self.slots.room.notify_one();
    }
}

/// Says something once in a while, with how often there was something to say.
#[derive(Debug, Default)]
struct Quiet(Mutex<(Option<Timestamp>, u64)>);

impl Quiet {
    fn turn(&self, now: Timestamp, more: u64) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, count) = &mut *state;
        *count += more;
        if next.is_some_and(|next| now < next) {
            return None;
        }
        *next = Some(now.after(EVERY));
        Some(std::mem::take(count))
    }
}

/// Who has one address of the newer protocol has many.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(network.into())
        }
        older => older,
    }
}

const EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_said_once_in_a_while() {
        let quiet = Quiet::default();
        let at = |seconds: u64| Timestamp::from_secs(1000 + seconds);
        assert_eq!(quiet.turn(at(0), 1), Some(1));
        assert_eq!(quiet.turn(at(1), 2), None);
        assert_eq!(quiet.turn(at(9), 3), None);
        assert_eq!(quiet.turn(at(10), 1), Some(6));
        assert_eq!(quiet.turn(at(11), 1), None);
    }

    #[test]
    fn a_network_of_the_newer_protocol_is_one_peer() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
