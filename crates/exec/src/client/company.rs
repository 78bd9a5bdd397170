use crate::session::Person;

/// Who is at a session, as a client knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Company {
    /// Whether what this client types is taken. While another has the right to write, it goes nowhere.
    pub may_write: bool,
    /// Everybody, in the order in which they came; of who has leave to look only, those who hold the
    /// session and write in it, and this client. Nobody at first, and from gateways that don't tell.
    pub people: Vec<Person>,
}

impl Company {
    /// Who has the right to write, as far as that is known. Nobody has it while its owner is away.
    pub fn writer(&self) -> Option<&Person> {
        self.people.iter().find(|person| person.writes)
    }

    /// Whose session it is, while they are here.
    pub fn owner(&self) -> Option<&Person> {
        self.people.iter().find(|person| person.holds)
    }

    /// This client.
    pub fn you(&self) -> Option<&Person> {
        self.people.iter().find(|person| person.is_you)
    }
}
