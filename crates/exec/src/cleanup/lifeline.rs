use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use longshore_core::{Signal, Timestamp};

use super::Marker;

/// Decides what the shell beside a container's sessions is told, when it may be relied upon, and when
/// another must take its place.
///
/// One shell stands for all sessions of a group. It ends single sessions by request; when its input
/// ends, or says nothing for ten seconds, it ends the whole group, and looks for latecomers for
/// another ten. So a session needs no announcement: whoever carries a mark of the group is known by
/// it, also when this program dies right behind the request that starts it.
#[derive(Debug)]
pub(crate) struct LifelineCore {
    phase: Phase,
    /// Sessions that may have a process.
    members: usize,
    /// Whose processes are to be ended.
    queue: VecDeque<Marker>,
    /// Until when those who end together are gathered.
    gathering: Option<Timestamp>,
    /// What the shell was told to end and has not said to be done with, and until when that counts.
    batches: BTreeMap<u32, (Vec<Marker>, Timestamp)>,
    batch: u32,
    next_beat: Timestamp,
    idle_since: Timestamp,
    failures: u32,
    stands_since: Timestamp,
    /// Nobody can join any more: a shell was lost, and may be ending the group; or nobody asks.
    closed: bool,
    orders: VecDeque<Order>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `again`: one was up before.
    Starting {
        again: bool,
    },
    Up {
        heard: Timestamp,
    },
    Down {
        until: Timestamp,
    },
    Over,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start the shell; tell [`ready`](LifelineCore::ready) or [`lost`](LifelineCore::lost).
    Start,
    /// Write this to it.
    Say(String),
    /// It says that it has ended these, as far as it could.
    Ended(Vec<Marker>),
    /// Nobody needs it any more: make sure that nobody is about to, and tell
    /// [`retire`](LifelineCore::retire).
    Idle,
    /// Let it go when all is written. This is the last order.
    Finish,
}

