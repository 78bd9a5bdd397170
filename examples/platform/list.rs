//! `platform list`

use std::sync::Arc;

use longshore::core::{ClockExt, Membership, SystemClock};

use crate::{
    Failure,
    check::ListPlan,
    say::{note, say},
};

pub async fn run(plan: ListPlan) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::new());
    let backend = crate::manage::discovery(&plan.url, &plan.options, None, clock.clone())?;
    let found = clock
        .timeout(plan.timeout, "reading the nodes", backend.list())
        .await
        .map_err(|_| Failure::new("Timed out"))??;
    let place = backend.describe();
    for problem in &found.problems {
        note(format_args!("warning: {place}: {}", problem.chain()));
    }
    for node in &found.nodes {
        say(&node.endpoint)?;
    }
    verdict(&found, &place)
}

/// Good entries count whatever stands between them; a list of bad ones only is an error.
fn verdict(found: &Membership, place: &str) -> Result<(), Failure> {
    if found.nodes.is_empty() && !found.problems.is_empty() {
        return Err(Failure::new(format!("{place} holds no usable entry")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use longshore::{Error, core::Announcement};

    use super::*;

    #[test]
    fn bad_entries_fail_a_list_only_when_there_are_no_good_ones() {
        let bad = || vec![Error::invalid("line 2")];
        let good = || vec![Announcement::new("a:1".parse().unwrap())];
        assert!(verdict(&Membership::new(good(), bad()), "x").is_ok());
        assert!(verdict(&Membership::new(Vec::new(), Vec::new()), "x").is_ok());
        assert!(verdict(&Membership::new(Vec::new(), bad()), "x").is_err());
    }
}
