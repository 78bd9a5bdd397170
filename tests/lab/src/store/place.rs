//! Where a store runs: on the machine's loopback, or in a host's namespace.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::Host;

/// An address to listen on, and how to get to it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(super) ip: Ipv4Addr,
    /// A command that runs another one there.
    enter: Vec<OsString>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            ip: Ipv4Addr::LOCALHOST,
            enter: Vec::new(),
        }
    }
}

impl Place {
    pub(super) fn in_host(host: &Host) -> Self {
        let command = host.command("");
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let mut enter: Vec<OsString> = words.map(OsString::from).collect();
        // The program itself comes later.
        enter.pop();
        Self {
            ip: host.address(),
            enter,
        }
    }

    pub(super) fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.ip, port))
    }

    pub(super) fn command(&self, program: &Path) -> Command {
        let Some((enter, arguments)) = self.enter.split_first() else {
            return Command::new(program);
        };
        let mut command = Command::new(enter);
        command.args(arguments).arg(program);
        command
    }
}
