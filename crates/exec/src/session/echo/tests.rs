use super::*;

/// `>` is typed, `<` is shown.
#[track_caller]
fn check(steps: &[&str], recorded: &[Option<&str>]) {
    let mut witness = EchoWitness::default();
    let mut events = Vec::new();
    for step in steps {
        let bytes = &step.as_bytes()[1..];
        match step.as_bytes()[0] {
            b'>' => witness.typed(bytes),
            _ => events.extend(witness.shown(bytes)),
        }
    }
    events.extend(witness.finish());
    let expected: Vec<_> = recorded
        .iter()
        .map(|line| match line {
            Some(text) => RecordEvent::Input(Bytes::copy_from_slice(text.as_bytes())),
            None => RecordEvent::InputHidden,
        })
        .collect();
    assert_eq!(events, expected, "{steps:?}");
}

#[test]
fn a_line_that_is_echoed_is_recorded() {
    check(
        &[">l", "<l", ">s", "<s", ">\r", "<\r\nfile\r\n$ "],
        &[Some("ls\r")],
    );
    check(&[">ls\r", "<ls\r\nfile\r\n$ "], &[Some("ls\r")]);
    check(
        &["<$ ", ">größe", "<gr\u{f6}\u{df}e", ">\r", "<\r\n"],
        &[Some("größe\r")],
    );
    check(
        &[">l\u{7f}", "<l\u{8} \u{8}", ">ps\r", "<ps\r\n"],
        &[Some("l\u{7f}ps\r")],
    );
    check(
        &[
            ">l",
            "<\u{1b}[1ml\u{1b}[0m",
            ">\u{1b}[D",
            "<\u{8}",
            ">\r",
            "<\r\n",
        ],
        &[Some("l\r")],
    );
}

#[test]
fn a_password_leaves_no_trace_but_that_there_was_one() {
    check(&["<Password: ", ">hunter22\r", "<\r\n$ "], &[None]);
    check(
        &["<Password: ", ">h", ">unter22", ">\r", "<\r\nSorry\r\n"],
        &[None],
    );
    check(&[">hunter22\r", "<********\r\n"], &[None]);
    check(&[">h", "<*", ">u", "<*", ">\r", "<\r\nhu\r\n"], &[None]);
    check(&["<Password: ", ">hunter22"], &[None]);
    // Typed before the prompt of `read -s` came.
    check(
        &[">read -s x\r", "<read -s x\r\n", ">hunter22\r", "<\r\n$ "],
        &[Some("read -s x\r"), None],
    );
    check(&[">y\r", "<\r\nyes, but which?"], &[None]);
    check(&[">hunter22\r", "<hunter2", "<\r\n"], &[None]);
}

#[test]
fn lines_pasted_at_once_are_recorded() {
    check(
        &[">one\rtwo\rthree\r", "<one\r\ntwo\r\nthree\r\n"],
        &[Some("one\r"), Some("two\r"), Some("three\r")],
    );
    // The shell echoes each when it reads it, behind the output of the one before.
    check(
        &[
            ">echo first\recho second\recho third\r",
            "<echo first\r\nfirst\r\n$ echo second\r\nsecond\r\n",
            "<$ echo third\r\nthird\r\n",
        ],
        &[
            Some("echo first\r"),
            Some("echo second\r"),
            Some("echo third\r"),
        ],
    );
}

#[test]
fn the_window_of_doubt_ends() {
    let flood = format!("<{}", "x".repeat(RECENT + 100));
    check(&[">echo first\r", &flood, "<echo first"], &[None]);
    let long = format!(">{}\r", "k".repeat(10_000));
    let echo = format!("<{}\r\n", "k".repeat(10_000));
    check(&[&long, &echo], &[Some(&long[1..])]);
    let longer = format!(">{}\r", "k".repeat(LONGEST_LINE + 1));
    check(
        &[&longer, &format!("<{}\r\n", "k".repeat(LONGEST_LINE + 1))],
        &[None],
    );
}

#[test]
fn its_memory_is_bounded() {
    let mut witness = EchoWitness::default();
    for _ in 0..10_000 {
        witness.typed(b"secret words\r");
        witness.shown(b"x");
    }
    assert!(witness.ended.len() <= MOST_LATER + 1);
    assert!(witness.expected.len() <= (MOST_LATER + 1) * 14);
    for _ in 0..10_000 {
        witness.typed(b"secret words\r");
    }
    assert!(witness.ended.len() <= MOST_ENDED && witness.expected.len() <= 13 * MOST_ENDED);
    witness.typed(&[b'a'; 1 << 20]);
    assert!(witness.expected.len() <= 13 * MOST_ENDED + LONGEST_LINE);
    assert!(witness.line.bytes.len() + witness.line.text.len() <= 2 * LONGEST_LINE);
}
