//! Who is at a session and who types, in words.

use longshore::exec::{client::Company, session::Person};

/// What of it a person knows.
#[derive(Debug, Default)]
pub struct People {
    known: Option<Company>,
}

impl People {
    /// What there is to say at a change; of the first company, who else is here. `key` begins escapes.
    pub fn of(&mut self, now: &Company, key: Option<&str>) -> Vec<String> {
        if now.people.is_empty() {
            return Vec::new();
        }
        let is_first = self.known.is_none();
        let was = self.known.replace(now.clone());
        let was = was.unwrap_or_else(|| Self::before(now));
        let others = |of: &Company| -> Vec<Person> {
            let others = of.people.iter().filter(|person| !person.is_you);
            others.cloned().collect()
        };
        let is_in = |all: &[Person], one: &Person| {
            all.iter().any(|person| person.connection == one.connection)
        };
        let (before, after) = (others(&was), others(now));
        let gone = before.iter().filter(|it| !is_in(&after, it));
        let mut said: Vec<String> = gone.map(|it| format!("{} has left", name(it))).collect();
        let come = after
            .iter()
            .filter(|it| !is_in(&before, it) || is_first && it.holds);
        said.extend(come.map(|it| arrival(it, now, key)));
        said.extend(turn(&was, now, key));
        said
    }

    /// The state before the first company that is told: nobody else was here, and its owner typed.
    fn before(now: &Company) -> Company {
        let mut before = now.clone();
        before.people.retain(|person| person.is_you || person.holds);
        for person in &mut before.people {
            person.writes = person.holds;
        }
        before
    }

    /// Whether notices about the same are worth a word: where nobody is told of, they are all there is.
    pub fn tells(&self, code: &str) -> bool {
        let same = ["joined", "left", "may-write", "read-only"];
        self.known.is_some() && same.contains(&code)
    }
}

/// Somebody who is here now and was not.
fn arrival(person: &Person, now: &Company, key: Option<&str>) -> String {
    let (name, number) = (name(person), person.connection.number());
    let may_lend = now.may_write || now.you().is_some_and(|you| you.holds);
    match key.filter(|_| person.may_be_granted() && !person.holds && may_lend) {
        _ if person.holds => format!("{name} is here, whose session it is"),
        _ if person.only_looks => format!("{name} looks on"),
        Some(key) => format!("{name} is here; {key}G{number} and Enter lends them the keyboard"),
        None => format!("{name} is here"),
    }
}

/// Another types now.
fn turn(was: &Company, now: &Company, key: Option<&str>) -> Option<String> {
    let owns = now.you().is_some_and(|you| you.holds);
    let before = was.writer().map(|person| person.connection);
    let writer = now.writer();
    if was.may_write != now.may_write && now.may_write {
        return Some(match (owns, key) {
            (true, _) => "you type again".to_owned(),
            (false, Some(key)) => {
                format!("you have the keyboard now; {key}. leaves, and gives it back")
            }
            (false, None) => "you have the keyboard now".to_owned(),
        });
    }
    let writer = writer.filter(|it| !it.is_you && Some(it.connection) != before)?;
    Some(match (owns, key) {
        (true, Some(key)) => {
            format!("{} has the keyboard; {key}T takes it back", name(writer))
        }
        _ => format!("{} has the keyboard", name(writer)),
    })
}

/// Why something that was typed went nowhere.
pub fn refusal(now: &Company, key: Option<&str>) -> String {
    let owns = now.you().is_some_and(|you| you.holds);
    match (now.writer(), now.owner(), key) {
        (Some(writer), _, Some(key)) if owns => format!(
            "read-only: {} has the keyboard; {key}T takes it back",
            name(writer)
        ),
        _ if now.you().is_some_and(|you| you.only_looks) => {
            "read-only: you look on; 'platform watch --approve' is for those who may type"
                .to_owned()
        }
        (_, Some(owner), _) => format!("read-only: ask {} for the keyboard", name(owner)),
        _ => "read-only: whose session it is, is away; nobody can lend you the keyboard".to_owned(),
    }
}

