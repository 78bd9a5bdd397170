//! Nothing of a session survives it, on real Docker engines: 1,000 dropped sessions of a nasty
//! process tree, a gateway killed with -9, a link that is cut, with the engine reached directly and
//! through a tunnel. Survivors are counted from outside, in the host's own process table.
#![expect(unreachable_pub, reason = "a test has no outside")]

#[path = "lab_exec/beside.rs"]
mod beside;
#[path = "lab_exec/drops.rs"]
mod drops;
#[path = "lab_exec/endings.rs"]
mod endings;
#[path = "lab_exec/figures.rs"]
mod figures;
#[path = "lab_exec/gateway.rs"]
mod gateway;
#[path = "lab_exec/links.rs"]
mod links;
#[path = "lab_exec/load.rs"]
mod load;
#[path = "lab_exec/platform.rs"]
mod platform;
#[path = "lab_exec/soak.rs"]
mod soak;
#[path = "lab_exec/survivors.rs"]
mod survivors;
#[path = "lab_exec/tree.rs"]
mod tree;
#[path = "lab_exec/tunnel.rs"]
mod tunnel;
#[path = "lab_exec/world.rs"]
mod world;
