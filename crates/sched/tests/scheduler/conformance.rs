//! Every strategy, and the reference implementation that the others are measured against, pass the
//! suite of the trait.

use longshore_core::Scheduler;
use longshore_sched::{ClusterScheduler, FilterName, Strategy, TieBreak};

use crate::reference::Reference;

mod spread {
    use super::*;
    longshore_core::scheduler_suite!(paused, || {
        Box::new(ClusterScheduler::new(Strategy::Spread)) as Box<dyn Scheduler>
    });
}

mod binpack {
    use super::*;
    longshore_core::scheduler_suite!(paused, || {
        Box::new(ClusterScheduler::new(Strategy::BinPack)) as Box<dyn Scheduler>
    });
}

mod random {
    use super::*;
    longshore_core::scheduler_suite!(paused, || {
        Box::new(ClusterScheduler::new(Strategy::Random)) as Box<dyn Scheduler>
    });
}

mod few_filters_and_seeded_ties {
    use super::*;
    longshore_core::scheduler_suite!(paused, || {
        let builder = ClusterScheduler::builder().tie_break(TieBreak::Seed);
        Box::new(builder.filters([FilterName::Port]).build()) as Box<dyn Scheduler>
    });
}

mod reference {
    use super::*;
    longshore_core::scheduler_suite!(paused, || {
        Box::new(Reference::new(Strategy::Spread)) as Box<dyn Scheduler>
    });
}
