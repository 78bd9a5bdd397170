//! Text of nodes, on its way to people: nothing in it may command a terminal or look like a line of
//! our own.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// A name, or another text of one line.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    replaced(text, commands)
}

/// A text for people that may have lines.
pub(super) fn prose(text: String) -> String {
    match replaced(&text, |character| character != '\n' && commands(character)) {
        Cow::Borrowed(_) => text,
        Cow::Owned(replaced) => replaced,
    }
}

/// All texts of a value, keys as well.
pub(super) fn plain_value(value: &mut Value) {
    each_text(value, commands);
}

/// All texts of a value, which may have lines.
pub(super) fn prose_value(value: &mut Value) {
    each_text(value, |character| character != '\n' && commands(character));
}

/// JSON for people, without what could command a terminal when it is printed unquoted.
pub(super) fn plain_json(json: Vec<u8>, lines: Lines) -> serde_json::Result<Vec<u8>> {
    let loud = |character: char| match lines {
        Lines::One => commands(character),
        Lines::Many => character != '\n' && commands(character),
    };
    // Hardly any answer has something to replace.
    if std::str::from_utf8(&json).is_ok_and(|text| !may_hold(text)) {
        return Ok(json);
    }
    let mut value: Value = serde_json::from_slice(&json)?;
    each_text(&mut value, loud);
    serde_json::to_vec(&value)
}

/// Whether texts may have lines.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lines {
    One,
    Many,
}

fn replaced(text: &str, loud: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&loud) {
        return Cow::Borrowed(text);
    }
    let replace = |character| {
        if loud(character) {
            '\u{fffd}'
        } else {
            character
        }
    };
    Cow::Owned(text.chars().map(replace).collect())
}

fn each_text(value: &mut Value, loud: impl Fn(char) -> bool + Copy) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(new) = replaced(text, loud) {
                *text = new;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, loud)),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains(loud)) {
                let renamed = std::mem::take(fields).into_iter();
                *fields = renamed
                    .map(|(key, value)| (replaced(&key, loud).into_owned(), value))
                    .collect::<Map<_, _>>();
            }
            fields.values_mut().for_each(|value| each_text(value, loud));
        }
        _ => {}
    }
}

/// Whether JSON text holds such a character, as it is or escaped.
fn may_hold(json: &str) -> bool {
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        let escaped = character == '\\' && !matches!(characters.next(), Some('"' | '\\' | '/'));
        if escaped || commands(character) {
            return true;
        }
    }
    false
}

/// Control characters, line separators, and marks that turn the direction of what follows.
fn commands(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_commands_a_terminal() {
        assert_eq!(plain("b\u{1b}[31mad\nx\u{7}\u{9b}"), "b�[31mad�x��");
        assert_eq!(plain("a\u{202e}b\u{2066}c\u{2028}d"), "a�b�c�d");
        assert!(matches!(plain("größe 木 🙂 [x]"), Cow::Borrowed(_)));
        assert_eq!(prose("a\nb\u{1b}".to_owned()), "a\nb�");
    }

    #[test]
    fn json_is_looked_through_keys_and_all() {
        let loud = json!({"a\u{1b}": ["x\ny", {"b": "\u{202e}"}], "c": 1});
        let text = |lines| {
            let out = plain_json(loud.to_string().into_bytes(), lines).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(Lines::One), r#"{"a�":["x�y",{"b":"�"}],"c":1}"#);
        assert_eq!(text(Lines::Many), r#"{"a�":["x\ny",{"b":"�"}],"c":1}"#);
        // What needs no change is not touched.
        let plain = br#"{"z": "a \"quoted\" \\n", "b": 1.0e2}"#;
        assert_eq!(plain_json(plain.to_vec(), Lines::One).unwrap(), plain);
    }
}
