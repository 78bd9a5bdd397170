mod pattern;

use longshore_core::{Action, Cleanup, Result};

use self::pattern::Pattern;
use super::Place;

/// Where somebody may enter and look: places of one kind each, as [`Place::kind`] names them, written
/// as in a [`TokenPolicy`](super::TokenPolicy).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    enter: Vec<Pattern>,
    read: Vec<Pattern>,
    /// The least cleanup that may be asked for there; `None`: what the gateway allows.
    least_cleanup: Option<Cleanup>,
}

impl Grants {
    /// Reads what is written.
    ///
    /// # Errors
    /// There is no such kind of places; the message names it and those that there are.
    pub(super) fn parse(enter: &[String], read: &[String]) -> Result<Self> {
        let parse = |written: &[String]| -> Result<Vec<_>> {
            written.iter().map(|text| Pattern::parse(text)).collect()
        };
        Ok(Self {
            enter: parse(enter)?,
            read: parse(read)?,
            least_cleanup: None,
        })
    }

    /// With what may be left behind there.
    pub(super) fn with_least_cleanup(mut self, least: Option<Cleanup>) -> Self {
        self.least_cleanup = least;
        self
    }

    pub(super) fn least_cleanup(&self) -> Option<Cleanup> {
        self.least_cleanup
    }

    /// Who may enter may look, too.
    pub(super) fn allow(&self, action: Action, place: &Place) -> bool {
        // With stranger names, two places could be written in the same way.
        if !place.is_sane() {
            return false;
        }
        let (kind, name) = (place.kind(), place.to_string());
        let may = |patterns: &[Pattern]| patterns.iter().any(|one| one.covers(kind, &name));
        match action {
            Action::Read => may(&self.read) || may(&self.enter),
            Action::Enter => may(&self.enter),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn lain(app: &str, proc: &str, instance: &str) -> Place {
        Place::Lain {
            app: app.into(),
            proc: proc.into(),
            instance: instance.into(),
        }
    }

    fn pod(namespace: &str, pod: &str, container: Option<&str>) -> Place {
        Place::Pod {
            namespace: namespace.into(),
            pod: pod.into(),
            container: container.map(str::to_owned),
        }
    }

    /// All that are written as `shop/web/1`, and those that could be taken for one another.
    fn places() -> Vec<(&'static str, Place)> {
        vec![
            (
                "container:shop/web/1",
                Place::Container("shop/web/1".into()),
            ),
            ("lain:shop/web/1", lain("shop", "web", "1")),
            ("pod:shop/web/1", pod("shop", "web", Some("1"))),
            ("session:shop/web/1", Place::Session("shop/web/1".into())),
            ("pod:shop/web", pod("shop", "web", None)),
            ("container:shop/web", Place::Container("shop/web".into())),
            ("container:records", Place::Container("records".into())),
            ("session:records", Place::Session("records".into())),
            ("records:*", Place::Records),
            (
                "container:lain:shop/web/1",
                Place::Container("lain:shop/web/1".into()),
            ),
            ("container:session:1", Place::Container("session:1".into())),
            ("session:1", Place::Session("1".into())),
        ]
    }

    fn enter(pattern: &str) -> Grants {
        Grants::parse(&[pattern.to_owned()], &[]).unwrap()
    }

    #[test]
    fn a_grant_for_one_place_opens_no_other_that_looks_like_it() {
        for (written, place) in places() {
            let grants = enter(written);
            for (_, other) in places() {
                let may = grants.allow(Action::Enter, &other);
                assert_eq!(may, other == place, "{written}: {other:?}");
            }
        }
    }

    #[test]
    fn a_pattern_stays_within_its_kind() {
        for kind in ["container", "lain", "pod", "session", "records"] {
            for pattern in [format!("{kind}:*"), format!("{kind}:shop/*")] {
                if pattern == "records:shop/*" {
                    continue;
                }
                let grants = Grants::parse(&[], std::slice::from_ref(&pattern)).unwrap();
                for (_, place) in places() {
                    let may = grants.allow(Action::Read, &place);
                    assert!(!may || place.kind() == kind, "{pattern}: {place:?}");
                    assert!(!grants.allow(Action::Enter, &place), "{pattern}");
                    if pattern.ends_with(":*") {
                        assert_eq!(may, place.kind() == kind, "{pattern}: {place:?}");
                    }
                }
            }
        }
    }

    /// What was written before there were kinds.
    #[test]
    fn a_plain_text_is_a_container_and_nothing_else() {
        for plain in ["shop/web/1", "shop/*", "shop/web", "records", "*", "1"] {
            let grants = enter(plain);
            for (_, place) in places() {
                let may = grants.allow(Action::Enter, &place);
                assert!(!may || place.kind() == "container", "{plain}: {place:?}");
            }
        }
        assert!(enter("shop/web/1").allow(Action::Enter, &Place::Container("shop/web/1".into())));
        assert!(enter("*").allow(Action::Enter, &Place::Container("any".into())));
        assert!(!enter("").allow(Action::Enter, &Place::Container("any".into())));
    }

    #[test]
    fn a_kind_that_is_none_is_refused_by_name() {
        for bad in ["lian:shop/*", ":x", "Pod:a/b", "records:today", "records:"] {
            let error = Grants::parse(&[bad.to_owned()], &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
            let text = error.to_string();
            assert!(text.contains(bad) && text.contains("lain:"), "{text}");
        }
        // Whoever sends such names past the gateway gets nowhere.
        let strange = lain("shop/web", "1", "2");
        assert!(!enter("lain:*").allow(Action::Enter, &strange));
    }

    proptest! {
        /// Whatever the names: a grant written for one place opens another only if it is of the same
        /// kind and name.
        #[test]
        fn kinds_never_mix(
            names in prop::collection::vec("[a-c]{1,2}", 3),
            container in any::<bool>(),
            cut in 0usize..9,
        ) {
            let all = [
                Place::Container(names.join("/")),
                lain(&names[0], &names[1], &names[2]),
                pod(&names[0], &names[1], container.then_some(&*names[2])),
                Place::Session(names.join("/")),
                Place::Records,
            ];
            for place in &all {
                let whole = match place {
                    Place::Records => "records:*".to_owned(),
                    place => format!("{}:{place}", place.kind()),
                };
                let start = whole.len().min(place.kind().len() + 1 + cut);
                for written in [whole.clone(), format!("{}*", &whole[..start])] {
                    // The records have no names.
                    let Ok(grants) = Grants::parse(std::slice::from_ref(&written), &[]) else {
                        prop_assert_eq!(place, &Place::Records);
                        continue;
                    };
                    for other in &all {
                        let may = grants.allow(Action::Enter, other);
                        prop_assert_eq!(may, other == place, "{} {:?}", written, other);
                    }
                }
            }
        }
    }
}
