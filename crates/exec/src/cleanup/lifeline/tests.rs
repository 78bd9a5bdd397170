use longshore_core::SeededRandom;
use proptest::prelude::*;

use super::*;
use crate::cleanup::{Cleanup, Group, Identity};

const NOW: Timestamp = Timestamp::from_secs(1000);

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn marks(count: usize) -> Vec<Marker> {
    let random = SeededRandom::new(7);
    let identity = Identity::named("gate", &random);
    let group = Group::new(&identity, Cleanup::Tree, &random).unwrap();
    (0..count).map(|_| group.mark(&random)).collect()
}

fn orders(core: &mut LifelineCore) -> Vec<Order> {
    std::iter::from_fn(|| core.poll_order()).collect()
}

fn up() -> LifelineCore {
    let mut core = LifelineCore::new(NOW);
    core.join();
    assert_eq!(orders(&mut core), [Order::Start]);
    core.ready(NOW);
    core
}

fn say(text: &str) -> Order {
    Order::Say(text.to_owned())
}

#[test]
fn nobody_begins_before_it_stands_nor_when_it_was_not_heard_of() {
    let mut core = LifelineCore::new(NOW);
    assert_eq!(core.trusted_until(), None);
    core.join();
    core.ready(NOW);
    assert_eq!(core.trusted_until(), Some(NOW.after(FRESH)));
    core.heard(later(3), "b");
    assert_eq!(core.trusted_until(), Some(later(3).after(FRESH)));
    for noise in ["", "x", "d", "d x", "d 9", "ready", "bb"] {
        core.heard(later(4), noise);
    }
    assert_eq!(core.trusted_until(), Some(later(3).after(FRESH)));
    core.lost(later(4));
    assert_eq!(core.trusted_until(), None);
    // The one in its place is for those who are there: the lost one may be ending whoever comes.
    core.tick(later(4));
    core.ready(later(5));
    assert_eq!(core.trusted_until(), None);
}

#[test]
fn beats_go_out_every_two_seconds() {
    let mut core = up();
    orders(&mut core);
    assert_eq!(core.next_deadline(), Some(later(2)));
    core.tick(later(1));
    assert_eq!(orders(&mut core), []);
    core.tick(later(2));
    assert_eq!(orders(&mut core), [say("\n")]);
    assert_eq!(core.next_deadline(), Some(later(4)));
}

#[test]
fn sessions_that_end_together_are_searched_for_together() {
    let mut core = up();
    let marks = marks(5);
    let words = |marks: &[Marker]| {
        marks
            .iter()
            .map(Marker::value)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for marker in &marks {
        core.end(marker.clone(), NOW);
    }
    assert_eq!(orders(&mut core), [], "others may come");
    assert_eq!(core.next_deadline(), Some(NOW.after(GATHER)));
    core.tick(NOW.after(GATHER));
    assert_eq!(
        orders(&mut core),
        [say(&format!("e 1 {}\n", words(&marks)))]
    );
    core.heard(NOW, "d 1");
    assert_eq!(orders(&mut core), [Order::Ended(marks)]);
    core.heard(NOW, "d 1");
    assert_eq!(orders(&mut core), [], "told once");
}

#[test]
fn only_a_few_searches_go_on_at_a_time_and_what_waits_goes_together() {
    let mut core = up();
    let marks = marks(MOST_BATCHES + 3);
    let mut now = NOW;
    for marker in &marks {
        core.end(marker.clone(), now);
        now = now.after(GATHER);
        core.tick(now);
    }
    let told = orders(&mut core);
    assert_eq!(told.len(), MOST_BATCHES);
    assert_eq!(told[0], say(&format!("e 1 {}\n", marks[0].value())));
    core.heard(now, "d 1");
    let rest: Vec<&str> = marks[MOST_BATCHES..].iter().map(Marker::value).collect();
    let number = MOST_BATCHES + 1;
    assert_eq!(
        orders(&mut core),
        [
            Order::Ended(vec![marks[0].clone()]),
            say(&format!("e {number} {}\n", rest.join(" ")))
        ]
    );
}

#[test]
fn what_was_not_done_when_it_was_lost_is_told_to_the_next() {
    let mut core = up();
    let marker = marks(1).remove(0);
    core.end(marker.clone(), NOW);
    core.tick(NOW.after(GATHER));
    assert_eq!(orders(&mut core).len(), 1);
    core.lost(NOW);
    assert_eq!(orders(&mut core), []);
    assert_eq!(core.next_deadline(), Some(NOW), "the next at once");
    core.tick(NOW);
    assert_eq!(orders(&mut core), [Order::Start]);
    core.lost(NOW);
    let Some(again) = core.next_deadline() else {
        panic!("it is tried again");
    };
    assert!(again > NOW, "but not in a circle");
    core.tick(again);
    assert_eq!(orders(&mut core), [Order::Start]);
    core.ready(again);
    assert_eq!(
        orders(&mut core),
        [say(&format!("e 2 {}\n", marker.value()))]
    );
}

/// Whoever kills them in the container has a new one made ever more rarely; once one has stood for a
/// while, the next comes at once again.
#[test]
fn shells_that_are_killed_in_a_row_are_replaced_ever_more_slowly() {
    let mut core = up();
    let mut now = NOW;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        core.lost(now);
        let next = core.next_deadline().expect("another is to be started");
        pauses.push(next.since(now));
        now = next;
        core.tick(now);
        core.ready(now);
    }
    assert_eq!(pauses[0], Duration::ZERO);
    assert!(pauses.is_sorted(), "{pauses:?}");
    let most = FIRST_PAUSE * 2u32.pow(MOST_DOUBLINGS);
    assert_eq!(pauses.last(), Some(&most));
    now = now.after(STEADY);
    core.lost(now);
    assert_eq!(core.next_deadline(), Some(now));
}

