//! Free ports of 127.0.0.1, most likely free in a fresh namespace too.

use std::net::{Ipv4Addr, TcpListener};

use crate::LabError;

/// As many different free ports. They are free now; who takes one first has it.
pub(super) fn free(count: usize) -> Result<Vec<u16>, LabError> {
    let listeners: Result<Vec<_>, _> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    listeners
        .and_then(|listeners| {
            listeners
                .iter()
                .map(|listener| listener.local_addr().map(|address| address.port()))
                .collect()
        })
        .map_err(|error| LabError::io("no free port on loopback", error))
}
