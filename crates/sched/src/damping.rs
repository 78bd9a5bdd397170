use std::time::Duration;

use longshore_core::Timestamp;

/// Keeps work away from a node that comes and goes, as routers do with routes (RFC 2439): each
/// failure adds a penalty, which halves with time; above one bound the node is damped until the
/// penalty falls below a lower one.
///
/// Pure: it is told of failures and asked with a time. The embedder sets the node
/// [`Quarantined`](longshore_core::Availability::Quarantined) while it is damped.
///
/// ```
/// use std::time::Duration;
/// use longshore_core::Timestamp;
/// use longshore_sched::{FlapDamping, Flapping};
///
/// let damping = FlapDamping::default();
/// let mut node = Flapping::default();
/// for second in [0, 10, 20] {
///     node.failed(&damping, Timestamp::from_secs(second));
/// }
/// assert!(node.is_damped(&damping, Timestamp::from_secs(20)));
/// let until = node.damped_until(&damping, Timestamp::from_secs(20)).unwrap();
/// assert!(until > Timestamp::from_secs(300) && until < Timestamp::from_secs(900));
/// assert!(!node.is_damped(&damping, until.after(Duration::from_secs(1))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FlapDamping {
    /// In which time a penalty halves.
    pub half_life: Duration,
    /// From how many failures at once a node is damped.
    pub suppress: f64,
    /// Below how many it is free again.
    pub reuse: f64,
    /// What is never exceeded, so that no node is damped for ever.
    pub ceiling: f64,
}

/// Damped from 2.5 failures, free below 1, halved every 5 minutes, never above 8.
impl Default for FlapDamping {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(300),
            suppress: 2.5,
            reuse: 1.0,
            ceiling: 8.0,
        }
    }
}

/// How a node behaved lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flapping {
    penalty: f64,
    at: Timestamp,
    damped: bool,
}

impl Flapping {
    /// The node failed.
    pub fn failed(&mut self, damping: &FlapDamping, now: Timestamp) {
        self.settle(damping, now);
        self.penalty = (self.penalty + 1.0).min(damping.ceiling);
        self.damped |= self.penalty >= damping.suppress;
    }

    /// Whether it should take no new work now.
    pub fn is_damped(&self, damping: &FlapDamping, now: Timestamp) -> bool {
        self.damped && self.penalty_at(damping, now) >= damping.reuse
    }

    /// When it may take work again, if it is damped now and does not fail again.
    pub fn damped_until(&self, damping: &FlapDamping, now: Timestamp) -> Option<Timestamp> {
        if !self.is_damped(damping, now) {
            return None;
        }
        let half_lives = (self.penalty / damping.reuse.max(f64::MIN_POSITIVE)).log2();
        let wait = damping.half_life.as_secs_f64() * half_lives.clamp(0.0, 1_000.0);
        Some(
            self.at
                .after(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)),
        )
    }

    fn settle(&mut self, damping: &FlapDamping, now: Timestamp) {
        self.damped = self.is_damped(damping, now);
        self.penalty = self.penalty_at(damping, now);
        self.at = self.at.max(now);
    }

    fn penalty_at(&self, damping: &FlapDamping, now: Timestamp) -> f64 {
        let half_life = damping.half_life.as_secs_f64().max(f64::MIN_POSITIVE);
        self.penalty * (-now.since(self.at).as_secs_f64() / half_life).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_damps_nothing_and_many_damp_for_a_bounded_time() {
        let damping = FlapDamping::default();
        let at = Timestamp::from_secs;
        let mut node = Flapping::default();
        node.failed(&damping, at(0));
        node.failed(&damping, at(1));
        assert!(!node.is_damped(&damping, at(1)));
        for second in 2..1_000 {
            node.failed(&damping, at(second));
        }
        assert!(node.is_damped(&damping, at(999)));
        // Eight halves to one in three half-lives.
        assert_eq!(node.damped_until(&damping, at(999)), Some(at(999 + 900)));
        assert!(node.is_damped(&damping, at(1_898)) && !node.is_damped(&damping, at(1_900)));
    }

    #[test]
    fn a_node_that_was_free_again_needs_as_many_failures_as_before() {
        let damping = FlapDamping::default();
        let at = Timestamp::from_secs;
        let mut node = Flapping::default();
        for second in 0..3 {
            node.failed(&damping, at(second));
        }
        assert!(node.is_damped(&damping, at(3)));
        node.failed(&damping, at(10_000));
        assert!(!node.is_damped(&damping, at(10_000)));
        // Time that runs backwards is no time.
        assert!(!node.is_damped(&damping, at(5)));
    }
}
