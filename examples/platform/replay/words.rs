//! What a replay leaves, and how it ends.

use longshore::core::printable;

use crate::{Failure, say::note};

/// Puts a terminal back that a program was using: its modes, colours, character set, scrolling region
/// and cursor; the main screen, no mouse, plain keys and pastes (`ctlseqs`, xterm). Nothing is erased.
pub const RESET: &[u8] = b"\x1b[?1049l\x1b[!p\x1b[0m\x1b(B\x1b[?25h\x1b[?7h\x1b[?1000;1002;1003;1004;1005;1006;2004l\x1b[r\x1b[?1l\x1b>\r\n";

/// What LAIN's last message says, in this program's words.
pub fn last_words(said: Option<&[u8]>, session: &str) -> Result<(), Failure> {
    let said = String::from_utf8_lossy(said.unwrap_or_default());
    // Its colours are its own.
    let plain = said
        .replace("\x1b[31m", "")
        .replace("\x1b[32m", "")
        .replace("\x1b[0m", "");
    let plain = printable(plain.trim_start_matches(">>> "), 200);
    if plain.contains("replay done") {
        note(format_args!("the end of session {session}'s record"));
        return Ok(());
    }
    Err(Failure::new(if plain.contains("Authorization") {
        format!(
            "you may not see the record of session {session}, or not any more; the control plane decides by \
             who you are for it (your user on its socket, your certificate on TLS)"
        )
    } else if plain.contains("Replay session failed") {
        format!(
            "there is no record of session {session}, or it is not sound; 'platform sessions' lists those that are \
             recorded, by their whole id"
        )
    } else if plain.is_empty() {
        format!("the replay of session {session} broke off")
    } else {
        plain.into_owned()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_replay_is_a_success() {
        let told = |text: &str| {
            let said = format!("\x1b[31m>>> {text}\x1b[0m");
            last_words(Some(said.as_bytes()), "e8")
        };
        assert!(told("Session replay done.").is_ok());
        for (text, words) in [
            ("Authorization failed.", "may not see"),
            (
                "Replay session failed, please try again.",
                "no record of session e8",
            ),
            ("too many \x1b[2J", "too many \\u{1b}[2J"),
        ] {
            let failure = told(text).expect_err(text).message;
            assert!(failure.contains(words), "{failure}");
        }
        let failure = last_words(None, "e8").expect_err("it broke off").message;
        assert!(failure.contains("broke off"));
    }
}
