//! Keys as znodes: paths and data. Pure.

use bytes::{BufMut, Bytes, BytesMut};
use longshore_core::{KvEntry, LeaseId, Revision};

use super::wire::Stat;
use crate::store::KeyPath;

/// The znode whose version every creation raises.
pub(super) const GUARD: &str = "/longshore-guard";

/// What ZooKeeper keeps for itself.
const RESERVED: [&str; 2] = ["zookeeper", "longshore-guard"];

/// The path of a key.
pub(super) fn path(key: &str) -> String {
    let encoded = KeyPath::encode(key);
    let first = encoded.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        let (initial, rest) = encoded.split_at(1);
        return format!("/%{:02X}{rest}", initial.as_bytes()[0]);
    }
    format!("/{encoded}")
}

/// The path of the directory in which the keys with this prefix are, and what their path begins with.
pub(super) fn directory(prefix: &str) -> (String, String) {
    match prefix.rfind('/') {
        None => ("/".to_owned(), "/".to_owned()),
        Some(at) => {
            let path = path(&prefix[..at]);
            let start = format!("{path}/");
            (path, start)
        }
    }
}

/// Whether a path belongs to ZooKeeper or is the guard.
pub(super) fn is_reserved(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    first.is_some_and(|first| RESERVED.contains(&first))
}

pub(super) fn key(path: &str) -> String {
    KeyPath::decode(path.trim_start_matches('/'))
}

/// A value as data: a leading NUL tells an empty value, or one that begins with NUL, from the empty
/// data of a directory.
pub(super) fn data(value: &[u8]) -> Bytes {
    if value.first().is_some_and(|first| *first != 0) {
        return Bytes::copy_from_slice(value);
    }
    let mut data = BytesMut::with_capacity(value.len() + 1);
    data.put_u8(0);
    data.put_slice(value);
    data.freeze()
}

/// The entry of a znode; `None` for a directory.
pub(super) fn entry(key: String, mut data: Bytes, stat: &Stat) -> Option<KvEntry> {
    match data.first() {
        None => return None,
        Some(0) => drop(data.split_to(1)),
        Some(_) => {}
    }
    let mut entry = KvEntry::new(key, data, revision(stat.modified));
    entry.lease = (stat.owner != 0).then(|| lease(stat.owner));
    Some(entry)
}

pub(super) fn revision(zxid: i64) -> Revision {
    Revision(zxid.cast_unsigned())
}

pub(super) fn lease(session: i64) -> LeaseId {
    LeaseId(u128::from(session.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_zookeeper_keeps_is_not_touched() {
        assert_eq!(path("zookeeper/quota"), "/%7Aookeeper/quota");
        assert_eq!(key("/%7Aookeeper/quota"), "zookeeper/quota");
        assert_eq!(directory("a/b/c"), ("/a/b".to_owned(), "/a/b/".to_owned()));
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value in proptest::collection::vec(0u8..3, 0..6)) {
            let stat = Stat {
                created: 1, modified: 2, version: 0, owner: 0, children: 0, children_changed: 1,
            };
            let found = entry("k".to_owned(), data(&value), &stat).map(|entry| entry.value.to_vec());
            prop_assert_eq!(found, Some(value));
        }

        #[test]
        fn every_key_has_its_path(key in "[a./%zookepr]{1,12}") {
            prop_assert_eq!(super::key(&path(&key)), key);
        }
    }
}
