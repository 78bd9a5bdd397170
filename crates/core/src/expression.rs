use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// `==` or `!=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Some candidate matches the pattern.
    Equal,
    /// No candidate matches the pattern.
    NotEqual,
}

impl Operator {
    /// `==` or `!=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pattern {
    /// The whole value; `*` stands for any run of characters, all else is literal.
    Glob(String),
    /// A regular expression, unanchored and case-sensitive, without its slashes. Whether it
    /// compiles is checked by the scheduler.
    Regex(String),
}

/// One constraint, affinity or whitelist term in Swarm's language: `zone==eu*`,
/// `storage!=/ssd|nvme/`, `image==~redis`.
///
/// The grammar is Swarm classic's with the repairs S2 to S5 of longshore's specification: the
/// leftmost operator wins, keys may be one character long, values may hold any printable
/// character, an empty value or regular expression is refused, `~` is only allowed first.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Expression {
    key: String,
    operator: Operator,
    soft: bool,
    weight: u32,
    pattern: Pattern,
}

/// As which an expression is written down: its text, and its weight where it has one.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Weighted { expression: String, weight: u32 },
}

/// Why an expression was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    message: String,
    input: String,
    position: usize,
}

impl ExpressionError {
    /// An error at a byte offset of the input.
    pub fn new(input: &str, position: usize, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            input: input.chars().take(200).collect(),
            position,
        }
    }

    /// Byte offset of the offending character.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The input with a caret below the offending character, for terminals.
    pub fn pointer(&self) -> String {
        let column = self
            .input
            .char_indices()
            .take_while(|(at, _)| *at < self.position)
            .count();
        format!("{}\n{}^", self.input, " ".repeat(column))
    }
}

impl From<ExpressionError> for crate::Error {
    fn from(error: ExpressionError) -> Self {
        Self::invalid(error.message.clone())
            .with_context("expression", &error.input)
            .with_context("position", error.position)
    }
}

impl Expression {
    /// A hard term, for Rust callers.
    ///
    /// # Errors
    /// As for parsing the same term from text.
    pub fn new(key: &str, operator: Operator, value: &str) -> Result<Self, ExpressionError> {
        format!("{key}{}{value}", operator.as_str()).parse()
    }

    /// The same term as a wish instead of a demand.
    #[must_use]
    pub fn soft(mut self) -> Self {
        self.soft = true;
        self
    }

    /// The same term as a wish that counts so much beside others, where a plain wish counts 1: of
    /// two nodes the one is better whose fulfilled wishes weigh more in all, then the one that
    /// fulfils the earlier declared. With 0 a wish only breaks ties. The text of an expression does
    /// not show its weight; as JSON it is an object of `expression` and `weight`.
    #[must_use]
    pub fn weighing(mut self, weight: u32) -> Self {
        (self.soft, self.weight) = (true, weight);
        self
    }

    /// How much it counts as a wish.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The label or attribute compared.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The comparison.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// Whether it is a wish (`~`) that may go unfulfilled.
    pub fn is_soft(&self) -> bool {
        self.soft
    }

    /// The pattern.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The value as written, without `~`, with the slashes of a regular expression.
    pub fn value(&self) -> String {
        match &self.pattern {
            Pattern::Glob(text) => text.clone(),
            Pattern::Regex(text) => format!("/{text}/"),
        }
    }
}

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let fail = |position: usize, message: String| ExpressionError::new(text, position, message);
        if text.len() > MAX_LENGTH {
            return Err(fail(
                MAX_LENGTH,
                format!("an expression is at most {MAX_LENGTH} bytes long"),
            ));
        }
        let found = text
            .as_bytes()
            .windows(2)
            .position(|pair| pair == b"==" || pair == b"!=");
        let Some(at) = found else {
            return Err(fail(
                text.len(),
                "One of operator ==, != is expected".into(),
            ));
        };
        let (key, rest) = text.split_at(at);
        let operator = if rest.starts_with("==") {
            Operator::Equal
        } else {
            Operator::NotEqual
        };
        if let Some(bad) = bad_key_position(key) {
            return Err(fail(bad, format!("Key '{key}' is invalid")));
        }
        let raw = &rest[2..];
        let (soft, value, start) = match raw.strip_prefix('~') {
            Some(value) => (true, value, at + 3),
            None => (false, raw, at + 2),
        };
        let invalid = |position: usize| fail(position, format!("Value '{raw}' is invalid"));
        if value.is_empty() {
            return Err(invalid(start));
        }
        if let Some((offset, _)) = value.char_indices().find(|(_, c)| c.is_control()) {
            return Err(invalid(start + offset));
        }
        if let Some(offset) = misplaced_tilde(value) {
            return Err(fail(
                start + offset,
                format!("Value '{raw}' is invalid: '~' is only allowed first"),
            ));
        }
        if let Some(offset) = second_operator(value) {
            return Err(fail(
                start + offset,
                format!("Value '{raw}' is invalid: it holds a second operator"),
            ));
        }
        let pattern = match value.strip_prefix('/') {
            Some("" | "/") => return Err(invalid(start)),
            Some(inner) if inner.ends_with('/') => {
                Pattern::Regex(inner[..inner.len() - 1].to_owned())
            }
            _ => Pattern::Glob(value.to_owned()),
        };
        Ok(Self {
            key: key.to_owned(),
            operator,
            soft,
            weight: 1,
            pattern,
        })
    }
}

