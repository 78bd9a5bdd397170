use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_core::Pattern;
use regex::{Regex, RegexBuilder};

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) enum Matcher {
    /// `*`: any value, the empty one included.
    Anything,
    /// A glob without `*`.
    Exact(Box<str>),
    /// A glob with `*`.
    Glob(Glob),
    /// A regular expression, unanchored. Shared: a clone of its own would make room to match in.
    Regex(Arc<Regex>),
}

impl Matcher {
    /// Compiles a pattern; regular expressions come from the cache where they were seen before.
    pub(crate) fn compile(pattern: &Pattern, cache: &RegexCache) -> Result<Self, String> {
        match pattern {
            Pattern::Glob(text) if text == "*" => Ok(Self::Anything),
            Pattern::Glob(text) if !text.contains('*') => Ok(Self::Exact(text.as_str().into())),
            Pattern::Glob(text) => Ok(Self::Glob(Glob::new(text))),
            Pattern::Regex(text) => cache.compile(text).map(Self::Regex),
            other => Err(format!("pattern {other:?} is not known to this scheduler")),
        }
    }

    /// What every value that matches begins with, as far as is known.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::Exact(text) => text,
            Self::Glob(glob) => &glob.prefix,
            Self::Anything | Self::Regex(_) => "",
        }
    }

    /// Whether the value matches.
    pub(crate) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Anything => true,
            Self::Exact(text) => **text == *value,
            Self::Glob(glob) => glob.matches(value),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// A glob over the whole value: `*` stands for any run of characters, all else is literal (S5).
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    prefix: Box<str>,
    middle: Box<[Box<str>]>,
    suffix: Box<str>,
}

impl Glob {
    fn new(text: &str) -> Self {
        let mut parts: Vec<&str> = text.split('*').collect();
        let suffix = parts.pop().unwrap_or_default().into();
        let (prefix, middle) = parts.split_first().unwrap_or((&"", &[]));
        let middle = middle
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| (*part).into());
        Self {
            prefix: (*prefix).into(),
            middle: middle.collect(),
            suffix,
        }
    }

    fn matches(&self, value: &str) -> bool {
        // Prefix and suffix must not share characters: `ab*bc` does not match `abc`.
        let Some(rest) = value.strip_prefix(&*self.prefix) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(&*self.suffix) else {
            return false;
        };
        // The leftmost find of each part leaves the most room for the parts behind it.
        self.middle.iter().all(|part| match rest.find(&**part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

/// Compiled regular expressions by their text, so that a constraint seen before costs no
/// compilation (S3). Bounded; a pure memo, so it never changes an answer.
#[derive(Debug, Default)]
pub(crate) struct RegexCache(Mutex<HashMap<Box<str>, Arc<Regex>>>);

impl RegexCache {
    fn compile(&self, text: &str) -> Result<Arc<Regex>, String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = seen.get(text) {
            return Ok(Arc::clone(regex));
        }
        let regex = RegexBuilder::new(text)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .nest_limit(MAX_NESTING)
            .build()
            .map_err(|error| error.to_string())?;
        if seen.len() >= MAX_CACHED {
            seen.clear();
        }
        let regex = Arc::new(regex);
        seen.insert(text.into(), Arc::clone(&regex));
        Ok(regex)
    }
}

const MAX_COMPILED_BYTES: usize = 1 << 20;
const MAX_NESTING: u32 = 64;
const MAX_CACHED: usize = 128;

#[cfg(test)]
mod tests {
    use longshore_core::Expression;

    use super::*;

    #[track_caller]
    fn check(value: &str, yes: &[&str], no: &[&str]) {
        let expression: Expression = format!("key=={value}").parse().unwrap();
        let matcher = Matcher::compile(expression.pattern(), &RegexCache::default()).unwrap();
        for text in yes {
            assert!(matcher.matches(text), "{value} should match {text}");
        }
        for text in no {
            assert!(!matcher.matches(text), "{value} should not match {text}");
        }
    }

    #[test]
    fn s5_a_glob_is_literal_but_for_the_star() {
        check("a.c", &["a.c"], &["abc", "a.cd", "xa.c"]);
        check("a|b", &["a|b"], &["a", "b", "ab"]);
        check("*", &["", "anything"], &[]);
        check("us*", &["us", "us-east"], &["eus"]);
        check("*east", &["east", "us-east"], &["east1"]);
        check("ab*bc", &["abbc", "abxbc"], &["abc"]);
        check("a*b*c", &["abc", "axbxc", "abbc"], &["acb", "ab"]);
        check("a**c", &["ac", "abc"], &["a"]);
        check("*.*", &["a.b", "."], &["ab"]);
        check("é*ü", &["éü", "éxü"], &["é"]);
    }

    #[test]
    fn regexes_are_unanchored_and_case_sensitive() {
        check("/us|eu/", &["us-east", "neu"], &["US", "asia"]);
        check("/^us$/", &["us"], &["us-east"]);
        check("/(?i)us/", &["US"], &["eu"]);
        check("/a{2}/", &["baab"], &["aba"]);
    }

    #[test]
    fn s3_a_regex_that_is_broken_or_huge_is_refused_with_the_compilers_words() {
        let cache = RegexCache::default();
        assert!(cache.compile("(").unwrap_err().contains("unclosed group"));
        assert!(
            cache
                .compile("(a{1000}){1000}")
                .unwrap_err()
                .contains("size limit")
        );
        let deep = format!("{}a{}", "(".repeat(200), ")".repeat(200));
        assert!(cache.compile(&deep).unwrap_err().contains("nest"));
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = RegexCache::default();
        for number in 0..MAX_CACHED * 3 {
            cache.compile(&format!("n{number}")).unwrap();
            assert!(cache.0.lock().unwrap().len() <= MAX_CACHED);
        }
    }
}
