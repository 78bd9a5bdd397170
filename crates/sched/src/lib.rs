//! Where work goes: the scheduler of longshore.
//!
//! [`ClusterScheduler`] implements core's [`Scheduler`](longshore_core::Scheduler): told every
//! change of the cluster, it finds the node for a piece of work and explains its choice, or why
//! there is none, node by node. It speaks Docker Swarm's language: the filters `health`, `port`,
//! `containerslots`, `dependency`, `affinity`, `constraint`, `whitelist`, the strategies `spread`,
//! `binpack`, `random`, expressions such as `zone==eu*` or `storage!=~/ssd|nvme/`, and the texts of
//! its errors. [`order`] tells in which order the services of a stack can be started.
//!
//! It is not a control plane: it starts nothing, moves nothing, opens no socket, reads no clock and
//! has no randomness of its own. The same changes, request, time and seed give the same answer, in
//! whatever order the nodes came.
//!
//! ```
//! use longshore_core::{
//!     Bytes, Change, Labels, MilliCpu, NodeState, PlacementRequest, Reservation, Resources,
//!     Scheduler, Timestamp,
//! };
//! use longshore_sched::{ClusterScheduler, Strategy};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut scheduler = ClusterScheduler::new(Strategy::Spread);
//! for (name, zone) in [("a", "eu"), ("b", "eu"), ("c", "us")] {
//!     let capacity = Resources::new(MilliCpu::from_cpus(4), Bytes::from_gib(4));
//!     let node = NodeState::new(name.parse()?, name.parse()?, capacity);
//!     scheduler.observe(Change::Node(node.with_labels(Labels::new().with("zone", zone))))?;
//! }
//!
//! let request = PlacementRequest::new("nginx")
//!     .with_resources(Resources::new(MilliCpu::from_cpus(1), Bytes::from_gib(3)))
//!     .with_constraint("zone==eu".parse()?);
//! let (now, seed) = (Timestamp::from_secs(0), 7);
//!
//! // Two fit; the third finds both full, and c in the wrong zone.
//! for expected in ["a", "b"] {
//!     let placement = scheduler.place(&request, now, seed)?;
//!     assert_eq!(placement.chosen.name.as_str(), expected);
//!     scheduler.observe(Change::Reserve(Reservation::new(
//!         format!("work-{expected}").parse()?,
//!         placement.chosen.node,
//!         request.clone(),
//!         Timestamp::from_secs(30),
//!     )))?;
//! }
//! let explanation = scheduler.explain(&request, now, seed)?;
//! assert_eq!(
//!     explanation.summary,
//!     "2 of 3 nodes have zone=eu; all 2 lack 3 GiB of memory",
//! );
//! let nearest = explanation.nodes.at(0).ok_or("no node")?;
//! assert_eq!(nearest.failures[0].reason, "needs 3 GiB of memory, 1 GiB of 4 GiB free");
//! # Ok(())
//! # }
//! ```
//!
//! # How a node is chosen
//!
//! 1. Filters refuse nodes, in their order; last the exact check of CPU, memory and generic
//!    resources (used + asked for ≤ capacity), which can't be switched off. What is not asked for
//!    is not checked. Reservations count like workloads, stopped workloads like running ones.
//! 2. Soft expressions (`~`) rank what is left: most fulfilled first; among equals the nodes that
//!    fulfil the earlier ones (constraints before affinities before whitelists, each as given).
//! 3. The [`Strategy`] ranks among equals, then [`TieBreak`].
//!
//! A request is compiled once: globs escape all but `*`, regular expressions run in linear time, are
//! bounded in size and remembered. A placement looks at the nodes that its bounds can't exclude, not
//! at all; the choice is the same. [`Scheduler::place_batch`](longshore_core::Scheduler::place_batch)
//! places and holds many replicas by one search.
//!
//! # Beyond Swarm
//!
//! Requests may ask for even failure domains, placement preferences, volumes, platforms and a
//! tenant. [`NodeFilter`] and [`NodeScore`] plug in. What could be done is told as a plan and never
//! done: [`plan_preemption`](ClusterScheduler::plan_preemption),
//! [`plan_global`](ClusterScheduler::plan_global),
//! [`plan_rebalance`](ClusterScheduler::plan_rebalance),
//! [`explain_after`](longshore_core::Scheduler::explain_after). The repository's `docs/scheduling.md` has the
//! whole model, the guarantees, the cost of each operation and a comparison with others.

mod builder;
mod damping;
mod demand;
mod devices;
mod domains;
mod fact;
mod filter;
mod index;
mod matcher;
mod order;
mod plan;
mod rancher;
mod rank;
mod reason;
mod refusal;
mod resource;
mod scheduler;
mod score;
mod search;
mod sentence;
mod strategy;
mod term;
mod typed;
mod verdicts;

pub use builder::ClusterSchedulerBuilder;
pub use damping::{FlapDamping, Flapping};
pub use filter::{FilterName, NodeFilter, NodeScore, NodeView};
pub use order::order;
pub use plan::{GlobalPlan, Keyed, Move, PreemptionPlan, RebalanceLimits, RebalancePlan, Victim};
pub use rancher::{RancherNames, RequireAny, add_rancher_labels};
pub use scheduler::ClusterScheduler;
pub use strategy::{Strategy, TieBreak};
pub use typed::{Subject, container, label};
