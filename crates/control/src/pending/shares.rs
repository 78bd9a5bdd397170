use std::collections::HashMap;

use longshore_core::{Error, ErrorKind};

use super::Owner;

/// Who holds how much of something that is bounded, so that nobody takes it all: an owner has at most
/// its share, and all stacks together at most half, however many there are. The embedding program
/// itself is bounded by the whole only.
#[derive(Debug)]
pub(crate) struct Shares {
    unit: &'static str,
    capacity: usize,
    each: usize,
    held: usize,
    of_stacks: usize,
    by_owner: HashMap<Owner, usize>,
}

impl Shares {
    /// Of `capacity` of something, of which each owner has at most `each`; by default a quarter.
    pub(crate) fn new(unit: &'static str, capacity: usize, each: Option<usize>) -> Self {
        Self {
            unit,
            capacity,
            each: each.unwrap_or(capacity.div_ceil(SHARES)),
            held: 0,
            of_stacks: 0,
            by_owner: HashMap::new(),
        }
    }

    /// Gives an owner so much more.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`], naming the owner and the limit that is met; nothing is taken
    /// then.
    pub(crate) fn take(&mut self, owner: &Owner, amount: usize) -> Result<(), Error> {
        let (unit, capacity) = (self.unit, self.capacity);
        let full = |text: String| Err(Error::new(ErrorKind::ResourceExhausted, text));
        if !fits(self.held, amount, capacity) {
            return full(format!(
                "all {capacity} {unit} for what waits are taken: nothing more is queued before some of \
                 it is placed or given up"
            ));
        }
        let held = self.by_owner.get(owner).copied().unwrap_or_default();
        if *owner != Owner::Program && !fits(held, amount, self.each) {
            return full(format!(
                "{owner} holds {held} of the {capacity} {unit} for what waits already, and nobody may \
                 have more than {}: nothing more of this owner's is queued before some of it is placed \
                 or given up",
                self.each
            ));
        }
        let is_stack = matches!(owner, Owner::Stack(_));
        let half = capacity.div_ceil(2);
        if is_stack && !fits(self.of_stacks, amount, half) {
            return full(format!(
                "instances of stacks hold {} of the {capacity} {unit} for what waits already, and may \
                 not have more than {half}: no more of {owner} is queued before some are placed",
                self.of_stacks
            ));
        }
        self.keep(owner, amount);
        Ok(())
    }

    /// Gives back to an owner what it was given before: it may be above its share with that, and the
    /// whole above its capacity, and then nobody is given more.
    pub(crate) fn keep(&mut self, owner: &Owner, amount: usize) {
        self.held += amount;
        if matches!(owner, Owner::Stack(_)) {
            self.of_stacks += amount;
        }
        *self.by_owner.entry(owner.clone()).or_default() += amount;
    }

    /// Takes back what an owner was [given](Self::take).
    pub(crate) fn give_back(&mut self, owner: &Owner, amount: usize) {
        let Some(held) = self.by_owner.get_mut(owner) else {
            return;
        };
        let amount = amount.min(*held);
        *held -= amount;
        if *held == 0 {
            self.by_owner.remove(owner);
        }
        self.held -= amount;
        if matches!(owner, Owner::Stack(_)) {
            self.of_stacks -= amount;
        }
    }
}

fn fits(held: usize, amount: usize, most: usize) -> bool {
    held.checked_add(amount).is_some_and(|sum| sum <= most)
}

/// An owner has at most one part of so many.
const SHARES: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owners() -> Vec<Owner> {
        let named = ["alice", "bob"].map(Owner::named);
        let stacks = (0..4).map(|number| Owner::Stack(format!("s{number}").parse().unwrap()));
        named
            .into_iter()
            .chain(stacks)
            .chain([Owner::Program])
            .collect()
    }

    #[track_caller]
    fn refuses(shares: &mut Shares, owner: &Owner, words: &str) {
        let error = shares.take(owner, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(error.message().starts_with(words), "{error}");
    }

    #[test]
    fn s21_a_refusal_names_the_owner_and_the_limit() {
        let mut shares = Shares::new("places", 100, None);
        let all = owners();
        shares.take(&all[0], 25).unwrap();
        refuses(
            &mut shares,
            &all[0],
            "alice holds 25 of the 100 places for what waits already, and nobody may have more than 25",
        );
        shares.take(&all[2], 25).unwrap();
        shares.take(&all[3], 25).unwrap();
        refuses(
            &mut shares,
            &all[4],
            "instances of stacks hold 50 of the 100 places for what waits already, and may not have \
             more than 50",
        );
        shares.take(&all[6], 25).unwrap();
        refuses(
            &mut shares,
            &all[1],
            "all 100 places for what waits are taken",
        );
        shares.give_back(&all[6], 1);
        shares.take(&all[1], 1).unwrap();
    }

    #[test]
    fn s21_the_program_may_have_all_and_a_share_can_be_chosen() {
        let all = owners();
        let mut shares = Shares::new("places", 10, Some(4));
        shares.take(&all[0], 4).unwrap();
        assert!(shares.take(&all[0], 1).is_err());
        shares.take(&Owner::Program, 6).unwrap();
        assert!(shares.take(&Owner::Program, usize::MAX).is_err());
        assert!(Shares::new("places", 1, None).take(&all[0], 1).is_ok());
        assert!(Shares::new("places", 0, None).take(&all[0], 1).is_err());
    }

    #[test]
    fn s21_who_comes_back_is_above_his_share_and_counts_for_others() {
        let all = owners();
        let mut shares = Shares::new("places", 4, None);
        shares.take(&all[0], 1).unwrap();
        shares.keep(&all[0], 1);
        refuses(&mut shares, &all[0], "alice holds 2 of the 4 places");
        shares.take(&Owner::Program, 2).unwrap();
        shares.keep(&all[1], 1);
        refuses(&mut shares, &Owner::Program, "all 4 places");
        shares.give_back(&all[0], 2);
        shares.give_back(&all[1], 1);
        shares.take(&all[0], 1).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is taken and given back: nobody is above his share, and the sums are right.
        #[test]
        fn s21_nobody_is_above_his_share(
            capacity in 0..60_usize,
            steps in proptest::collection::vec((0..7_usize, 1..20_usize, any::<bool>()), 1..100),
        ) {
            let all = owners();
            let mut shares = Shares::new("places", capacity, None);
            let mut held = vec![0; all.len()];
            for (which, amount, takes) in steps {
                if takes {
                    let sum = held.iter().sum::<usize>();
                    let each = match all[which] {
                        Owner::Program => capacity,
                        _ => capacity.div_ceil(4),
                    };
                    let of_stacks: usize = held[2..6].iter().sum();
                    let fits = sum + amount <= capacity
                        && held[which] + amount <= each
                        && !((2..6).contains(&which)
                            && of_stacks + amount > capacity.div_ceil(2));
                    prop_assert_eq!(shares.take(&all[which], amount).is_ok(), fits);
                    held[which] += if fits { amount } else { 0 };
                } else {
                    let amount = amount.min(held[which]);
                    shares.give_back(&all[which], amount);
                    held[which] -= amount;
                }
                prop_assert_eq!(shares.held, held.iter().sum::<usize>());
                prop_assert_eq!(shares.of_stacks, held[2..6].iter().sum::<usize>());
            }
            let nobody = held.iter().filter(|held| **held > 0).count();
            prop_assert_eq!(shares.by_owner.len(), nobody);
        }
    }
}
