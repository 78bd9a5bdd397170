use std::collections::BTreeMap;

use longshore_core::Resources;

use crate::resource::Resource;

/// Sums of resources. Wider than one amount, so that no number of absurd amounts saturates the sum
/// and makes a later subtraction wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    cpu: u128,
    memory: u128,
    generic: BTreeMap<Box<str>, u128>,
}

impl Totals {
    pub(crate) fn add(&mut self, amounts: &Resources) {
        self.cpu += u128::from(amounts.cpu.0);
        self.memory += u128::from(amounts.memory.0);
        for (name, amount) in amounts.generic.iter().filter(|(_, amount)| **amount > 0) {
            match self.generic.get_mut(name.as_str()) {
                Some(sum) => *sum += u128::from(*amount),
                None => {
                    self.generic
                        .insert(name.as_str().into(), u128::from(*amount));
                }
            }
        }
    }

    /// Takes away what was added before.
    pub(crate) fn subtract(&mut self, amounts: &Resources) {
        self.cpu = self.cpu.saturating_sub(u128::from(amounts.cpu.0));
        self.memory = self.memory.saturating_sub(u128::from(amounts.memory.0));
        for (name, amount) in &amounts.generic {
            if let Some(sum) = self.generic.get_mut(name.as_str()) {
                *sum = sum.saturating_sub(u128::from(*amount));
                if *sum == 0 {
                    self.generic.remove(name.as_str());
                }
            }
        }
    }

    pub(crate) fn of(&self, resource: Resource<'_>) -> u128 {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
            Resource::Generic(name) => self.generic.get(name).copied().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{Bytes, MilliCpu};

    use super::*;

    #[test]
    fn absurd_amounts_come_off_again() {
        let mut huge = Resources::new(MilliCpu(u64::MAX), Bytes(u64::MAX));
        huge.generic.insert("gpu".into(), u64::MAX);
        let small = Resources::new(MilliCpu(1), Bytes(2));
        let mut totals = Totals::default();
        totals.add(&small);
        for _ in 0..3 {
            totals.add(&huge);
        }
        for _ in 0..3 {
            totals.subtract(&huge);
        }
        assert_eq!(
            (totals.of(Resource::Cpu), totals.of(Resource::Memory)),
            (1, 2)
        );
        totals.subtract(&small);
        assert_eq!(totals, Totals::default());
    }
}
