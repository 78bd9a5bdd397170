//! What must not be in a repository: paths of somebody's machine, and keys.

use super::Problem;

pub(crate) fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut after_key_header = false;
    for (index, line) in text.lines().enumerate() {
        for home in HOMES {
            if path_in(line, home) {
                let message = format!("`{home}`: a path of somebody's machine");
                problems.push(Problem::new(path, index + 1, message));
            }
        }
        // A parser may know the header; only key material follows it with base64.
        if after_key_header && is_base64(line.trim()) {
            problems.push(Problem::new(path, index + 1, "a private key"));
        }
        after_key_header = line.contains("PRIVATE KEY-----");
        for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')) {
            let secret = |(prefix, length): &&(&str, usize)| {
                word.starts_with(prefix) && word.len() >= prefix.len() + length
            };
            if let Some((prefix, _)) = TOKENS.iter().find(secret) {
                let message = format!("looks like a token (`{prefix}…`)");
                problems.push(Problem::new(path, index + 1, message));
            }
        }
    }
    problems
}

/// Whether `home` starts a path in `line`, rather than being inside of one.
fn path_in(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/}".contains(c))
    })
}

fn is_base64(text: &str) -> bool {
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    text.len() >= 40 && text.chars().all(base64)
}

/// Written so that this file does not break its own rule.
const HOMES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];

/// The start of well-known tokens, and how much must follow at least.
const TOKENS: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ghp_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("xoxb-", 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_seen_to_fail() {
        let home = format!("see {}someone/file", HOMES[0]);
        assert_eq!(check("a.md", &home).len(), 1);
        let key = format!("-----BEGIN PRIVATE {}-----\n{}", "KEY", "MIIE".repeat(16));
        assert_eq!(check("a.pem", &key).len(), 1);
        let token = format!("token = {}{}", "ghp_", "a1".repeat(18));
        assert_eq!(check("a.toml", &token).len(), 1);
    }

    #[test]
    fn a_header_without_a_key_and_an_inner_path_are_fine() {
        assert_eq!(
            check("a.rs", "if line == \"-----BEGIN PRIVATE KEY-----\" {\n}"),
            []
        );
        assert_eq!(check("a.rs", &format!("/var/lib{}x", HOMES[0])), []);
    }
}
