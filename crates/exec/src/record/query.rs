use std::sync::Arc;

use longshore_core::{Cleanup, SessionId, Timestamp};

use super::{CommandGuess, SessionSummary};

/// Which sessions. Texts are patterns as in SQL's LIKE: `%` stands for any text, `_` for one
/// character, `\` takes the next character as it is; case does not matter in ASCII. Empty: all. A
/// session has to meet all of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionQuery {
    /// This session only. No pattern.
    pub session: String,
    /// Opened at this time or later.
    pub since: Timestamp,
    /// Opened before this time; `None`: up to now.
    pub until: Option<Timestamp>,
    /// How many at most. 20.
    pub limit: usize,
    /// How many are left out first.
    pub offset: usize,
    /// Whose.
    pub user: String,
    /// Of which application.
    pub app: String,
    /// In which container: as its engine knows it, or as it was asked for
    /// ([`SessionOrigin::place`](crate::session::SessionOrigin)).
    pub container: String,
    /// On which node.
    pub node: String,
    /// What was to be run: the command and its arguments with a space between them; one of them
    /// where there are several. Of each the first 1,024 bytes are looked at, and of many commands
    /// the first 16. What was typed into a session is found by a [`CommandQuery`].
    pub command: String,
    /// What was to happen to its processes: `tree`, `foreground` or `none`. Sessions of which that is not
    /// known are not like any.
    pub cleanup: String,
}

impl Default for SessionQuery {
    fn default() -> Self {
        Self {
            session: String::new(),
            since: Timestamp::ZERO,
            until: None,
            limit: 20,
            offset: 0,
            user: String::new(),
            app: String::new(),
            container: String::new(),
            node: String::new(),
            command: String::new(),
            cleanup: String::new(),
        }
    }
}

impl SessionQuery {
    /// Sets whose sessions, and of which application.
    #[must_use]
    pub fn with_patterns(mut self, user: impl Into<String>, app: impl Into<String>) -> Self {
        (self.user, self.app) = (user.into(), app.into());
        self
    }

    /// Sets the one session.
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Self {
        self.session = session.into();
        self
    }

    /// Sets the time from which sessions count.
    #[must_use]
    pub fn with_since(mut self, since: Timestamp) -> Self {
        self.since = since;
        self
    }

    /// Sets the time before which sessions count.
    #[must_use]
    pub fn with_until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// Sets in which container, and on which node.
    #[must_use]
    pub fn with_place(mut self, container: impl Into<String>, node: impl Into<String>) -> Self {
        (self.container, self.node) = (container.into(), node.into());
        self
    }

    /// Sets what was to be run.
    #[must_use]
    pub fn with_command(mut self, command: impl Into<String>) -> Self {
        self.command = command.into();
        self
    }

    /// Sets what was to happen to its processes.
    #[must_use]
    pub fn with_cleanup(mut self, cleanup: impl Into<String>) -> Self {
        self.cleanup = cleanup.into();
        self
    }

    /// Sets how many, and how many are left out first.
    #[must_use]
    pub fn with_page(mut self, limit: usize, offset: usize) -> Self {
        (self.limit, self.offset) = (limit, offset);
        self
    }

    /// Everything but the time.
    fn meets(&self, summary: &SessionSummary) -> bool {
        let about = &summary.about;
        let origin = &about.origin;
        (self.session.is_empty() || self.session == summary.session.as_ref())
            && like(&self.user, &about.who.subject)
            && like(&self.app, &origin.app)
            && (like(&self.container, &about.container) || like(&self.container, &origin.place))
            && like(&self.node, origin.node.as_deref().unwrap_or_default())
            && self.runs(&about.commands)
            && like(&self.cleanup, about.cleanup.map_or("", Cleanup::as_str))
    }

    /// Of these, newest first, the page that is asked for.
    pub(super) fn choose(&self, of_time: &[Arc<SessionSummary>]) -> Vec<SessionSummary> {
        let met = of_time.iter().filter(|summary| self.meets(summary));
        let page = met.skip(self.offset).take(self.limit);
        page.map(|summary| (**summary).clone()).collect()
    }

    fn runs(&self, commands: &[Vec<String>]) -> bool {
        let met = |command: &Vec<String>| like(&self.command, &text(command));
        self.command.is_empty() || commands.iter().take(MOST_COMMANDS).any(met)
    }
}

/// A command as it is looked for, bounded: a pattern's time grows with it.
fn text(command: &[String]) -> String {
    let mut text = String::new();
    for (number, word) in command.iter().enumerate() {
        if number > 0 && text.len() < LONGEST_COMMAND {
            text.push(' ');
        }
        let room = LONGEST_COMMAND - text.len();
        text.push_str(&word[..word.floor_char_boundary(room)]);
        if word.len() >= room {
            break;
        }
    }
    text
}