#[test]
fn signals_are_passed_on_or_refused() {
    let mut core = up();
    let marker = marks(1).remove(0);
    assert!(core.signal(&marker, Signal::TERM, later(9)));
    assert_eq!(
        orders(&mut core),
        [say(&format!("s {} 15\n", marker.value()))]
    );
    // Stopped, it says nothing, and would do nothing of what it is told.
    assert!(!core.signal(&marker, Signal::TERM, later(10)));
    assert_eq!(orders(&mut core), []);
    core.heard(later(11), "b");
    assert!(core.signal(&marker, Signal::TERM, later(12)));
    core.lost(later(12));
    assert!(!core.signal(&marker, Signal::TERM, later(12)));
}

#[test]
fn an_idle_one_is_kept_for_a_while_and_then_let_go_without_acting() {
    let mut core = up();
    core.leave(later(1));
    orders(&mut core);
    core.tick(later(1).after(IDLE));
    assert_eq!(orders(&mut core), [say("\n"), Order::Idle]);
    // Somebody came.
    core.join();
    core.retire();
    assert_eq!(orders(&mut core), []);
    core.leave(later(100));
    core.retire();
    assert_eq!(orders(&mut core), [say("q\n"), Order::Finish]);
    core.lost(later(101));
    assert_eq!(orders(&mut core), []);
}

#[test]
fn one_that_nobody_can_come_to_goes_once_it_has_done_its_work() {
    let mut core = up();
    let marks = marks(1);
    core.end(marks[0].clone(), NOW);
    core.abandon(NOW);
    assert_eq!(orders(&mut core), []);
    core.tick(NOW.after(GATHER));
    orders(&mut core);
    core.heard(NOW, "d 1");
    assert_eq!(
        orders(&mut core),
        [Order::Ended(marks), say("q\n"), Order::Finish]
    );
}

#[test]
fn one_that_can_not_be_started_is_given_up() {
    let mut core = LifelineCore::new(NOW);
    core.join();
    orders(&mut core);
    core.lost(NOW);
    assert_eq!(orders(&mut core), [Order::Finish]);
}

