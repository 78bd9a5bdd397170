use std::fmt::Write as _;

/// The modes that say what a terminal sends, which the model does not keep: mouse, focus, pastes,
/// keypad, and the cursor's shape (xterm's control sequences, DECSET and DECSCUSR).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Modes {
    /// In the order in which they were set.
    set: Vec<u16>,
    keypad: bool,
    cursor: Option<u16>,
}

impl Modes {
    /// A private mode.
    pub(super) fn change(&mut self, mode: u16, on: bool) {
        if let Some(group) = GROUPS.iter().find(|group| group.contains(&mode)) {
            self.set.retain(|set| !group.contains(set));
            if on {
                self.set.push(mode);
            }
        } else if mode == 66 {
            self.keypad = on;
        }
    }

    pub(super) fn set_keypad(&mut self, on: bool) {
        self.keypad = on;
    }

    pub(super) fn set_cursor(&mut self, shape: u16) {
        self.cursor = (1..=6).contains(&shape).then_some(shape);
    }

    /// A soft reset (DECSTR) leaves mouse and pastes as they are.
    pub(super) fn soft_reset(&mut self) {
        self.keypad = false;
        self.cursor = None;
    }

    pub(super) fn write(&self, text: &mut String) {
        for mode in &self.set {
            let _ = write!(text, "\x1b[?{mode}h");
        }
        if self.keypad {
            text.push_str("\x1b=");
        }
        if let Some(shape) = self.cursor {
            let _ = write!(text, "\x1b[{shape} q");
        }
    }
}

/// Of each group one is set at most.
const GROUPS: [&[u16]; 4] = [
    &[9, 1000, 1002, 1003],
    &[1005, 1006, 1015, 1016],
    &[1004],
    &[2004],
];
