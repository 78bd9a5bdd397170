use longshore_core::{Error, Result, printable};

use crate::access::Place;

/// Places of one kind, by a name or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    kind: &'static str,
    name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Is(String),
    StartsWith(String),
}

impl Pattern {
    pub(super) fn parse(written: &str) -> Result<Self> {
        let (kind, name) = match written.split_once(':') {
            None => {
                warn_of_plain(written);
                (Place::CONTAINER, written)
            }
            Some((kind, name)) => {
                let known = Place::KINDS.into_iter().find(|known| *known == kind);
                (known.ok_or_else(|| refused(written))?, name)
            }
        };
        // They have no names: a grant for some of them would be none.
        if kind == Place::RECORDS && name != "*" {
            return Err(refused(written));
        }
        let name = match name.strip_suffix('*') {
            Some(start) => Name::StartsWith(start.to_owned()),
            None => Name::Is(name.to_owned()),
        };
        Ok(Self { kind, name })
    }

    pub(super) fn covers(&self, kind: &str, name: &str) -> bool {
        self.kind == kind
            && match &self.name {
                Name::Is(whole) => whole == name,
                Name::StartsWith(start) => name.starts_with(start.as_str()),
            }
    }
}

/// Before there were kinds, such a text opened whatever was written so.
fn warn_of_plain(written: &str) {
    if written.contains('/') || written == Place::RECORDS {
        tracing::warn!(
            grant = %printable(written, 100),
            "a grant without a kind opens containers only: write lain:…, pod:… or records:* for others, \
             and container:… to say so"
        );
    }
}

fn refused(written: &str) -> Error {
    Error::invalid(format!(
        "the grant {:?} names no places: write container:NAME, lain:APP/PROC/INSTANCE, \
         pod:NAMESPACE/POD[/CONTAINER], session:ID or records:*; a * at the end stands for any rest",
        printable(written, 100)
    ))
}
