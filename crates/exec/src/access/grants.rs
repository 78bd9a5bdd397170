use longshore_core::Action;

use super::Place;

/// Where somebody may enter and look. A place is written as [`Place`] prints it; a `*` at the end
/// stands for any rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    pub(super) enter: Vec<String>,
    pub(super) read: Vec<String>,
}

impl Grants {
    /// Who may enter may look, too.
    pub(super) fn allow(&self, action: Action, place: &Place) -> bool {
        let place = place.to_string();
        let may = |patterns: &[String]| patterns.iter().any(|pattern| covers(pattern, &place));
        match action {
            Action::Read => may(&self.read) || may(&self.enter),
            Action::Enter => may(&self.enter),
            _ => false,
        }
    }
}

fn covers(pattern: &str, place: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => place.starts_with(start),
        None => pattern == place,
    }
}
