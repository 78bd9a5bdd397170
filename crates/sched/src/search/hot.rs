use crate::{filter::Pipeline, index::Node, resource::Resource};

/// What a search needs of a node, in one cache line: most of a search in a large cluster is waiting
/// for these.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(align(64))]
pub(super) struct Hot {
    /// CPU and memory: used and in all. Used is at most `u64::MAX`: more has no room left anyway.
    pub(super) cpu: Amount,
    pub(super) memory: Amount,
    /// A hundredth of the CPU and of the memory, inverted.
    percent: [f32; 2],
    pub(super) rank: u64,
    pub(super) containers: u32,
    /// The strategy's health term, signed as in the weight.
    pub(super) health: i32,
    /// Whether it takes any work: healthy, active, with a container slot left.
    pub(super) open: bool,
}

/// How much of something is used, and how much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Amount {
    pub(super) used: u64,
    pub(super) total: u64,
}

impl Hot {
    pub(super) fn of(node: &Node, pipeline: &Pipeline, health_factor: i64) -> Self {
        let amount = |resource| {
            let total = node.capacity(resource);
            Amount {
                used: u64::try_from(node.used(resource)).unwrap_or(u64::MAX),
                total,
            }
        };
        let (cpu, memory) = (amount(Resource::Cpu), amount(Resource::Memory));
        Self {
            cpu,
            memory,
            percent: [cpu.total, memory.total].map(|total| 100.0 / total.max(1) as f32),
            rank: node.rank,
            containers: u32::try_from(node.containers()).unwrap_or(u32::MAX),
            health: (health_factor * i64::from(node.state.health_indicator)) as i32,
            open: pipeline.is_open(node),
        }
    }
}

impl Hot {
    /// A bound of the weight with so much more CPU and memory, that takes no division.
    pub(super) fn estimate(&self, cpu: u64, memory: u64, packs: bool) -> i32 {
        let slack = if packs { 1.0 + SLACK } else { 1.0 - SLACK };
        let score = |amount: Amount, percent: f32, more: u64| {
            if more == 0 {
                return 0;
            }
            let after = amount.used.saturating_add(more) as f32;
            // What is far over its capacity must not overflow the sum of two of these.
            (after * percent * slack).min(OVERFULL) as i32
        };
        score(self.cpu, self.percent[0], cpu)
            + score(self.memory, self.percent[1], memory)
            + self.health
    }
}

impl Amount {
    pub(super) fn free(self) -> u64 {
        self.total.saturating_sub(self.used)
    }

    /// The used part in 256ths of a percent, rounded down. Only for what is not full.
    pub(super) fn fraction(self) -> u16 {
        let exact = match self.used.checked_mul(PERCENT) {
            Some(scaled) => scaled / self.total.max(1),
            None => {
                (u128::from(self.used) * u128::from(PERCENT) / u128::from(self.total.max(1))) as u64
            }
        };
        exact as u16
    }

    /// Swarm's score with `more` on top, or nothing if that is too much. 0 if nothing is asked for,
    /// where Swarm has 100: a constant ranks nothing.
    pub(super) fn score(self, more: u64) -> Option<i32> {
        if more == 0 {
            return Some(0);
        }
        let after = self
            .used
            .checked_add(more)
            .filter(|after| *after <= self.total)?;
        Some(match after.checked_mul(100) {
            Some(hundredfold) => (hundredfold / self.total) as i32,
            None => (u128::from(after) * 100 / u128::from(self.total)) as i32,
        })
    }
}

/// More than the error of the roundings of a float.
const SLACK: f32 = 1e-6;

/// More percents than any node with room has.
const OVERFULL: f32 = 1e6;

/// 256ths of a percent in a whole.
pub(super) const PERCENT: u64 = 25_600;
