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
    let certificate = parse(certificate)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| Error::invalid("its names can't be read").with_source(error))?;
    let mut nodes = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix(NODE_URI),
            _ => None,
        });
    match (nodes.next(), nodes.next()) {
        (Some(id), None) => Ok(NodeId::new(id)?),
        // Two identities would let each reader choose.
        (Some(_), Some(_)) => Err(Error::invalid("it names more than one node")),
        (None, _) => Err(Error::invalid(format!(
            "it names no node: a URI name {NODE_URI}<id> is missing"
        ))),
    }
}

/// From when and until when a certificate is valid.
pub(super) fn validity(certificate: &[u8]) -> Result<(Timestamp, Timestamp)> {
    let certificate = parse(certificate)?;
    let moment = |seconds: i64| Timestamp::from_secs(u64::try_from(seconds).unwrap_or_default());
    let validity = certificate.validity();
    Ok((
        moment(validity.not_before.timestamp()),
        moment(validity.not_after.timestamp()),
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
