use std::borrow::Cow;

/// A text of a peer's as it may stand in a log line, on a terminal or in an answer: characters that
/// begin a new line, steer a terminal or turn the direction of writing become `\u{…}` escapes, and
/// what goes beyond `longest` bytes is cut off, never within a character or an escape.
///
/// ```
/// use longshore_core::printable;
///
/// assert_eq!(printable("gone\nINFO all is well", 100), "gone\\u{a}INFO all is well");
/// assert_eq!(printable("Grüße", 4), "Grü");
/// ```
pub fn printable(text: &str, longest: usize) -> Cow<'_, str> {
    if is_printable(text) {
        return Cow::Borrowed(&text[..text.floor_char_boundary(longest)]);
    }
    let mut shown = String::new();
    for character in text.chars() {
        let before = shown.len();
        if steers(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
        if shown.len() > longest {
            shown.truncate(before);
            break;
        }
    }
    Cow::Owned(shown)
}

/// Whether [`printable`] has nothing to escape in a text.
pub fn is_printable(text: &str) -> bool {
    !text.chars().any(steers)
}

/// Control characters, ends of lines and paragraphs, and what changes the direction of writing.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(printable(text, 1000), expected);
    }

    #[test]
    fn what_steers_is_escaped_and_the_rest_is_kept() {
        check("", "");
        check("tcp://a:1 – größer, 日本", "tcp://a:1 – größer, 日本");
        check("a\r\nb\tc\0", "a\\u{d}\\u{a}b\\u{9}c\\u{0}");
        check("\u{1b}[31m\u{9b}2J\u{7f}", "\\u{1b}[31m\\u{9b}2J\\u{7f}");
        check(
            "\u{202e}x\u{2066}\u{200f}\u{2028}",
            "\\u{202e}x\\u{2066}\\u{200f}\\u{2028}",
        );
    }

    #[test]
    fn the_length_is_bounded_at_a_whole_character() {
        for longest in 0..20 {
            for text in [
                "größer ist besser",
                "a\nö\n\u{1b}[0m..........",
                "日本日本日本日本",
            ] {
                let shown = printable(text, longest);
                assert!(shown.len() <= longest);
                let whole = printable(text, usize::MAX);
                assert!(whole.starts_with(&*shown));
                let rest = &whole[shown.len()..];
                assert!(!rest.starts_with("u{") && !rest.starts_with('{'), "{shown}");
            }
        }
    }
}
