//! Engines without processes: thousands of virtual nodes in one program.

mod attach;
mod cluster;
mod connector;
mod engine;
mod exec;
mod fault;
mod node;
mod options;
mod process;
mod script;
mod session;

pub use self::{
    cluster::SimCluster,
    engine::SimEngine,
    fault::SimFault,
    options::SimOptions,
    script::{Print, Script, SimInput},
};