/// What can happen, in any order.
#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    /// A session begins, if it may, and has its process so many milliseconds later.
    Begin(u64),
    /// The session of this place ends, and its connection with it.
    End(usize),
    /// The session of this place is seen to have left nothing.
    Leave(usize),
    /// Somebody kills the shell.
    KillShell,
    /// The connection to the shell breaks.
    Break,
    /// The next start of a shell fails.
    FailStart,
    /// Nothing gets through for so many milliseconds.
    Cut(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0u64..4000).prop_map(Event::Pass),
        4 => (0u64..2000).prop_map(Event::Begin),
        3 => (0usize..8).prop_map(Event::End),
        2 => (0usize..8).prop_map(Event::Leave),
        1 => Just(Event::KillShell),
        1 => Just(Event::Break),
        1 => Just(Event::FailStart),
        1 => (0u64..15_000).prop_map(Event::Cut),
    ];
    proptest::collection::vec(event, 0..40)
}

/// A shell in the container, as the script is.
struct Shell {
    last_line: Timestamp,
    /// Since when it has acted for the whole group.
    acting: Option<Timestamp>,
}

struct Model {
    core: LifelineCore,
    now: Timestamp,
    shell: Option<Shell>,
    connected: bool,
    /// The stream ended, which gets through once anything does.
    ended: bool,
    inbox: Vec<String>,
    fail_starts: u32,
    cut_until: Timestamp,
    /// Each session: when its process begins, and whether it has ended.
    processes: Vec<(Marker, Timestamp, bool)>,
    joined: Vec<usize>,
    marks: Vec<Marker>,
}

impl Model {
    fn new() -> Self {
        Self {
            core: LifelineCore::new(NOW),
            now: NOW,
            shell: None,
            connected: false,
            ended: false,
            inbox: Vec::new(),
            fail_starts: 0,
            cut_until: NOW,
            processes: Vec::new(),
            joined: Vec::new(),
            marks: marks(64),
        }
    }

    fn kill(&mut self, wanted: impl Fn(&Marker) -> bool) {
        for (marker, begins, ended) in &mut self.processes {
            *ended |= wanted(marker) && *begins <= self.now;
        }
    }

    fn running(&self) -> usize {
        let runs = |(_, begins, ended): &&(Marker, Timestamp, bool)| !ended && *begins <= self.now;
        self.processes.iter().filter(runs).count()
    }

    /// Carries orders out as the driver does.
    fn carry_out(&mut self) {
        while let Some(order) = self.core.poll_order() {
            match order {
                Order::Start if self.fail_starts > 0 || self.now < self.cut_until => {
                    self.fail_starts = self.fail_starts.saturating_sub(1);
                    self.core.lost(self.now);
                }
                Order::Start => {
                    self.shell = Some(Shell {
                        last_line: self.now,
                        acting: None,
                    });
                    (self.connected, self.ended) = (true, false);
                    self.inbox.clear();
                    self.core.ready(self.now);
                }
                Order::Say(line) => {
                    self.inbox.push(line);
                    self.deliver();
                }
                Order::Ended(_) => {}
                Order::Idle => self.core.retire(),
                Order::Finish => self.connected = false,
            }
        }
    }

    fn deliver(&mut self) {
        if self.now < self.cut_until {
            return;
        }
        for line in std::mem::take(&mut self.inbox) {
            self.hear(&line);
        }
        if std::mem::take(&mut self.ended) {
            self.connected = false;
            self.core.lost(self.now);
        }
    }

    fn hear(&mut self, line: &str) {
        let Some(shell) = self.shell.as_mut().filter(|shell| shell.acting.is_none()) else {
            return;
        };
        shell.last_line = self.now;
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        match words[..] {
            [""] => self.core.heard(self.now, "b"),
            ["q"] => {
                self.shell = None;
                self.ends_stream();
            }
            ["e", batch, ref ended @ ..] => {
                let ended: Vec<String> = ended.iter().map(|mark| (*mark).to_owned()).collect();
                self.kill(|marker| ended.iter().any(|mark| mark == marker.value()));
                self.core.heard(self.now, &format!("d {batch}"));
            }
            _ => panic!("{line}"),
        }
    }

    /// Lets time pass, in small steps. Without a gateway the shell is alone.
    fn pass(&mut self, time: Duration, gateway: bool) {
        let end = self.now.after(time);
        while self.now < end {
            self.now = self.now.after(STEP).min(end);
            if gateway {
                self.deliver();
                if self.core.next_deadline().is_some_and(|at| at <= self.now) {
                    self.core.tick(self.now);
                }
                self.carry_out();
            }
            self.shell_lives();
        }
    }

