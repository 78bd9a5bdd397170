use super::*;

/// A book that knows who was told to leave.
struct Trial {
    book: Book,
    told: HashMap<u64, Arc<Notify>>,
}

impl Trial {
    fn new(all: usize, handshaking: usize, idle: usize, per_peer: usize) -> Self {
        let limits = Limits {
            all,
            handshaking,
            idle,
            per_peer,
        };
        Self {
            book: Book::new(limits),
            told: HashMap::new(),
        }
    }

    fn enter(&mut self, last: u8, handshakes: bool) -> Option<u64> {
        let peer = IpAddr::from([10, 0, 0, last]);
        let told = Arc::new(Notify::new());
        let id = self.book.enter(Some(peer), handshakes, Arc::clone(&told))?;
        self.told.insert(id, told);
        Some(id)
    }

    #[track_caller]
    fn idle(&mut self, last: u8) -> u64 {
        self.enter(last, false).unwrap()
    }

    #[track_caller]
    fn busy(&mut self, last: u8) -> u64 {
        let id = self.idle(last);
        assert!(self.book.work(id));
        id
    }

    /// Whether it was told to leave, and has left.
    #[track_caller]
    fn is_gone(&self, id: u64) -> bool {
        let told = is_ready(self.told[&id].notified());
        assert_eq!(told, !self.book.entries.contains_key(&id));
        told
    }
}

fn is_ready(future: impl Future) -> bool {
    futures::FutureExt::now_or_never(future).is_some()
}

#[test]
fn when_all_places_are_taken_who_waited_longest_gives_way() {
    let mut trial = Trial::new(3, 9, 9, 9);
    let (a, b, c) = (trial.idle(1), trial.idle(2), trial.busy(3));
    assert!(trial.book.work(a));
    trial.book.wait(a);
    trial.idle(4);
    assert!(trial.is_gone(b) && !trial.is_gone(a) && !trial.is_gone(c));
    assert!(!trial.book.work(b), "its request would come too late");
    assert_eq!(trial.book.take_turned_away(), 1);
}

#[test]
fn who_is_being_answered_never_gives_way() {
    let mut trial = Trial::new(2, 9, 9, 9);
    let (a, b) = (trial.busy(1), trial.busy(2));
    assert!(!trial.book.has_room());
    // Accepted while there was room.
    let c = trial.busy(3);
    assert!(!trial.is_gone(a) && !trial.is_gone(b));
    trial.book.leave(c);
    assert!(!trial.book.has_room());
    trial.book.leave(a);
    assert!(trial.book.has_room());
}

#[test]
fn handshakes_have_a_budget_of_their_own() {
    let mut trial = Trial::new(9, 2, 9, 9);
    let idle = trial.idle(1);
    let first = trial.enter(2, true).unwrap();
    let second = trial.enter(3, true).unwrap();
    trial.enter(4, true).unwrap();
    assert!(trial.is_gone(first) && !trial.is_gone(second) && !trial.is_gone(idle));
    // One that got through it does not count any more.
    trial.book.wait(second);
    trial.enter(5, true).unwrap();
    assert!(!trial.is_gone(second));
}

#[test]
fn who_only_knocked_gives_way_before_who_got_in() {
    let mut trial = Trial::new(2, 9, 9, 9);
    let idle = trial.idle(1);
    let knocking = trial.enter(2, true).unwrap();
    trial.enter(3, true).unwrap();
    assert!(trial.is_gone(knocking) && !trial.is_gone(idle));
}

#[test]
fn idle_ones_have_a_budget_of_their_own() {
    let mut trial = Trial::new(9, 9, 2, 9);
    let (a, b, c) = (trial.busy(1), trial.idle(2), trial.idle(3));
    trial.book.wait(a);
    assert!(trial.is_gone(b) && !trial.is_gone(a) && !trial.is_gone(c));
}

#[test]
fn a_peer_with_many_displaces_its_own() {
    let mut trial = Trial::new(9, 9, 9, 2);
    let (other, a, b) = (trial.idle(1), trial.busy(2), trial.idle(2));
    let c = trial.enter(2, true).unwrap();
    assert!(trial.is_gone(b) && !trial.is_gone(other) && !trial.is_gone(a));
    trial.book.wait(c);
    assert!(trial.book.work(c));
    assert_eq!(trial.enter(2, false), None, "both are being answered");
    assert!(trial.enter(3, false).is_some());
    trial.book.leave(a);
    assert!(trial.enter(2, false).is_some());
}

#[test]
fn nothing_is_left_of_who_left() {
    let mut trial = Trial::new(9, 9, 9, 9);
    let ids = [trial.idle(1), trial.busy(1), trial.enter(2, true).unwrap()];
    for id in ids {
        trial.book.leave(id);
        trial.book.leave(id);
        trial.book.wait(id);
    }
    let book = &trial.book;
    assert!(book.entries.is_empty() && book.peers.is_empty());
    assert!(book.idle.is_empty() && book.handshaking.is_empty());
}
