//! Manifests: the workspace's lints everywhere, and nothing from elsewhere.

use super::Problem;

pub(crate) fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let name = path.rsplit('/').next().unwrap_or(path);
    let lines = || text.lines().map(str::trim).enumerate();
    if name == "Cargo.toml" && !path.starts_with("fuzz/") {
        let inherited = text.contains("[lints]\nworkspace = true");
        if text.contains("[package]") && !inherited {
            let message = "take the workspace's lints: `[lints]` with `workspace = true`";
            problems.push(Problem::new(path, 0, message));
        }
        for (index, _) in lines().filter(|(_, line)| line.contains("git = \"")) {
            let message = "a published crate cannot depend on a git repository";
            problems.push(Problem::new(path, index + 1, message));
        }
    }
    if name == "Cargo.lock" {
        let foreign = |line: &str| line.starts_with("source = ") && line != CRATES_IO;
        for (index, line) in lines().filter(|(_, line)| foreign(line)) {
            let message = format!("not from crates.io: {line}");
            problems.push(Problem::new(path, index + 1, message));
        }
    }
    if path.starts_with(".cargo/") {
        for (index, _) in lines().filter(|(_, line)| line.starts_with("[source")) {
            let message = "which mirror to use is a matter of the machine, not of the repository";
            problems.push(Problem::new(path, index + 1, message));
        }
    }
    problems
}

const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_seen_to_fail() {
        let bare = "[package]\nname = \"a\"\n";
        assert_eq!(check("crates/a/Cargo.toml", bare).len(), 1);
        let git = "[package]\n[lints]\nworkspace = true\n[dependencies]\na = { git = \"x\" }";
        assert_eq!(check("crates/a/Cargo.toml", git).len(), 1);
        let lock = "[[package]]\nsource = \"registry+https://mirror.example/index\"";
        assert_eq!(check("Cargo.lock", lock).len(), 1);
        assert_eq!(check(".cargo/config.toml", "[source.crates-io]").len(), 1);
    }

    #[test]
    fn a_plain_manifest_is_fine() {
        let plain = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(check("crates/a/Cargo.toml", plain), []);
        assert_eq!(check("Cargo.lock", CRATES_IO), []);
    }
}
