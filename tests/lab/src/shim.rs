//! Slow and unreliable links: relays with a seeded schedule, because this
//! kernel has no netem.

mod schedule;
mod tcp;
mod udp;

pub use schedule::LinkSchedule;
pub use tcp::TcpShim;
pub use udp::UdpShim;
