//! Running cargo from within what cargo runs.

use std::{env, process::Command};

/// The cargo that runs us, without what it told us of our own package.
///
/// Build scripts look at such variables, ring's among them: run from a test of one package and then from
/// another, cargo would build it anew each time, and all that depends on it.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_a_package) {
            command.env_remove(&name);
        }
    }
    command
}

/// What cargo sets for the programs that it runs.
fn is_of_a_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"]
        .iter()
        .any(|start| name.starts_with(start))
        || name == "OUT_DIR"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_the_package_and_keeps_what_was_chosen() {
        assert!(is_of_a_package("CARGO_PKG_NAME") && is_of_a_package("CARGO_MANIFEST_DIR"));
        for kept in [
            "CARGO_HOME",
            "CARGO_INCREMENTAL",
            "CARGO_TARGET_DIR",
            "PATH",
        ] {
            assert!(!is_of_a_package(kept), "{kept}");
        }
        // A test is run by cargo, or by who sets the same.
        let removed = cargo()
            .get_envs()
            .any(|(name, value)| name == "CARGO_MANIFEST_DIR" && value.is_none());
        assert!(removed);
    }
}