fn bad_key_position(key: &str) -> Option<usize> {
    let mut chars = key.char_indices();
    match chars.next() {
        Some((_, first)) if first.is_ascii_alphabetic() || first == '_' => chars
            .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .map(|(at, _)| at),
        _ => Some(0),
    }
}

/// A `~` inside a value is refused, except right behind a leading `=`, `!` or `/` (classic's grammar).
fn misplaced_tilde(value: &str) -> Option<usize> {
    value
        .char_indices()
        .find(|&(at, c)| c == '~' && !(at == 1 && value.starts_with(['=', '!', '/'])))
        .map(|(at, _)| at)
}

/// `==` or `!=` inside a glob is a mistake (`a==b==c`); inside a regular expression it is a pattern.
fn second_operator(value: &str) -> Option<usize> {
    if value.len() > 2 && value.starts_with('/') && value.ends_with('/') {
        return None;
    }
    value
        .as_bytes()
        .windows(2)
        .position(|pair| pair == b"==" || pair == b"!=")
}

const MAX_LENGTH: usize = 4096;

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let soft = if self.soft { "~" } else { "" };
        write!(
            f,
            "{}{}{soft}{}",
            self.key,
            self.operator.as_str(),
            self.value()
        )
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({self})")
    }
}

impl TryFrom<Written> for Expression {
    type Error = ExpressionError;

    fn try_from(written: Written) -> Result<Self, ExpressionError> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Weighted { expression, weight } => {
                let this: Self = expression.parse()?;
                if !this.soft {
                    let message = "only a wish (`~`) has a weight";
                    return Err(ExpressionError::new(&expression, 0, message));
                }
                Ok(this.weighing(weight))
            }
        }
    }
}

impl From<Expression> for Written {
    fn from(expression: Expression) -> Self {
        let text = expression.to_string();
        match expression.weight {
            1 => Self::Text(text),
            weight => Self::Weighted {
                expression: text,
                weight,
            },
        }
    }
}

impl TryFrom<String> for Expression {
    type Error = ExpressionError;
    fn try_from(text: String) -> Result<Self, ExpressionError> {
        text.parse()
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuse(text: &str, message: &str, position: usize) {
        let error = text.parse::<Expression>().unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.position()),
            (message, position)
        );
    }

    #[test]
    fn expressions_print_back() {
        for text in [
            "zone==eu",
            "a!=~b*",
            "x==/a|b{2}/",
            "image==~redis@sha256:0a",
            "x==a=b",
        ] {
            assert_eq!(text.parse::<Expression>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn s4_the_leftmost_operator_wins() {
        let expression: Expression = "foo!=/x==y/".parse().unwrap();
        assert_eq!(expression.operator(), Operator::NotEqual);
        assert_eq!(expression.pattern(), &Pattern::Regex("x==y".into()));
        refuse(
            "foo!=x==y",
            "Value 'x==y' is invalid: it holds a second operator",
            6,
        );
    }

    #[test]
    fn s2_bad_expressions_point_at_the_character() {
        refuse("zone=eu", "One of operator ==, != is expected", 7);
        refuse("==x", "Key '' is invalid", 0);
        refuse("a b==x", "Key 'a b' is invalid", 1);
        refuse("a==", "Value '' is invalid", 3);
        refuse("a==/", "Value '/' is invalid", 3);
        refuse("a==~//", "Value '~//' is invalid", 4);
        refuse(
            "a==us~",
            "Value 'us~' is invalid: '~' is only allowed first",
            5,
        );
        refuse(
            "a==~~x",
            "Value '~~x' is invalid: '~' is only allowed first",
            4,
        );
    }

    #[test]
    fn a_weight_is_kept_in_json_and_belongs_to_wishes() {
        let plain: Expression = "zone==~eu".parse().unwrap();
        assert_eq!((plain.weight(), plain.is_soft()), (1, true));
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#""zone==~eu""#);
        let heavy = "zone==eu".parse::<Expression>().unwrap().weighing(7);
        assert_eq!(
            (heavy.to_string().as_str(), heavy.weight()),
            ("zone==~eu", 7)
        );
        let json = serde_json::to_string(&heavy).unwrap();
        assert_eq!(json, r#"{"expression":"zone==~eu","weight":7}"#);
        assert_eq!(serde_json::from_str::<Expression>(&json).unwrap(), heavy);
        assert_ne!(heavy, plain);
        let hard = r#"{"expression":"zone==eu","weight":7}"#;
        assert!(serde_json::from_str::<Expression>(hard).is_err());
    }

    #[test]
    fn the_pointer_counts_characters() {
        let error = "a==é~".parse::<Expression>().unwrap_err();
        assert_eq!(error.pointer(), "a==é~\n    ^");
    }
}
