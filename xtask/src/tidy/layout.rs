//! Files: one noun each, not too long, and no drawer for leftovers.

use super::{Problem, allowed};

pub(crate) fn check(path: &str, text: &str, is_test: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let name = path.rsplit('/').next().unwrap_or(path);
    if name == "mod.rs" {
        let message = "name the file after its module: `foo.rs` next to `foo/`";
        problems.push(Problem::new(path, 0, message));
    }
    if DRAWERS.contains(&name) {
        let message = "a drawer for leftovers: name the file after the one noun it holds";
        problems.push(Problem::new(path, 0, message));
    }
    let lines = text.lines().count();
    if lines > LONGEST && !is_test && !allowed::long(path) {
        let message = format!("{lines} lines, more than {LONGEST}: split it by noun");
        problems.push(Problem::new(path, 0, message));
    }
    let library = name == "lib.rs" && path.contains("src/");
    if library && !text.starts_with("//!") && !text.starts_with("#![doc") {
        let message = "a library starts with what it is and what it is not (`//!`)";
        problems.push(Problem::new(path, 1, message));
    }
    problems
}

const LONGEST: usize = 500;

const DRAWERS: &[&str] = &["utils.rs", "util.rs", "misc.rs", "helpers.rs"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_seen_to_fail() {
        let long = "x\n".repeat(LONGEST + 1);
        assert_eq!(check("crates/a/src/b/mod.rs", "", false).len(), 1);
        assert_eq!(check("crates/a/src/utils.rs", "", false).len(), 1);
        assert_eq!(check("crates/a/src/b.rs", &long, false).len(), 1);
        assert_eq!(check("crates/a/src/lib.rs", "mod b;", false).len(), 1);
    }

    #[test]
    fn tests_may_be_long_and_a_documented_library_is_fine() {
        let long = "x\n".repeat(LONGEST + 1);
        assert_eq!(check("crates/a/tests/b.rs", &long, true), []);
        assert_eq!(check("crates/a/src/lib.rs", "//! A crate.", false), []);
        assert_eq!(
            check(
                "src/lib.rs",
                "#![doc = include_str!(\"../README.md\")]",
                false
            ),
            []
        );
    }
}
