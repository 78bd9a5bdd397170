//! `platform list`

use std::sync::Arc;

use longshore::core::{ClockExt, DiscoveryExt, SystemClock};

use crate::{Failure, check::ListPlan};

pub async fn run(plan: ListPlan) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::new());
    let backend = crate::manage::discovery(&plan.url, &plan.options, None, clock.clone())?;
    let set = clock
        .timeout(plan.timeout, "reading the nodes", backend.first_set())
        .await
        .map_err(|_| Failure::new("Timed out"))??;
    for node in set {
        println!("{}", node.endpoint);
    }
    Ok(())
}
