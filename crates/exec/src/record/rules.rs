//! Rules for lines of input: data, read from JSON or made here, that note, alert, ask or block.
//!
//! ```
//! use longshore_exec::{record::rules::{Rule, RuleSet}, session::RuleAction};
//!
//! let mut rules: Vec<Rule> = Rule::standard();
//! rules.push(serde_json::from_str(
//!     r#"{"name": "drop", "pattern": "(?i)drop\\s+database", "at": "anywhere", "action": "ask"}"#,
//! )?);
//! let rules = RuleSet::new(rules)?;
//! assert_eq!(rules.meets("mysql -e 'DROP DATABASE web'"), [("drop", RuleAction::Ask)]);
//! assert!(rules.meets("docker exec web sh").is_empty());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod judge;
mod standard;

use std::sync::Arc;

use longshore_core::{Error, Result};
use regex::{RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

use self::judge::Judge;
use crate::session::{InputGuard, InputJudge, RuleAction, SessionAbout};

/// What a line must not be, and what happens then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// Its name, for records and alerts.
    pub name: String,
    /// A regular expression in the syntax of the crate `regex`.
    pub pattern: String,
    /// Where the pattern must stand.
    #[serde(default)]
    pub at: RulePlace,
    /// What happens.
    pub action: RuleAction,
}

/// Where a rule's pattern must stand in a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RulePlace {
    /// Where a shell expects a command, as whole words: at the beginning, behind `;`, `|`, `&`,
    /// `(`, `{`, a backtick or a word like `sudo` or `then`; with or without a path before it.
    #[default]
    Command,
    /// Anywhere, as it is.
    Anywhere,
}

impl Rule {
    /// A rule for a command.
    pub fn command(
        name: impl Into<String>,
        pattern: impl Into<String>,
        action: RuleAction,
    ) -> Self {
        Self {
            name: name.into(),
            pattern: pattern.into(),
            at: RulePlace::Command,
            action,
        }
    }

    /// A rule for a text that may stand anywhere.
    pub fn text(name: impl Into<String>, pattern: impl Into<String>, action: RuleAction) -> Self {
        Self {
            at: RulePlace::Anywhere,
            ..Self::command(name, pattern, action)
        }
    }

    /// The twenty rules that there are by default. All of them alert, none blocks. Eight go back to
    /// LAIN Entry, whose patterns met inside of words too.
    pub fn standard() -> Vec<Self> {
        standard::RULES
            .iter()
            .map(|(name, pattern, at)| Self {
                at: *at,
                ..Self::command(*name, *pattern, RuleAction::Alert)
            })
            .collect()
    }

    fn expression(&self) -> String {
        match self.at {
            RulePlace::Anywhere => self.pattern.clone(),
            RulePlace::Command => format!(
                "{}(?:{}){}",
                standard::BEFORE,
                self.pattern,
                standard::BEHIND
            ),
        }
    }
}

/// Rules that are ready to be used: an [`InputGuard`] for a
/// [`SessionHub`](crate::session::SessionHub::with_guard). Clones share them.
#[derive(Clone, Debug)]
pub struct RuleSet {
    inner: Arc<Inner>,
    ends_session: bool,
}

#[derive(Debug)]
struct Inner {
    rules: Vec<Rule>,
    set: RegexSet,
}

impl RuleSet {
    /// Compiles rules.
    ///
    /// # Errors
    /// There are more than 1,000, or a pattern is no regular expression or too large; the error
    /// names the rule.
    pub fn new(rules: Vec<Rule>) -> Result<Self> {
        if rules.len() > MOST_RULES {
            return Err(Error::invalid(format!(
                "{} rules are more than the {MOST_RULES} allowed",
                rules.len()
            )));
        }
        let build = |expressions: Vec<String>| {
            RegexSetBuilder::new(expressions)
                .size_limit(LARGEST)
                .build()
        };
        for rule in &rules {
            // By itself first: brackets that close ours would let it say something else. And the
            // error names it.
            for expression in [rule.pattern.clone(), rule.expression()] {
                build(vec![expression]).map_err(|error| {
                    Error::invalid(format!("the pattern of rule {:?} is not valid", rule.name))
                        .with_source(error)
                })?;
            }
        }
        let set = build(rules.iter().map(Rule::expression).collect());
        let set = set.map_err(|error| {
            Error::invalid("the rules are too large together").with_source(error)
        })?;
        Ok(Self {
            inner: Arc::new(Inner { rules, set }),
            ends_session: false,
        })
    }

    /// A line that is blocked ends its session, instead of only not being run.
    #[must_use]
    pub fn ending_sessions(mut self) -> Self {
        self.ends_session = true;
        self
    }

    /// The rules that a line meets: their names and actions.
    pub fn meets(&self, line: &str) -> Vec<(&str, RuleAction)> {
        let met = self.inner.set.matches(line);
        let rules = met.iter().filter_map(|index| self.inner.rules.get(index));
        rules
            .map(|rule| (rule.name.as_str(), rule.action))
            .collect()
    }
}

/// Of sessions with a terminal: where there is none, lines mean nothing.
impl InputGuard for RuleSet {
    fn begin(&self, about: &SessionAbout) -> Option<Box<dyn InputJudge>> {
        let is_guarded = about.size.is_some() && !self.inner.rules.is_empty();
        is_guarded.then(|| Box::new(Judge::new(self.clone())) as Box<dyn InputJudge>)
    }
}

const MOST_RULES: usize = 1000;
const LARGEST: usize = 16 << 20;

#[cfg(test)]
mod tests;
