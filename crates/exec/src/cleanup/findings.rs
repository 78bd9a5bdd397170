use super::LeftBehind;

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) left: Vec<LeftBehind>,
    pub(crate) unattributed: Vec<LeftBehind>,
    pub(crate) zombies: usize,
}