const LONGEST_COMMAND: usize = 1024;
const MOST_COMMANDS: usize = 16;

/// Which commands: those of these sessions whose text is like a pattern. `since` and `until` are
/// about the command: later than the one, before the other.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommandQuery {
    /// Of which sessions, since when, how many.
    pub of: SessionQuery,
    /// Their text.
    pub content: String,
}

impl CommandQuery {
    /// Commands of these sessions.
    pub fn new(of: SessionQuery) -> Self {
        Self {
            of,
            content: String::new(),
        }
    }

    /// Sets what the text is like.
    #[must_use]
    pub fn with_content(mut self, content: impl Into<String>) -> Self {
        self.content = content.into();
        self
    }

    /// Whether a session may have such commands.
    fn may_be_in(&self, summary: &SessionSummary) -> bool {
        let over = summary.ended_at.is_some_and(|ended| ended < self.of.since);
        !over && self.of.meets(summary)
    }

    /// Those of these sessions that may have commands that are meant.
    pub(super) fn sessions(&self, of_time: &[Arc<SessionSummary>]) -> Vec<SessionId> {
        let met = of_time
            .iter()
            .filter(|summary| summary.about.records_input && self.may_be_in(summary));
        met.map(|summary| summary.session.clone()).collect()
    }

    pub(super) fn meets(&self, command: &CommandGuess) -> bool {
        let is_in_time = self.of.until.is_none_or(|until| command.at < until);
        is_in_time && command.at > self.of.since && like(&self.content, &command.content)
    }

    /// The page, newest first.
    pub(super) fn page(&self, mut commands: Vec<CommandGuess>) -> Vec<CommandGuess> {
        commands.sort_by(|a, b| (b.at, &b.session, b.number).cmp(&(a.at, &a.session, a.number)));
        commands
            .into_iter()
            .skip(self.of.offset)
            .take(self.of.limit)
            .collect()
    }
}

/// SQL's LIKE. Time: the product of the lengths at worst, so both are bounded by the caller.
fn like(pattern: &str, text: &str) -> bool {
    if pattern.is_empty() {
        return true;
    }
    let pattern = parse(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut next) = (0, 0);
    // The last `%`, and how much of the text it stands for.
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(next) {
            Some(Part::Any) => {
                back = Some((next, at));
                next += 1;
            }
            Some(Part::One) => (at, next) = (at + 1, next + 1),
            Some(Part::This(this)) if this.eq_ignore_ascii_case(&text[at]) => {
                (at, next) = (at + 1, next + 1);
            }
            _ => match back {
                None => return false,
                Some((any, from)) => {
                    back = Some((any, from + 1));
                    (at, next) = (from + 1, any + 1);
                }
            },
        }
    }
    pattern[next..].iter().all(|part| *part == Part::Any)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    This(char),
}

fn parse(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '%' => Part::Any,
            '_' => Part::One,
            '\\' => Part::This(characters.next().unwrap_or('\\')),
            other => Part::This(other),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(like(pattern, text), expected, "{pattern} {text}");
    }

    #[test]
    fn patterns_are_those_of_sql() {
        check("", "anything", true);
        check("%", "", true);
        check("alice%", "alice@example.com", true);
        check("%@EXAMPLE.com", "alice@example.com", true);
        check("al_ce", "alice", true);
        check("al_ce", "alce", false);
        check("a%b%c", "a1b2b3c", true);
        check("a%b%c", "a1b2b3", false);
        check("100\\%", "100%", true);
        check("100\\%", "1000", false);
        check("\\_", "_", true);
        check("_", "ß", true);
        check("a", "", false);
        check("\\", "\\", true);
    }

    #[test]
    fn a_command_is_looked_for_as_far_as_its_bound() {
        let words =
            |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
        assert_eq!(text(&words(&["tar", "-c", "/"])), "tar -c /");
        assert_eq!(text(&[]), "");
        let long = text(&words(&["echo", &"ä".repeat(LONGEST_COMMAND), "x"]));
        assert_eq!(long.len(), LONGEST_COMMAND - 1, "a whole character less");
        let many = text(&vec![String::new(); 10 * LONGEST_COMMAND]);
        assert_eq!(many.len(), LONGEST_COMMAND);
    }

    proptest! {
        #[test]
        fn they_match_like_regular_expressions(pattern in "[ab%_]{0,8}", text in "[ab]{0,12}") {
            let expression = pattern.replace('%', ".*").replace('_', ".");
            let expression = regex::Regex::new(&format!("^{expression}$")).unwrap();
            prop_assert_eq!(like(&pattern, &text), pattern.is_empty() || expression.is_match(&text));
        }
    }
}
