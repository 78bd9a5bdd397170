//! What the default features cost an embedder: no store client, no DNS, no
//! QUIC, no code generator.

use super::Problem;

/// Every dependency of the facade's default features that belongs behind a
/// feature; `tree` is `cargo tree` with one package per line.
pub(crate) fn check(tree: &str) -> Vec<Problem> {
    let mut names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    let heavy = names
        .into_iter()
        .filter(|name| HEAVY.iter().any(|start| name.starts_with(start)));
    heavy
        .map(|name| {
            let message = format!("the default features pull in {name}: put it behind a feature");
            Problem::new("Cargo.toml", 0, message)
        })
        .collect()
}

/// The arguments of the `cargo tree` that [`check`] reads.
pub(crate) const TREE: &[&str] = &[
    "tree",
    "--package",
    "longshore",
    "--edges",
    "normal,build",
    "--prefix",
    "none",
];

/// Names, or how they start.
const HEAVY: &[&str] = &[
    "etcd-client",
    "zookeeper",
    "consul",
    "tonic",
    "prost-build",
    "hickory-",
    "trust-dns",
    "quinn",
    "redb",
    "chitchat",
    "openssl-sys",
    "native-tls",
    "cmake",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heavy_default_dependency_is_found() {
        let tree = "longshore v0.1.0\nquinn-proto v0.11.0\nserde v1.0.0\nquinn-proto v0.11.0 (*)\n";
        assert_eq!(check(tree).len(), 1);
        assert_eq!(check("longshore v0.1.0\ntokio v1.50.0\n"), []);
    }
}
