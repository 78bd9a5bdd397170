//! What a line says: words, quotes and variables. What would need a shell is refused by name.

/// Splits a line into words. `value` knows the variables.
pub(super) fn split(
    line: &[u8],
    value: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b' ' | b'\t' | b'\r' => words.extend(word.take()),
            b'#' if word.is_none() => break,
            b'\'' => {
                let end = rest.iter().position(|byte| *byte == b'\'');
                let end = end.ok_or("a quote ' is not closed")?;
                word.get_or_insert_default().extend(&rest[..end]);
                rest = &rest[end + 1..];
            }
            b'"' => {
                let word = word.get_or_insert_default();
                rest = quoted(rest, word, value)?;
            }
            b'\\' => {
                let (&next, tail) = rest.split_first().ok_or("the line ends with \\")?;
                word.get_or_insert_default().push(next);
                rest = tail;
            }
            b'$' => rest = variable(rest, word.get_or_insert_default(), value)?,
            b'~' if word.is_none() && matches!(rest.first(), None | Some(b'/' | b' ')) => {
                word = Some(value(b"HOME").unwrap_or_else(|| b"/".to_vec()));
            }
            b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' | b'`' => {
                let sign = char::from(byte);
                return Err(format!(
                    "{sign} needs a shell, and there is none here; quote it if it is meant as it is"
                ));
            }
            b'*' | b'?' | b'[' => {
                let sign = char::from(byte);
                return Err(format!(
                    "{sign} is not replaced by names here; quote it if it is meant as it is"
                ));
            }
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Behind a double quote, up to the next. What is left of the line.
fn quoted<'a>(
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
    value: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<&'a [u8], String> {
    loop {
        let (&byte, tail) = rest.split_first().ok_or("a quote \" is not closed")?;
        rest = tail;
        match (byte, rest.first()) {
            (b'"', _) => return Ok(rest),
            (b'\\', Some(&next @ (b'"' | b'\\' | b'$'))) => {
                word.push(next);
                rest = &rest[1..];
            }
            (b'$', _) => rest = variable(rest, word, value)?,
            _ => word.push(byte),
        }
    }
}

/// Behind a `$`: `NAME`, `{NAME}` or `?`. Unknown ones are empty. What is left of the line.
fn variable<'a>(
    rest: &'a [u8],
    word: &mut Vec<u8>,
    value: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<&'a [u8], String> {
    let (name, rest) = match rest.first() {
        Some(b'?') => rest.split_at(1),
        Some(b'{') => {
            let end = rest.iter().position(|byte| *byte == b'}');
            let end = end.ok_or("${ is not closed by }")?;
            let name = &rest[1..end];
            if !is_name(name) {
                return Err("${…} takes the name of a variable and nothing else here".to_owned());
            }
            (name, &rest[end + 1..])
        }
        Some(b'(') => return Err("$( needs a shell, and there is none here".to_owned()),
        _ => {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let end = rest.iter().position(|byte| !is_part(byte));
            rest.split_at(end.unwrap_or(rest.len()))
        }
    };
    match name {
        [] => word.push(b'$'),
        _ => word.extend(value(name).unwrap_or_default()),
    }
    Ok(rest)
}

/// Whether a variable may be called so.
pub(super) fn is_name(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(name: &[u8]) -> Option<Vec<u8>> {
        match name {
            b"A" => Some(b"a b".to_vec()),
            b"HOME" => Some(b"/srv".to_vec()),
            b"?" => Some(b"7".to_vec()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let words = split(line.as_bytes(), &values).unwrap();
        let words: Vec<_> = words
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        assert_eq!(words, expected, "{line}");
    }

    #[test]
    fn words_are_split_and_quotes_hold_them_together() {
        check("", &[]);
        check("  /app  -v\t x ", &["/app", "-v", "x"]);
        check(
            "a 'b  $A' \"c \\\" d\" e\\ f ''",
            &["a", "b  $A", "c \" d", "e f", ""],
        );
        check("x # the rest", &["x"]);
        check("x#y '#'", &["x#y", "#"]);
        check("ls ~ ~/x a~", &["ls", "/srv", "/srv/x", "a~"]);
    }

    #[test]
    fn variables_are_replaced_and_not_split() {
        check(
            "$A ${A}x \"$A\" $? $NO- $",
            &["a b", "a bx", "a b", "7", "-", "$"],
        );
    }

    #[test]
    fn what_needs_a_shell_is_refused_by_name() {
        for (line, word) in [
            ("a | b", "|"),
            ("a > b", ">"),
            ("a; b", ";"),
            ("a `b`", "`"),
            ("a $(b)", "$("),
            ("ls *", "*"),
            ("a 'b", "'"),
            ("a \"b", "\""),
            ("a \\", "\\"),
            ("${A", "}"),
            ("${A:-1}", "${"),
        ] {
            let error = split(line.as_bytes(), &values).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
        check("'a|b' \"c;d\" e\\*", &["a|b", "c;d", "e*"]);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = split(&line, &values);
        }

        /// What is quoted is what it was.
        #[test]
        fn a_quoted_word_is_itself(word in "[^'\u{0}]{0,40}") {
            let line = format!("x '{word}'");
            prop_assert_eq!(split(line.as_bytes(), &values).unwrap()[1].clone(), word.into_bytes());
        }
    }
}
