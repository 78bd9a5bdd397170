//! `cargo xtask tidy`: the rules of the house that no compiler checks.

mod allowed;
mod banned;
mod dependencies;
mod layout;
mod lean;
mod manifests;
mod secrets;
mod source;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::{cargo, workspace};

pub(crate) use dependencies::unpublished;

/// A broken rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Relative to the root.
    file: String,
    /// From 1; 0 when it is about the whole file.
    line: usize,
    message: String,
}

impl Problem {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}", self.message)
    }
}

pub(crate) fn run() -> Result<ExitCode, String> {
    let problems = problems()?;
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("tidy");
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("{} rules broken", problems.len()))
}

/// Every broken rule in the repository.
pub(crate) fn problems() -> Result<Vec<Problem>, String> {
    let mut problems = dependencies::check(&workspace::metadata()?);
    problems.extend(lean::check(&cargo::output(lean::TREE)?));
    problems.extend(in_files(&workspace::root()));
    problems.sort();
    Ok(problems)
}

fn in_files(root: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut used = Vec::new();
    let files = workspace::files(root);
    let paths: Vec<String> = files
        .iter()
        .map(|path| {
            path.strip_prefix(root)
                .unwrap_or(path)
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let tests = source::test_files(root, &paths);
    for path in &paths {
        // Not text: nothing to read.
        let Ok(text) = std::fs::read_to_string(root.join(path)) else {
            continue;
        };
        problems.extend(secrets::check(path, &text));
        problems.extend(manifests::check(path, &text));
        if path.ends_with(".rs") {
            problems.extend(layout::check(path, &text, tests.contains(path)));
            let found = banned::check(path, &text, tests.contains(path));
            for (rule, problem) in found {
                match allowed::position(path, rule) {
                    Some(position) => used.push(position),
                    None => problems.push(problem),
                }
            }
        }
    }
    problems.extend(allowed::unused(&used));
    problems
}