/// Everybody, a line each, as a raw terminal wants it.
pub fn list(now: &Company, key: Option<&str>) -> String {
    if now.people.is_empty() {
        return "the gateway does not say who is here".to_owned();
    }
    let mut text = "who is here:".to_owned();
    for person in &now.people {
        let doing = match person {
            it if it.writes => "types",
            it if it.only_looks => "looks on, and may not type",
            _ => "looks on",
        };
        let number = person.connection.number();
        text += &format!("\r\n {number:>3}  {}, {doing}", name(person));
        if person.holds {
            text += "; it is their session";
        }
        if person.is_you {
            text += " (you)";
        }
    }
    let others = now.people.iter().any(Person::may_be_granted) && now.may_write;
    match key.filter(|_| others) {
        Some(key) => format!("{text}\r\n{key}G, a number and Enter lends the keyboard"),
        None => text,
    }
}

fn name(person: &Person) -> &str {
    person.name.as_deref().unwrap_or("somebody")
}

#[cfg(test)]
mod tests {
    use longshore::exec::session::ViewerId;

    use super::*;

    /// `ann` has the session; numbers, names, and whether they look only. The first is whoever is told.
    fn company(you: u64, writer: u64, others: &[(u64, &str, bool)]) -> Company {
        let mut company = Company::default();
        for &(number, name, only_looks) in [&[(0, "ann", false)], others].concat().iter() {
            let mut person = Person::new(ViewerId::new(number), Some(name));
            person.holds = number == 0;
            person.writes = number == writer;
            person.only_looks = only_looks;
            person.is_you = number == you;
            company.people.push(person);
        }
        company.may_write = you == writer;
        company
    }

    const BOB: (u64, &str, bool) = (1, "bob", false);
    const EVE: (u64, &str, bool) = (2, "eve", true);

    #[track_caller]
    fn check(steps: &[(Company, &[&str])]) {
        let mut people = People::default();
        for (now, expected) in steps {
            assert_eq!(people.of(now, Some("~")), *expected, "{now:?}");
        }
    }

    #[test]
    fn an_owner_hears_who_comes_and_who_types() {
        check(&[
            (company(0, 0, &[]), &[]),
            (
                company(0, 0, &[BOB]),
                &["bob is here; ~G1 and Enter lends them the keyboard"],
            ),
            (company(0, 0, &[BOB, EVE]), &["eve looks on"]),
            (
                company(0, 1, &[BOB, EVE]),
                &["bob has the keyboard; ~T takes it back"],
            ),
            (company(0, 1, &[BOB]), &["eve has left"]),
            (company(0, 0, &[]), &["bob has left", "you type again"]),
        ]);
    }

    #[test]
    fn whoever_looks_on_hears_whom_to_ask() {
        check(&[
            (company(1, 0, &[BOB]), &["ann is here, whose session it is"]),
            (
                company(1, 1, &[BOB]),
                &["you have the keyboard now; ~. leaves, and gives it back"],
            ),
            (company(1, 0, &[BOB]), &["ann has the keyboard"]),
        ]);
        let key = Some("~");
        assert_eq!(
            refusal(&company(1, 0, &[BOB]), key),
            "read-only: ask ann for the keyboard"
        );
        assert!(refusal(&company(2, 0, &[EVE]), key).contains("--approve"));
        assert_eq!(
            refusal(&company(0, 1, &[BOB]), key),
            "read-only: bob has the keyboard; ~T takes it back"
        );
        let mut alone = company(1, 9, &[BOB]);
        alone.people.remove(0);
        assert!(refusal(&alone, key).contains("is away"));
    }

    #[test]
    fn the_list_says_who_may_be_lent_the_keyboard() {
        let text = list(&company(0, 0, &[BOB, EVE]), Some("~"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "who is here:",
                "   0  ann, types; it is their session (you)",
                "   1  bob, looks on",
                "   2  eve, looks on, and may not type",
                "~G, a number and Enter lends the keyboard",
            ]
        );
        assert!(!list(&company(2, 0, &[EVE]), Some("~")).contains("~G"));
        assert!(list(&Company::default(), None).contains("does not say"));
    }

    #[test]
    fn notices_that_say_the_same_are_left_out_where_it_is_said() {
        let mut people = People::default();
        assert!(!people.tells("joined"));
        people.of(&company(0, 0, &[]), None);
        assert!(people.tells("joined") && !people.tells("input-held"));
    }
}
