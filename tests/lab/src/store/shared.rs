//! Stores that several test processes share: who starts them tells their addresses by a variable.

use std::net::SocketAddr;

use super::{Store, StoreKind};

impl Store {
    /// The variable, with its value, that tells this store to [`shared`](Self::shared) in other
    /// processes. It is theirs only while this one lives.
    #[must_use]
    pub fn shared_as(&self) -> (String, String) {
        (variable(self.kind, self.members.len()), self.authority())
    }

    /// The addresses of a store of this kind and so many members that the environment names. It is
    /// shared with other tests: not one to disturb.
    ///
    /// # Panics
    /// When the variable holds something else: whoever set it meant a store.
    #[must_use]
    #[track_caller]
    pub fn shared(kind: StoreKind, members: usize) -> Option<Vec<SocketAddr>> {
        let name = variable(kind, members);
        let value = std::env::var(&name).ok()?;
        match parse(&value, members) {
            Some(addresses) => Some(addresses),
            None => panic!("{name} should be {members} of IP:PORT, with commas, not {value:?}"),
        }
    }
}

fn variable(kind: StoreKind, members: usize) -> String {
    let kind = kind.as_str().to_uppercase();
    format!("LONGSHORE_TEST_{kind}_{members}")
}

fn parse(value: &str, members: usize) -> Option<Vec<SocketAddr>> {
    let addresses: Option<Vec<_>> = value.split(',').map(|word| word.parse().ok()).collect();
    addresses.filter(|addresses| addresses.len() == members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_told() {
        let told = ["127.0.0.1:1", "127.0.0.1:2"];
        let expected = told.map(|address| address.parse().unwrap());
        assert_eq!(parse(&told.join(","), 2), Some(expected.to_vec()));
    }

    #[test]
    fn another_number_or_no_address_is_refused() {
        assert_eq!(parse("127.0.0.1:1", 3), None);
        assert_eq!(parse("", 1), None);
        assert_eq!(parse("etcd:2379", 1), None);
    }

    #[test]
    fn each_store_has_a_variable_of_its_own() {
        assert_eq!(variable(StoreKind::Etcd, 3), "LONGSHORE_TEST_ETCD_3");
        assert_ne!(variable(StoreKind::Etcd, 1), variable(StoreKind::Etcd, 3));
    }
}