    fn shell_lives(&mut self) {
        let Some(shell) = &mut self.shell else {
            return;
        };
        let silent = self.now.since(shell.last_line) > Duration::from_secs(10);
        if shell.acting.is_none() && (!self.connected || silent) {
            shell.acting = Some(self.now);
        }
        let Some(since) = shell.acting else {
            return;
        };
        self.kill(|_| true);
        if self.now.since(since) > Duration::from_secs(10) {
            self.shell = None;
            self.ends_stream();
        }
    }

    fn ends_stream(&mut self) {
        self.ended = self.connected;
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Pass(time) => self.pass(Duration::from_millis(*time), true),
            Event::Begin(delay) => {
                let trusted = self.core.trusted_until().is_some_and(|at| self.now < at);
                if trusted && let Some(marker) = self.marks.pop() {
                    self.core.join();
                    let begins = self.now.after(Duration::from_millis(*delay));
                    self.joined.push(self.processes.len());
                    self.processes.push((marker, begins, false));
                }
            }
            // Told once its process stands; a start that was given up is told again by the ladder.
            Event::End(place) => {
                if let Some((marker, begins, _)) = self.processes.get(*place)
                    && *begins <= self.now
                    && self.joined.contains(place)
                {
                    self.core.end(marker.clone(), self.now);
                }
            }
            Event::Leave(place) => {
                let gone = self.processes.get(*place).is_some_and(|(.., gone)| *gone);
                if gone && let Some(at) = self.joined.iter().position(|joined| joined == place) {
                    self.joined.remove(at);
                    self.core.leave(self.now);
                }
            }
            Event::KillShell => {
                if self.shell.take().is_some() {
                    self.ends_stream();
                }
            }
            Event::Break => {
                // The engine ends the shell's input, too.
                self.ends_stream();
                if let Some(shell) = &mut self.shell {
                    shell.acting.get_or_insert(self.now);
                }
            }
            Event::FailStart => self.fail_starts += 1,
            Event::Cut(time) => {
                self.cut_until = self.now.after(Duration::from_millis(*time));
            }
        }
        self.deliver();
        self.carry_out();
    }
}

const STEP: Duration = Duration::from_millis(250);

proptest! {
    /// The gateway dies behind any order of events, also between the request that starts a session
    /// and its process: the shell alone leaves nothing. Only where somebody killed the shell in the
    /// same moment, before another stood in its place, it is left to the reaper.
    #[test]
    fn a_gateway_that_dies_at_any_time_leaves_nothing(events in events()) {
        let mut model = Model::new();
        model.carry_out();
        for event in &events {
            model.happen(event);
        }
        let killed = |event: &Event| matches!(event, Event::KillShell);
        let watched = model.shell.is_some() || !events.iter().any(killed);
        model.connected = false;
        model.pass(Duration::from_secs(40), false);
        if watched {
            prop_assert_eq!(model.running(), 0);
        }
        prop_assert!(model.shell.is_none(), "and does not stay itself");
    }

    /// While the gateway lives, every session that ended is ended in the container, whatever became
    /// of the shell; and nobody is watched over by none for longer than the starts fail.
    #[test]
    fn who_ended_is_ended_and_who_runs_is_watched_over(events in events()) {
        let mut model = Model::new();
        model.carry_out();
        for event in &events {
            model.happen(event);
        }
        // The engine is there again.
        (model.fail_starts, model.cut_until) = (0, model.now);
        model.pass(Duration::from_secs(60), true);
        if !model.joined.is_empty() {
            prop_assert!(model.connected && model.shell.is_some());
        }
        for place in model.joined.clone() {
            let marker = model.processes[place].0.clone();
            model.core.end(marker, model.now);
        }
        model.pass(STEP, true);
        prop_assert_eq!(model.running(), 0);
        // Let go by all, it goes.
        for _ in std::mem::take(&mut model.joined) {
            model.core.leave(model.now);
        }
        model.pass(IDLE + BEAT * 2, true);
        prop_assert!(!model.connected && model.shell.is_none());
    }
}
