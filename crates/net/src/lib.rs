//! Containers reaching each other: overlay networks for longshore.
//!
//! What is here now: [`BlockAllocator`], which hands out the addresses of a node's block, and
//! [`MemoryOverlay`], the in-memory twin of
//! [`OverlayNetwork`](longshore_core::OverlayNetwork): it keeps all the books of an overlay
//! (networks, blocks, attachments, peers) under all its rules, so that whoever drives an overlay can
//! be built and tested with it.
//!
//! What is not: a data plane. The twin moves no packet, and its
//! [`capabilities`](longshore_core::OverlayNetwork::capabilities) say so. Data planes (tunnelled and
//! WireGuard-compatible), DNS, the load balancer and health checks come with a later release, behind
//! the same trait and the same conformance suite.
//!
//! # Example
//!
//! ```
//! use longshore_core::{AttachNetwork, NetworkName, NetworkSpec, OverlayNetwork, WorkloadId};
//! use longshore_net::MemoryOverlay;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let overlay = MemoryOverlay::new();
//! let blue = NetworkName::new("blue")?;
//! // The network has 10.42.0.0/16; this node hands out 10.42.7.0/24 of it.
//! let spec = NetworkSpec::new(blue.clone(), "10.42.0.0/16".parse()?, "10.42.7.0/24".parse()?);
//! overlay.ensure(&spec).await?;
//! let place = overlay.attach(&AttachNetwork::new(blue, WorkloadId::new("web-1")?)).await?;
//! assert_eq!(place.address.to_string(), "10.42.7.2");
//! # Ok::<(), longshore_core::Error>(())
//! # }).unwrap();
//! ```

mod allocator;
mod memory;

pub use allocator::{AllocationError, BlockAllocator};
pub use memory::MemoryOverlay;
