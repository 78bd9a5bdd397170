use std::{net::IpAddr, time::Duration};

use longshore_core::{Error, NodeId, Result};

/// What a certificate is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// Whose it is.
    pub node: NodeId,
    /// The DNS names that the node is dialled by.
    pub dns_names: Vec<String>,
    /// The addresses that the node is dialled by.
    pub addresses: Vec<IpAddr>,
    /// How long it is valid. Default one day.
    pub validity: Duration,
    /// What it may be used for. Default both.
    pub usage: Usage,
    /// As what its holder comes. Default a node.
    pub role: Role,
}

/// As what the holder of a certificate comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A machine that lends its engine to a control plane. Endpoints refuse it: a node that was
    /// taken over must not command the cluster.
    #[default]
    Node,
    /// A control plane: listens for nodes, and calls the endpoints of other managers.
    Manager,
    /// A person or a program that calls endpoints. Tunnels refuse it.
    Client,
}

/// Which ends of a connection a certificate may be shown at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Usage {
    /// By the end that dials and by the end that listens: what nodes and control planes need.
    #[default]
    Both,
    /// By the end that listens.
    Server,
    /// By the end that dials.
    Client,
}

impl Profile {
    /// A node's certificate for a day and both ends, without names to dial it by.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            dns_names: Vec::new(),
            addresses: Vec::new(),
            validity: Duration::from_secs(24 * 60 * 60),
            usage: Usage::Both,
            role: Role::Node,
        }
    }

    /// Adds a host that the node is dialled by, an address or a DNS name.
    ///
    /// # Errors
    /// It is neither.
    pub fn with_host(mut self, host: &str) -> Result<Self> {
        if let Ok(address) = host.parse() {
            self.addresses.push(address);
        } else if is_dns_name(host) {
            self.dns_names.push(host.to_owned());
        } else {
            let shown: String = host.chars().take(80).collect();
            return Err(Error::invalid(format!(
                "{shown:?} is neither an address nor a DNS name"
            )));
        }
        Ok(self)
    }

    /// Sets how long it is valid.
    #[must_use]
    pub fn with_validity(mut self, validity: Duration) -> Self {
        self.validity = validity;
        self
    }

    /// Sets as what its holder comes. A client's certificate is for the end that dials only.
    #[must_use]
    pub fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        if role == Role::Client {
            self.usage = Usage::Client;
        }
        self
    }

    /// Sets what it may be used for.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }
}

fn is_dns_name(host: &str) -> bool {
    rustls::pki_types::DnsName::try_from(host).is_ok()
}
