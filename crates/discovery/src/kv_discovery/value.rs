//! What a value says: an address, as Swarm writes it, or JSON with a name and labels. Pure.

use bytes::Bytes;
use longshore_core::{Announcement, Endpoint, Error, KvEntry, Result};

/// The value of a node's key: the bare address where there is nothing more to say.
pub(super) fn write(node: &Announcement) -> Result<Bytes> {
    if node.name.is_none() && node.labels.is_empty() {
        return Ok(node.endpoint.to_string().into());
    }
    let value = serde_json::to_vec(node)
        .map_err(|error| Error::internal("a node that is no JSON").with_source(error))?;
    if value.len() > LARGEST {
        return Err(Error::invalid(format!(
            "the labels of {} are longer than {LARGEST} bytes",
            node.endpoint
        )));
    }
    Ok(value.into())
}

/// The node that an entry stands for.
///
/// # Errors
/// Names the key and says what is wrong with its value.
pub(super) fn read(entry: &KvEntry) -> Result<Announcement> {
    parse(&entry.value).map_err(|reason| {
        let key: String = entry.key.chars().take(200).collect();
        let shown = key.escape_debug();
        Error::invalid(format!("the value of {shown} is no node: {reason}"))
            .with_context("key", shown)
    })
}

fn parse(value: &[u8]) -> Result<Announcement, String> {
    if value.len() > LARGEST {
        return Err(format!("it has {} bytes, more than {LARGEST}", value.len()));
    }
    let text = std::str::from_utf8(value).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.trim();
    let node = if text.starts_with('{') {
        serde_json::from_str(text)
            .map_err(|error| format!("it is JSON of another kind: {error}"))?
    } else if text.is_empty() {
        return Err("it is empty".to_owned());
    } else if text.len() > 300 {
        return Err("it is no address".to_owned());
    } else {
        let endpoint: Endpoint = text
            .parse()
            .map_err(|error: Error| error.message().escape_debug().to_string())?;
        Announcement::new(endpoint)
    };
    if node.endpoint.port() == 0 || node.endpoint.host().is_empty() {
        return Err(format!(
            "address {}: a host and a port from 1 to 65535 are needed",
            node.endpoint
        ));
    }
    Ok(node)
}

/// Room for many labels.
const LARGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_core::{Labels, NodeName, Revision};
    use proptest::prelude::*;

    fn node() -> Announcement {
        Announcement::new("10.0.0.1:2375".parse().unwrap())
    }

    #[test]
    fn an_address_alone_is_written_as_swarm_does() {
        assert_eq!(write(&node()).unwrap(), "10.0.0.1:2375");
    }

    #[test]
    fn names_and_labels_survive() {
        let named = node()
            .with_name(NodeName::new("a").unwrap())
            .with_labels(Labels::new().with("zone", "eu"));
        assert_eq!(parse(&write(&named).unwrap()).unwrap(), named);
    }

    #[test]
    fn what_is_no_node_is_refused_with_its_key() {
        for (value, reason) in [
            (&b"\xff\xfe"[..], "it is not UTF-8 text"),
            (b"", "it is empty"),
            (b"hello", "address hello: missing port in address"),
            (
                b"a:0",
                "address a:0: a host and a port from 1 to 65535 are needed",
            ),
            (
                b"{\"job\":1}",
                "it is JSON of another kind: missing field `endpoint` at line 1 column 9",
            ),
        ] {
            let entry = KvEntry::new("p/k\n", Bytes::from_static(value), Revision(1));
            let error = read(&entry).unwrap_err();
            assert_eq!(
                error.message(),
                format!("the value of p/k\\n is no node: {reason}")
            );
            assert_eq!(error.context("key"), Some("p/k\\n"));
        }
        let huge = KvEntry::new("k", vec![b'x'; LARGEST + 1], Revision(1));
        assert!(read(&huge).unwrap_err().message().len() < 200);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&value);
        }
    }
}
