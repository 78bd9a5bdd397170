//! The main job on real Docker hosts: three engines, one of them behind NAT and reachable only
//! through its agent's tunnel, driven by stock clients through one endpoint.
#![expect(unreachable_pub, reason = "a test has no outside")]

#[path = "lab_cluster/clients.rs"]
mod clients;
#[path = "lab_cluster/cluster.rs"]
mod cluster;
#[path = "lab_cluster/compose.rs"]
mod compose;
#[path = "lab_cluster/faults.rs"]
mod faults;
#[path = "lab_cluster/placement.rs"]
mod placement;
