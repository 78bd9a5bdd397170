//! Several real Docker hosts on one machine, for longshore's own tests.
//!
//! A [`Lab`] is a bridge in the root network namespace and a number of hosts.
//! Each [`Host`] has its own network, mount, UTS and process namespaces, its own
//! address, its own `dockerd` and its own data. Links can be cut, engines killed,
//! frozen and restarted, disks filled; each fault is one call, in force when the
//! call returns, and undone when its [`Fault`] guard is dropped.
//!
//! It is not a sandbox and not a virtual machine: hosts share the kernel, its
//! clock and its memory. It needs root, Linux, and Debian's `docker.io`,
//! `iptables`, `nftables`, `iproute2` and `busybox-static`.
//!
//! ```no_run
//! use longshore_lab::{Lab, LabHostSpec};
//!
//! # fn main() -> Result<(), longshore_lab::LabError> {
//! let lab = Lab::builder()
//!     .hosts(2)
//!     .host(LabHostSpec::default().with_nat())
//!     .start()?;
//! lab.host(0).import_busybox("busybox:lab")?;
//! lab.host(0).docker_ok(["run", "--rm", "busybox:lab", "echo", "hello"])?;
//!
//! let cut = lab.cut(0, 1)?;
//! // host 0 and host 1 no longer hear each other
//! cut.undo()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Store`] starts real etcd, Consul and ZooKeeper servers on loopback; it needs neither root nor a
//! lab.
//!
//! # Nothing stays behind
//! Names carry the lab's number, so two labs never meet. Every lab has a watchdog
//! process that tears it down when the owner goes away, for whatever reason: drop,
//! panic, Ctrl-C or `kill -9`. What a power cut of the watchdog itself would leave
//! is removed by [`Lab::sweep`], which every start runs first.
//!
//! # In asynchronous tests
//! Every call blocks its thread. That is fine in a test; in one that must keep
//! other tasks running meanwhile, use `tokio::task::spawn_blocking` or a
//! multi-thread runtime.

mod api;
mod builder;
mod cargo;
mod dockerd;
mod error;
mod example;
mod fault;
mod holder;
mod host;
mod lab;
mod leftovers;
mod names;
mod network;
mod patience;
mod process;
mod record;
mod requirements;
mod rootfs;
mod shim;
mod store;
mod stub;
mod teardown;
mod tool;

pub use api::ApiResponse;
pub use builder::{LabBuilder, LabHostSpec};
pub use cargo::cargo;
pub use error::LabError;
pub use example::example;
pub use fault::Fault;
pub use host::Host;
pub use lab::Lab;
pub use leftovers::leftovers;
pub use patience::wait_for;
pub use process::LabProcess;
pub use record::{HostRecord, LabRecord, Owner};
pub use requirements::{available, find_program, missing_packages, skip};
pub use rootfs::Rootfs;
pub use shim::{LinkSchedule, TcpShim, UdpShim};
pub use store::{Store, StoreKind, StoreMember, StoreSpec, StoreTlsFiles, free_ports, store_cache};
pub use stub::{STUB, build_stub, stub};
