//! What is sent, by reason.

use std::{fmt, ops::Sub};

use super::super::wire::{Kind, Message};

/// What a member sends something after.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Time,
    Ack,
    Other,
}

impl Cause {
    pub(super) fn of(message: &Message) -> Self {
        match message.kind {
            Kind::Ack { .. } => Self::Ack,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Traffic {
    probes: u64,
    acks: u64,
    /// Asking others to probe, their pings, and passing the answer on.
    indirect: u64,
    compares: u64,
    news: u64,
    differences: u64,
}

impl Traffic {
    pub(super) fn count(&mut self, cause: Cause, message: &Message) {
        let count = match (&message.kind, cause) {
            (Kind::Ping { .. }, Cause::Time) => &mut self.probes,
            (Kind::Ack { .. }, Cause::Other) => &mut self.acks,
            (Kind::Ping { .. } | Kind::Ack { .. } | Kind::PingFor { .. }, _) => &mut self.indirect,
            (Kind::Compare { .. }, _) => &mut self.compares,
            (Kind::Tell, Cause::Time) => &mut self.news,
            (Kind::Tell, _) => &mut self.differences,
        };
        *count += 1;
    }

    /// Messages per node and second.
    pub(super) fn over(self, nodes: usize, seconds: u64) -> Rates {
        let rate = |count| count as f64 / (nodes as f64 * seconds.max(1) as f64);
        Rates {
            probes: rate(self.probes),
            acks: rate(self.acks),
            indirect: rate(self.indirect),
            compares: rate(self.compares),
            news: rate(self.news),
            differences: rate(self.differences),
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            probes: self.probes - before.probes,
            acks: self.acks - before.acks,
            indirect: self.indirect - before.indirect,
            compares: self.compares - before.compares,
            news: self.news - before.news,
            differences: self.differences - before.differences,
        }
    }
}

/// Messages per node and second.
#[derive(Clone, Copy)]
pub(super) struct Rates {
    pub(super) probes: f64,
    pub(super) acks: f64,
    pub(super) indirect: f64,
    pub(super) compares: f64,
    pub(super) news: f64,
    pub(super) differences: f64,
}

impl Rates {
    pub(super) fn total(&self) -> f64 {
        self.probes + self.acks + self.indirect + self.compares + self.news + self.differences
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} messages per node and second ({:.2} probes, {:.2} answers, {:.2} through \
             others, {:.2} comparisons, {:.2} differences, {:.2} news)",
            self.total(),
            self.probes,
            self.acks,
            self.indirect,
            self.compares,
            self.differences,
            self.news,
        )
    }
}
