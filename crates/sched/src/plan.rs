//! What could be done, never done by itself: who would have to make room, where a global service
//! is missing, which moves would even out the load, what a change would do to an answer.

mod global;
mod key;
mod preemption;
mod rebalance;
mod what_if;

pub use self::{
    global::GlobalPlan,
    key::Keyed,
    preemption::{PreemptionPlan, Victim},
    rebalance::{Move, RebalanceLimits, RebalancePlan},
};
