//! Which work is meant by an id, the beginning of one, or a name.

use longshore_core::{Error, ErrorKind, Labels, Target, printable};

use super::LONGEST_SHOWN;
use crate::{
    endpoint::error::{ApiError, ApiResult},
    stack::labels,
};

/// Queued work, as far as it can be meant.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: &'a str,
    /// Empty if it has none.
    pub(super) name: &'a str,
    /// Empty if it is nobody's.
    pub(super) owner: &'a str,
    pub(super) labels: Labels,
    pub(super) has_ended: bool,
}

/// What a reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Meant {
    /// This one, by its id.
    One(String),
    /// Any of so many.
    Several(usize),
    /// An instance of this stack.
    OfStack(String),
    /// What the embedding program queued.
    OfProgram,
    /// None that waits.
    Nothing,
}

/// Work that was not queued through the endpoint.
#[derive(Clone, Debug)]
pub(super) struct Other<'a> {
    pub(super) name: &'a str,
    pub(super) labels: &'a Labels,
}

impl Meant {
    /// Where nothing of the endpoint's is meant: what else bears that name.
    pub(super) fn or_other<'a>(
        self,
        others: impl IntoIterator<Item = Other<'a>>,
        reference: &str,
    ) -> Self {
        if self != Self::Nothing {
            return self;
        }
        let other = others.into_iter().find(|other| other.name == reference);
        match other.map(|other| labels::read(other.labels)) {
            Some(Some((slot, ..))) => Self::OfStack(slot.stack.to_string()),
            Some(None) => Self::OfProgram,
            None => Self::Nothing,
        }
    }

    /// Its id.
    ///
    /// # Errors
    /// 404 and 409, saying why nothing that was queued through the endpoint is meant.
    pub(in crate::endpoint) fn id(&self, reference: &str) -> ApiResult<&str> {
        let shown = printable(reference, LONGEST_SHOWN);
        Err(match self {
            Self::One(id) => return Ok(id),
            Self::Several(count) => ApiError::from_error(&several(*count, &shown)),
            Self::OfStack(stack) => ApiError::conflict(format!(
                "{shown} belongs to stack {stack}: change the stack, or remove it"
            )),
            Self::OfProgram => ApiError::conflict(format!(
                "{shown} was not queued here: whoever queued it gives it up"
            )),
            Self::Nothing => nothing(&shown),
        })
    }
}

pub(super) fn nothing(shown: &str) -> ApiError {
    ApiError::not_found(format!("No such pending work: {shown}"))
}

/// Ids of others' work are theirs to know: the number of them says enough.
fn several(count: usize, shown: &str) -> Error {
    Error::new(
        ErrorKind::Ambiguous,
        format!(
            "the ids of {count} pieces of pending work begin with {shown}: give more of the id"
        ),
    )
}

/// Finds what is meant: an id wins over a name, since names can be chosen; of one name what has not
/// ended, else what ended last; else the only id that begins so. With what an authorizer is to be asked
/// about it: by its real name, or id if it has no name, with its labels, its id and its owner.
pub(super) fn resolve(candidates: &[Candidate<'_>], reference: &str) -> (Meant, Option<Target>) {
    let named = |has_ended| {
        let of_name = candidates.iter().rev();
        let mut of_name = of_name.filter(|it| it.name == reference && it.has_ended == has_ended);
        of_name.next()
    };
    let exact = candidates.iter().find(|it| it.id == reference);
    let exact = exact.or_else(|| named(false)).or_else(|| named(true));
    let found = match exact {
        Some(found) => found,
        None => {
            let begins = |it: &&Candidate<'_>| it.id.starts_with(reference);
            let alike: Vec<_> = candidates.iter().filter(begins).collect();
            match alike[..] {
                [] => return (Meant::Nothing, None),
                [one] => one,
                _ => return (Meant::Several(alike.len()), None),
            }
        }
    };
    let name = match found.name {
        "" => found.id,
        name => name,
    };
    let mut labels = found.labels.clone();
    labels.insert(ID_LABEL, found.id);
    labels.insert(OWNER_LABEL, found.owner);
    let target = Target::new("pending", name).with_labels(labels);
    (Meant::One(found.id.to_owned()), Some(target))
}

/// Nobody can give a container labels that begin so.
const ID_LABEL: &str = "longshore.pending.id";
const OWNER_LABEL: &str = "longshore.pending.owner";

#[cfg(test)]
mod tests {
    use super::*;

    fn work<'a>(id: &'a str, name: &'a str, has_ended: bool) -> Candidate<'a> {
        Candidate {
            id,
            name,
            owner: "alice (tls)",
            labels: Labels::new().with("team", "blue"),
            has_ended,
        }
    }

    #[track_caller]
    fn means(candidates: &[Candidate<'_>], reference: &str, meant: Meant) {
        assert_eq!(resolve(candidates, reference).0, meant);
    }

    fn one(id: &str) -> Meant {
        Meant::One(id.to_owned())
    }

    #[test]
    fn s21_an_id_wins_over_a_name_and_what_goes_on_over_what_has_ended() {
        let works = [
            work("aa01", "web", true),
            work("aa02", "web", false),
            work("aa03", "web", true),
            work("bb01", "aa03", false),
            work("bb02", "db", true),
            work("bb03", "db", true),
            work("cc01", "", false),
        ];
        means(&works, "web", one("aa02"));
        means(&works, "aa03", one("aa03"));
        means(&works, "db", one("bb03"));
        means(&works, "cc", one("cc01"));
        means(&works, "bb", Meant::Several(3));
        means(&works, "we", Meant::Nothing);
        means(&works, "x", Meant::Nothing);
    }

    #[test]
    fn s21_leave_is_asked_for_by_the_real_name() {
        let works = [work("aa01", "web", false), work("cc01", "", false)];
        let target = |reference: &str| resolve(&works, reference).1.unwrap();
        for reference in ["aa", "aa01", "web"] {
            let target = target(reference);
            assert_eq!((&*target.kind, &*target.name), ("pending", "web"));
            assert_eq!(target.labels.get("longshore.pending.id"), Some("aa01"));
            assert_eq!(
                target.labels.get("longshore.pending.owner"),
                Some("alice (tls)")
            );
            assert_eq!(target.labels.get("team"), Some("blue"));
        }
        assert_eq!(target("cc").name, "cc01");
        assert!(resolve(&works, "none").1.is_none());
    }
}
