//! Just enough understanding of Rust source: what is code, and what is test code.

use std::collections::BTreeSet;
use std::path::Path;

/// The text with comments and the insides of string and character literals
/// replaced by spaces: same length in lines, same columns.
pub(crate) fn code_only(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |character: char| if character == '\n' { '\n' } else { ' ' };
    while at < characters.len() {
        let Some(end) = token_at(&characters, at) else {
            out.push(characters[at]);
            at += 1;
            continue;
        };
        out.extend(characters[at..end].iter().copied().map(blank));
        at = end;
    }
    out
}

/// Marks, for each line of `code` (as [`code_only`] returns it), whether it is
/// part of an item under `#[cfg(test)]` or of a `#[test]` function.
pub(crate) fn test_lines(code: &str) -> Vec<bool> {
    let mut lines = vec![false; code.lines().count()];
    for start in test_attributes(code) {
        let end = item_end(code, start);
        let first = code[..start].matches('\n').count();
        let last = code[..end].matches('\n').count();
        for line in lines.iter_mut().take(last + 1).skip(first) {
            *line = true;
        }
    }
    lines
}

/// The files that hold nothing but tests: by place, by name, or because their
/// module is declared under `#[cfg(test)]`.
pub(crate) fn test_files(root: &Path, paths: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = Vec::new();
    for path in paths.iter().filter(|path| path.ends_with(".rs")) {
        let by_place = ["tests/", "benches/", "examples/", "fuzz/"]
            .iter()
            .any(|place| path.starts_with(place) || path.contains(&format!("/{place}")))
            && !path.starts_with("tests/lab/src/");
        if by_place || path.ends_with("/tests.rs") {
            found.insert(path.clone());
        }
        let Ok(text) = std::fs::read_to_string(root.join(path)) else {
            continue;
        };
        let code = code_only(&text);
        for start in test_attributes(&code) {
            let item = &code[start..item_end(&code, start)];
            let Some(name) = module_declared(item) else {
                continue;
            };
            let folder = module_folder(path);
            found.insert(format!("{folder}/{name}.rs"));
            folders.push(format!("{folder}/{name}/"));
        }
    }
    found.extend(
        paths
            .iter()
            .filter(|path| folders.iter().any(|f| path.starts_with(f)))
            .cloned(),
    );
    found
}

/// Where the text of a comment or literal that starts at `at` ends, if one does.
fn token_at(text: &[char], at: usize) -> Option<usize> {
    let next = text.get(at + 1).copied();
    match text[at] {
        '/' if next == Some('/') => Some(find(text, at, |rest| rest[0] == '\n', 0)),
        '/' if next == Some('*') => Some(block_comment_end(text, at)),
        '"' => Some(string_end(text, at + 1)),
        'r' if matches!(next, Some('"' | '#')) && !in_word(text, at) => raw_string_end(text, at),
        '\'' if next == Some('\\') => Some(find(text, at + 3, |rest| rest[0] == '\'', 1)),
        // A lifetime has no quote after its first character.
        '\'' if text.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

/// Whether the character before `at` belongs to the same word (`b` of a byte
/// string does not).
fn in_word(text: &[char], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| text[before]) else {
        return false;
    };
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let byte_string = before == 'b' && !at.checked_sub(2).is_some_and(|more| word(text[more]));
    word(before) && !byte_string
}

fn find(text: &[char], from: usize, is_end: impl Fn(&[char]) -> bool, past: usize) -> usize {
    let found = (from..text.len()).find(|&at| is_end(&text[at..]));
    found.map_or(text.len(), |at| at + past).min(text.len())
}

fn block_comment_end(text: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0usize, start);
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

fn string_end(text: &[char], mut at: usize) -> usize {
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// None for a raw identifier such as `r#type`.
fn raw_string_end(text: &[char], start: usize) -> Option<usize> {
    let hashes = text[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let closes = |rest: &[char]| {
        rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#')
    };
    Some(find(text, open + 1, closes, hashes + 1))
}

/// Where attributes that make an item test code start. `cfg(any(test, …))` does
/// not: such an item is also part of the library.
fn test_attributes(code: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for marker in ["#[cfg(test)]", "#[cfg(all(test", "#[test]", "#[tokio::test"] {
        found.extend(code.match_indices(marker).map(|(at, _)| at));
    }
    found.sort_unstable();
    found
}

/// Where the item whose attributes start at `start` ends: at the brace that
/// closes its body, or at its semicolon or comma.
fn item_end(code: &str, start: usize) -> usize {
    let (mut depth, mut in_body) = (0i32, false);
    for (offset, character) in code[start..].char_indices() {
        match character {
            '{' | '(' | '[' => {
                in_body |= character == '{' && depth == 0;
                depth += 1;
            }
            '}' | ')' | ']' => {
                depth -= 1;
                if depth < 0 || (depth == 0 && in_body) {
                    return start + offset + 1;
                }
            }
            ';' | ',' if depth == 0 => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// The `name` of `mod name;` under attributes.
fn module_declared(item: &str) -> Option<&str> {
    let name = item.strip_suffix(';')?.rsplit(']').next()?;
    let mut words = name.split_whitespace().rev();
    let name = words.next()?;
    (words.next() == Some("mod")).then_some(name)
}

/// Where the modules declared in a file are.
fn module_folder(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    let roots = ["/lib", "/main"]
        .iter()
        .find_map(|root| stem.strip_suffix(root));
    roots.unwrap_or(stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let code = code_only(
            "a(\"x \\\" y\"); // b\n/* c /* d */ e */ f r#\"g \" h\"# 'i' '\\'' &'j k br\"l\" r#type",
        );
        let left: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(left, ["a(", ");", "f", "&'j", "k", "b", "r#type"]);
    }

    #[test]
    fn lines_under_a_test_attribute_are_test_lines() {
        let code = "fn a() {\n}\n#[cfg(test)]\nmod tests {\n fn b() { }\n}\nfn c() {}\n";
        assert_eq!(
            test_lines(code),
            [false, false, true, true, true, true, false]
        );
        let code = "#[cfg(any(test, feature = \" \"))]\nmod testkit {\n}\n";
        assert_eq!(test_lines(code), [false, false, false]);
    }

    #[test]
    fn a_module_declared_for_tests_makes_its_file_a_test_file() {
        let code = "#[cfg(test)]\n#[path = \" \"]\npub(crate) mod checks;\nmod other;";
        let item = &code[..item_end(code, 0)];
        assert_eq!(module_declared(item), Some("checks"));
        assert_eq!(module_folder("crates/a/src/lib.rs"), "crates/a/src");
        assert_eq!(module_folder("crates/a/src/foo.rs"), "crates/a/src/foo");
    }
}
