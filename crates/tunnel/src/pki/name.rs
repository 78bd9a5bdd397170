use longshore_core::{
    Error, NodeId, Result, Timestamp,
    tls::{CLIENT_URI, MANAGER_URI, NODE_URI},
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::Role;

/// The URI names that say who somebody is, and as what.
pub(super) fn uris(id: &NodeId, role: Role) -> Vec<String> {
    let prefixes: &[&str] = match role {
        Role::Node => &[NODE_URI],
        Role::Manager => &[NODE_URI, MANAGER_URI],
        Role::Client => &[CLIENT_URI],
    };
    prefixes
        .iter()
        .map(|prefix| format!("{prefix}{id}"))
        .collect()
}

/// The node that a certificate is for.
pub(crate) fn node_of(certificate: &[u8]) -> Result<NodeId> {
    let nodes = names_behind(NODE_URI, certificate)?;
    match (nodes.first(), nodes.get(1)) {
        (Some(id), None) => Ok(NodeId::new(id.as_str())?),
        // Two identities would let each reader choose.
        (Some(_), Some(_)) => Err(Error::invalid("it names more than one node")),
        (None, _) => Err(Error::invalid(format!(
            "it names no node: a URI name {NODE_URI}<id> is missing"
        ))),
    }
}

/// Whether a certificate makes its node a manager.
pub(crate) fn is_manager(certificate: &[u8], node: &NodeId) -> Result<bool> {
    let managers = names_behind(MANAGER_URI, certificate)?;
    Ok(managers.iter().any(|name| name == node.as_str()))
}

/// The rests of the URI names that begin so.
fn names_behind(prefix: &str, certificate: &[u8]) -> Result<Vec<String>> {
    let certificate = parse(certificate)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| Error::invalid("its names can't be read").with_source(error))?;
    let rest = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => uri.strip_prefix(prefix).map(str::to_owned),
        _ => None,
    };
    let names = names.iter().flat_map(|names| &names.value.general_names);
    Ok(names.filter_map(rest).collect())
}

/// The time until which a certificate is valid.
pub(super) fn expiry(certificate: &[u8]) -> Result<Timestamp> {
    let seconds = parse(certificate)?.validity().not_after.timestamp();
    Ok(Timestamp::from_secs(
        u64::try_from(seconds).unwrap_or_default(),
    ))
}

pub(super) fn is_authority(certificate: &[u8]) -> Result<bool> {
    Ok(parse(certificate)?.is_ca())
}

pub(super) fn public_key(certificate: &[u8]) -> Result<Vec<u8>> {
    Ok(parse(certificate)?
        .public_key()
        .subject_public_key
        .data
        .to_vec())
}

fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>> {
    match X509Certificate::from_der(certificate) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(Error::invalid("it is no X.509 certificate").with_source(error)),
    }
}