impl LifelineCore {
    /// Before anything was started.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Starting { again: false },
            members: 0,
            queue: VecDeque::new(),
            gathering: None,
            batches: BTreeMap::new(),
            batch: 0,
            next_beat: now,
            idle_since: now,
            failures: 0,
            stands_since: now,
            closed: false,
            orders: VecDeque::from([Order::Start]),
        }
    }

    /// What is to be done next.
    pub(crate) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Up { .. } => {
                let idle = self.is_idle().then(|| self.idle_since.after(IDLE));
                let batches = self.batches.values().map(|(_, until)| *until);
                let others = idle.into_iter().chain(self.gathering);
                batches.chain(others).chain([self.next_beat]).min()
            }
            Phase::Down { until } => Some(until),
            Phase::Starting { .. } | Phase::Over => None,
        }
    }

    /// Until when a session may begin without asking again: half of what the shell waits for a beat.
    /// `None` while none is known to be there, and for ever once one was lost: that one may be ending
    /// the group, and whoever began in it then.
    pub(crate) fn trusted_until(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Up { heard } if !self.closed => Some(heard.after(FRESH)),
            _ => None,
        }
    }

    /// A session is about to begin.
    pub(crate) fn join(&mut self) {
        self.members += 1;
    }

    /// Nothing of a session is left, as was seen from outside, or it is nobody's business.
    pub(crate) fn leave(&mut self, now: Timestamp) {
        self.members = self.members.saturating_sub(1);
        self.settle(now);
    }

    /// A session is over: its processes are to end. Those of others that end within milliseconds are
    /// searched for together: a client or a link that goes takes many sessions with it.
    pub(crate) fn end(&mut self, marker: Marker, now: Timestamp) {
        self.queue.push_back(marker);
        self.gathering.get_or_insert(now.after(GATHER));
    }

    /// Sends a signal to the foreground of a session. False: nobody is there to do it, or was heard
    /// of for as long as the shell itself waits.
    pub(crate) fn signal(&mut self, marker: &Marker, signal: Signal, now: Timestamp) -> bool {
        let up = matches!(self.phase, Phase::Up { heard } if now < heard.after(SILENCE));
        if up {
            let line = format!("s {} {}\n", marker.value(), signal.number());
            self.orders.push_back(Order::Say(line));
        }
        up
    }

    /// The shell stands.
    pub(crate) fn ready(&mut self, now: Timestamp) {
        self.phase = Phase::Up { heard: now };
        self.stands_since = now;
        self.next_beat = now.after(BEAT);
        self.idle_since = now;
        self.flush(now);
    }

    /// The shell said something. What it must not say counts as nothing.
    pub(crate) fn heard(&mut self, now: Timestamp, line: &str) {
        let Phase::Up { heard } = &mut self.phase else {
            return;
        };
        if line == "b" {
            *heard = now;
        } else if let Some(batch) = line.strip_prefix("d ").and_then(|n| n.parse().ok())
            && let Some((ended, _)) = self.batches.remove(&batch)
        {
            self.orders.push_back(Order::Ended(ended));
            self.flush(now);
            self.settle(now);
        }
    }

    /// The shell is gone, or could not be started. While somebody needs one, another is started in
    /// its place, for the same group: either this one acted, and there is nobody left, or it was
    /// killed, and they still run.
    pub(crate) fn lost(&mut self, now: Timestamp) {
        let never_was = self.phase == Phase::Starting { again: false };
        for (_, (batch, _)) in std::mem::take(&mut self.batches) {
            self.queue.extend(batch);
        }
        let in_vain = self.closed || self.queue.is_empty();
        if self.phase == Phase::Over || never_was || (self.members == 0 && in_vain) {
            self.finish();
            return;
        }
        self.closed = true;
        let stood =
            matches!(self.phase, Phase::Up { .. }) && now >= self.stands_since.after(STEADY);
        if stood {
            self.failures = 0;
        }
        let pause = FIRST_PAUSE * 2u32.saturating_pow(self.failures.min(MOST_DOUBLINGS));
        // The first at once: it may have been killed. Killed again and again, it costs the engine no
        // more than one that can't be started.
        let pause = if self.failures == 0 {
            Duration::ZERO
        } else {
            pause
        };
        self.failures += 1;
        self.phase = Phase::Down {
            until: now.after(pause),
        };
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        match self.phase {
            Phase::Up { .. } => {
                // The ladder has gone on meanwhile.
                let told = self.batches.len();
                self.batches.retain(|_, (_, until)| now < *until);
                if self.gathering.is_none_or(|until| now >= until) {
                    self.flush(now);
                }
                if self.batches.len() < told {
                    self.settle(now);
                }
                if now >= self.next_beat {
                    self.next_beat = now.after(BEAT);
                    self.orders.push_back(Order::Say("\n".to_owned()));
                }
                if self.is_idle() && now >= self.idle_since.after(IDLE) {
                    self.idle_since = now;
                    self.orders.push_back(Order::Idle);
                }
            }
            Phase::Down { .. } if self.members == 0 && self.queue.is_empty() => self.finish(),
            Phase::Down { until } if now >= until => {
                self.phase = Phase::Starting { again: true };
                self.orders.push_back(Order::Start);
            }
            _ => {}
        }
    }

    /// Nobody holds it any more, and nobody can come: it goes once what was asked for is done.
    pub(crate) fn abandon(&mut self, now: Timestamp) {
        self.closed = true;
        self.members = 0;
        self.settle(now);
    }

    /// Lets the shell go without its acting, unless a session needs it after all.
    pub(crate) fn retire(&mut self) {
        if self.is_idle() && self.phase != Phase::Over {
            if matches!(self.phase, Phase::Up { .. }) {
                self.orders.push_back(Order::Say("q\n".to_owned()));
            }
            self.finish();
        }
    }

    fn is_idle(&self) -> bool {
        self.members == 0 && self.queue.is_empty() && self.batches.is_empty()
    }

    fn settle(&mut self, now: Timestamp) {
        if self.is_idle() {
            self.idle_since = now;
            if self.closed {
                self.retire();
            }
        }
    }

    fn finish(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.orders.push_back(Order::Finish);
        }
    }

    /// Passes on what is to be ended. All that waits goes together: one search finds them all.
    fn flush(&mut self, now: Timestamp) {
        let up = matches!(self.phase, Phase::Up { .. });
        if up {
            self.gathering = None;
        }
        while up && !self.queue.is_empty() && self.batches.len() < MOST_BATCHES {
            let count = self.queue.len().min(LARGEST_BATCH);
            let batch: Vec<Marker> = self.queue.drain(..count).collect();
            self.batch = self.batch.wrapping_add(1);
            let mut line = format!("e {}", self.batch);
            for marker in &batch {
                line.push(' ');
                line.push_str(marker.value());
            }
            line.push('\n');
            self.orders.push_back(Order::Say(line));
            let until = now.after(BATCH_LIMIT);
            self.batches.insert(self.batch, (batch, until));
        }
    }
}

const BEAT: Duration = Duration::from_secs(2);
/// Two and a half beats. The shell acts after ten seconds of silence.
const FRESH: Duration = Duration::from_secs(5);
/// After which a shell acts by itself.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a shell waits for the container's next session.
const IDLE: Duration = Duration::from_secs(60);
const MOST_BATCHES: usize = 4;
const LARGEST_BATCH: usize = 64;
/// A search takes tens of milliseconds, and two at a time take longer than one.
const GATHER: Duration = Duration::from_millis(3);
const BATCH_LIMIT: Duration = Duration::from_secs(30);
/// How long a shell stands until its loss is not one more of a row.
const STEADY: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Half a minute at most.
const MOST_DOUBLINGS: u32 = 7;

#[cfg(test)]
mod tests;
