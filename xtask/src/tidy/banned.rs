//! Calls that library code does not make.

use super::Problem;
use super::source;

/// What a call is banned for; an exception is granted per file and rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Asks the OS for the time, or waits on it: logic takes `now` or a `Clock`.
    Time,
    /// Asks the OS for randomness: logic takes a seed.
    Random,
    /// Prints, or ends the process: libraries do neither.
    Output,
    /// Unfinished code, or a test that does not run.
    Unfinished,
}

/// Every banned call in a file.
pub(crate) fn check(path: &str, text: &str, is_test: bool) -> Vec<(Rule, Problem)> {
    let code = source::code_only(text);
    let tests = source::test_lines(&code);
    let library = is_library(path) && !is_test;
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let outside_tests = library && !tests.get(index).copied().unwrap_or(false);
        for (rule, words, advice) in BANNED {
            if *rule != Rule::Unfinished && !outside_tests {
                continue;
            }
            for word in words.iter().filter(|word| contains_word(line, word)) {
                let message = format!("`{word}`: {advice}");
                found.push((*rule, Problem::new(path, index + 1, message)));
            }
        }
        if outside_tests {
            for name in imported_from_time(line) {
                let message = format!("`time::{name}`: {TIME}");
                found.push((Rule::Time, Problem::new(path, index + 1, message)));
            }
        }
    }
    found
}

/// The source of the published crates, except programs.
fn is_library(path: &str) -> bool {
    let source = path.starts_with("src/") || path.starts_with("crates/") && path.contains("/src/");
    source && !path.contains("/src/bin/") && !path.ends_with("src/main.rs")
}

/// Whether `word` stands in `line` with no word character glued to its ends.
fn contains_word(line: &str, word: &str) -> bool {
    let glued = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let open_start = word.starts_with(|c: char| c.is_alphanumeric());
    let open_end = word.ends_with(|c: char| c.is_alphanumeric());
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !(open_start && glued(before) || open_end && glued(after))
    })
}

/// Names out of `time::{…}` that wait on the OS clock.
fn imported_from_time(line: &str) -> Vec<&str> {
    let Some((_, rest)) = line.split_once("time::{") else {
        return Vec::new();
    };
    let names = rest
        .split('}')
        .next()
        .unwrap_or(rest)
        .split(',')
        .map(str::trim);
    names.filter(|name| WAITS.contains(name)).collect()
}

const TIME: &str = "take `now` or a `Clock` (core's clock module is the one place that asks)";

const WAITS: &[&str] = &[
    "sleep",
    "sleep_until",
    "timeout",
    "timeout_at",
    "interval",
    "interval_at",
];

const BANNED: &[(Rule, &[&str], &str)] = &[
    (
        Rule::Time,
        &[
            "SystemTime::now",
            "Instant::now",
            ".elapsed()",
            "now_utc",
            "now_local",
            "Utc::now",
            "thread::sleep",
            "time::sleep",
            "time::sleep_until",
            "time::timeout",
            "time::timeout_at",
            "time::interval",
            "time::interval_at",
        ],
        TIME,
    ),
    (
        Rule::Random,
        &[
            "rand::",
            "fastrand::",
            "getrandom::",
            "thread_rng",
            "new_v4",
            "RandomState::new",
        ],
        "take a seed (core's random module is the one place that asks)",
    ),
    (
        Rule::Output,
        &[
            "println!",
            "eprintln!",
            "print!",
            "eprint!",
            "dbg!",
            "process::exit",
            "process::abort",
        ],
        "a library never prints and never exits: return it, or use tracing",
    ),
    (
        Rule::Unfinished,
        &["todo!", "unimplemented!", "#[ignore"],
        "finish it, or take it out",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn rules(path: &str, text: &str) -> Vec<Rule> {
        check(path, text, false)
            .into_iter()
            .map(|(rule, _)| rule)
            .collect()
    }

    #[test]
    fn a_call_in_a_library_is_found() {
        let path = "crates/sched/src/place.rs";
        assert_eq!(
            rules(path, "let now = std::time::Instant::now();"),
            [Rule::Time]
        );
        assert_eq!(
            rules(path, "use tokio::time::{Duration, sleep, timeout};").len(),
            2
        );
        assert_eq!(
            rules(path, "tokio::time::sleep(delay).await;"),
            [Rule::Time]
        );
        assert_eq!(rules(path, "let seed = fastrand::u64(..);"), [Rule::Random]);
        assert_eq!(rules(path, "println!(\"hello\");"), [Rule::Output]);
        assert_eq!(rules(path, "std::process::exit(1)"), [Rule::Output]);
        assert_eq!(
            rules("examples/x.rs", "fn f() { todo!() }"),
            [Rule::Unfinished]
        );
        assert_eq!(
            rules("tests/x.rs", "#[test]\n#[ignore = \"slow\"]"),
            [Rule::Unfinished]
        );
    }

    #[test]
    fn words_that_only_look_alike_are_not() {
        let path = "crates/sched/src/place.rs";
        for text in [
            "// Instant::now()",
            "let text = \"println!\";",
            "operand::new()",
            "use std::time::{Duration, Instant};",
            "clock.sleep(delay).await",
            "my_println!()",
            "#[cfg(test)]\nmod tests {\n fn f() { Instant::now(); }\n}",
        ] {
            assert_eq!(rules(path, text), [], "{text}");
        }
        assert_eq!(rules("examples/a.rs", "println!(); Instant::now();"), []);
        assert_eq!(rules("crates/agent/src/main.rs", "println!();"), []);
    }

    #[test]
    fn files_of_tests_may_ask_for_the_time() {
        let found = check(
            "crates/sched/src/place/tests.rs",
            "Instant::now(); todo!()",
            true,
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, Rule::Unfinished);
    }
}
