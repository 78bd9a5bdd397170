use longshore_core::{Expression, ExpressionError, Operator};

/// Begins an expression about a label or an attribute of nodes, for Rust callers.
///
/// ```
/// use longshore_core::PlacementRequest;
/// use longshore_sched::{container, label};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let request = PlacementRequest::new("nginx")
///     .with_constraint(label("zone").is("eu")?)
///     .with_constraint(label("disk").is_one_of(["ssd", "nvme"])?)
///     .with_constraint(label("gpu").exists()?.soft())
///     .with_constraint(label("rack").is("r7")?.weighing(10))
///     .with_affinity(container("service").is_not("web")?);
/// assert_eq!(request.constraints[1].to_string(), "disk==/^(?:ssd|nvme)$/");
/// # Ok(())
/// # }
/// ```
pub fn label(key: impl Into<String>) -> Subject {
    Subject { key: key.into() }
}

/// Begins an expression about what else is on a node: `container` (ids and names), `image`,
/// `service`, or a label of containers.
pub fn container(key: impl Into<String>) -> Subject {
    Subject { key: key.into() }
}

/// What an expression is about. The methods end it; [`Expression::soft`] makes it a wish, and
/// [`Expression::weighing`] one that counts more than others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    key: String,
}

impl Subject {
    /// Some value is this one, character by character: a `*` in it means a `*`.
    ///
    /// # Errors
    /// For a key or a value that expressions can't hold.
    pub fn is(&self, value: &str) -> Result<Expression, ExpressionError> {
        self.end(Operator::Equal, &literal(value))
    }

    /// No value is this one.
    ///
    /// # Errors
    /// As for [`is`](Self::is).
    pub fn is_not(&self, value: &str) -> Result<Expression, ExpressionError> {
        self.end(Operator::NotEqual, &literal(value))
    }

    /// Some value is one of these.
    ///
    /// # Errors
    /// As for [`is`](Self::is).
    pub fn is_one_of<'v>(
        &self,
        values: impl IntoIterator<Item = &'v str>,
    ) -> Result<Expression, ExpressionError> {
        let values: Vec<String> = values.into_iter().map(regex::escape).collect();
        self.end(Operator::Equal, &format!("/^(?:{})$/", values.join("|")))
    }

    /// Some value is like this, where `*` stands for any run of characters.
    ///
    /// # Errors
    /// As for [`is`](Self::is).
    pub fn is_like(&self, glob: &str) -> Result<Expression, ExpressionError> {
        self.end(Operator::Equal, glob)
    }

    /// Some value matches this regular expression, unanchored. Whether it compiles is told when the
    /// request is placed.
    ///
    /// # Errors
    /// As for [`is`](Self::is).
    pub fn matches(&self, regex: &str) -> Result<Expression, ExpressionError> {
        self.end(Operator::Equal, &format!("/{regex}/"))
    }

    /// There is a value.
    ///
    /// # Errors
    /// For a key that expressions can't hold.
    pub fn exists(&self) -> Result<Expression, ExpressionError> {
        self.end(Operator::Equal, "*")
    }

    /// There is no value.
    ///
    /// # Errors
    /// For a key that expressions can't hold.
    pub fn is_absent(&self) -> Result<Expression, ExpressionError> {
        self.end(Operator::NotEqual, "*")
    }

    fn end(&self, operator: Operator, value: &str) -> Result<Expression, ExpressionError> {
        Expression::new(&self.key, operator, value)
    }
}

/// As a glob if that means nothing else, else as a regular expression.
fn literal(value: &str) -> String {
    let is_plain =
        !value.contains(['*', '~', '=']) && !value.starts_with(['/', '!']) && !value.is_empty();
    match is_plain {
        true => value.to_owned(),
        // A `~` is only allowed first, so it is written by its number.
        false => format!(
            "/^{}$/",
            regex::escape(value)
                .replace("\\~", "~")
                .replace('~', r"\x7e")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{matcher::RegexCache, term::Term};

    #[track_caller]
    fn check(value: &str) {
        let expression = label("key").is(value).unwrap();
        let cache = RegexCache::default();
        let term = Term::compile("constraint", 0, &expression, &cache).unwrap();
        assert!(term.holds([value].into_iter()), "{expression}");
        for other in ["", "x", "ab", "a*bc", "=a", "~"] {
            let other = if other == value {
                "something else"
            } else {
                other
            };
            assert!(
                !term.holds([other].into_iter()),
                "{expression} holds on {other:?}"
            );
        }
        let not = label("key").is_not(value).unwrap();
        let term = Term::compile("constraint", 0, &not, &cache).unwrap();
        assert!(!term.holds([value].into_iter()));
    }

    #[test]
    fn any_value_can_be_asked_for_literally() {
        for value in [
            "eu", "a*b", "/x/", "~soft", "a~b", "x==y", "!no", "", "a|b.c", "é", "a=b",
        ] {
            check(value);
        }
    }

    #[test]
    fn a_bad_key_is_an_error_that_points_at_it() {
        let error = label("a b").is("x").unwrap_err();
        assert_eq!(
            (error.position(), error.to_string().as_str()),
            (1, "Key 'a b' is invalid")
        );
    }
}
