//! Relays to servers, which can be cut.

use std::net::SocketAddr;

use longshore_lab::{LinkSchedule, TcpShim};

/// A relay to each server, which can be cut.
pub fn shims(addresses: &[SocketAddr]) -> Vec<TcpShim> {
    let relay = |address: &SocketAddr| {
        TcpShim::start([127, 0, 0, 1].into(), *address, LinkSchedule::default()).unwrap()
    };
    addresses.iter().map(relay).collect()
}

/// Cuts relays off, or lets them work again.
pub fn set_reachable(shims: &[TcpShim], reachable: bool) {
    for shim in shims {
        match reachable {
            true => shim.set_link(LinkSchedule::default()),
            false => {
                shim.set_link(LinkSchedule::default().with_loss(1.0));
                shim.break_connections();
            }
        }
    }
}
