use std::fmt;

/// Everything that is wrong with a command line, in the order in which it was found.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem, unless it is known: two parts may stumble over one file.
    pub fn add(&mut self, problem: impl fmt::Display) {
        let problem = problem.to_string();
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Keeps the value, or the problem and a stand-in that is never used.
    pub(super) fn take<T>(&mut self, result: Result<T, String>, stand_in: T) -> T {
        result.unwrap_or_else(|problem| {
            self.add(problem);
            stand_in
        })
    }

    /// The value, or `None` and its problem.
    pub fn check<T, E: Into<crate::Failure>>(&mut self, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.add(format!("{:?}", error.into())))
            .ok()
    }

    /// `value` if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}
