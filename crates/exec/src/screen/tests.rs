use proptest::prelude::*;

use super::*;

fn size(columns: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(columns, rows)
}

fn shown(columns: u16, rows: u16, pieces: &[&[u8]]) -> TerminalScreen {
    let mut screen = TerminalScreen::new(size(columns, rows), 20);
    for piece in pieces {
        screen.output(piece);
    }
    screen
}

/// What a terminal shows, with what combines; and where its cursor is.
fn text(screen: &TerminalScreen) -> (Vec<String>, Option<(usize, usize)>) {
    let lines = screen.terminal.screen().all_lines();
    let lines = lines.map(|line| screen.scanner.restore(&line.text()).trim_end().to_owned());
    (lines.collect(), screen.terminal.cursor().position())
}

/// A terminal that was shown the screen after `before`, and then the rest, is as one that saw
/// everything.
#[track_caller]
fn check(columns: u16, rows: u16, before: &[u8], after: &[u8]) {
    let mut whole = shown(columns, rows, &[before]);
    let redraw = whole.redraw();
    whole.output(after);
    // Whatever was on it before.
    let mut late = shown(
        columns,
        rows,
        &[
            b"\x1b[?1049h\x1b[2;3r\x1b[31mother\x1b(0\x0e\x1b[?2004h\x1b[4h",
            &redraw,
            after,
        ],
    );
    assert_eq!(text(&late), text(&whole));
    let redraws =
        [late.redraw(), whole.redraw()].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(
        redraws[0],
        redraws[1],
        "{:?} and {:?}",
        String::from_utf8_lossy(before),
        String::from_utf8_lossy(after)
    );
}

#[test]
fn the_screen_goes_on_in_the_middle_of_anything() {
    let whole = "\x1b[1;38;5;200mCJK 日本語\x1b[0m e\u{301}x か\u{3099} 😀\r\n\x1b(0lqk\x1b(B\x1b[?1000;1006h\x1b[?2004h\
        \x1b]0;title\x07\x1bP1$qm\x1b\\\x1b7\x1b[2;5H\x1b[48;2;1;2;3mbg\x1b[K\x1b[2;4r\x1b[?6h\x1b[?1049halt\x1b[3 q\x1b=\x1b8\x1b[5mq\r\n"
        .as_bytes();
    for at in 0..=whole.len() {
        check(20, 5, &whole[..at], &whole[at..]);
    }
}

#[test]
fn scrollback_comes_with_its_colours_and_wraps() {
    let mut output = String::new();
    for line in 0..12 {
        output += &format!(
            "\x1b[4{}mline {line} 漢字 and more than fits\x1b[0m\r\n",
            line % 8
        );
    }
    check(16, 4, output.as_bytes(), b"\x1b[Hon");
    let mut late = TerminalScreen::new(size(16, 4), 20);
    late.output(&shown(16, 4, &[output.as_bytes()]).redraw());
    let (lines, _) = text(&late);
    assert!(
        lines.len() > 20 && lines.iter().any(|line| line.starts_with("line 9 漢字")),
        "{lines:?}"
    );
}

#[test]
fn combining_marks_are_not_cells_of_their_own() {
    let screen = shown(10, 2, &["e\u{301}".as_bytes(), b"x\xcc", b"\x81y"]);
    assert_eq!(
        text(&screen),
        (
            vec!["e\u{301}x\u{301}".to_owned(), String::new()],
            Some((2, 0))
        ),
        "y may go on"
    );
    let mut screen = shown(10, 2, &["e\u{301}x\u{301}y\r".as_bytes()]);
    assert_eq!(screen.terminal.cursor_position().col, 0);
    assert!(String::from_utf8_lossy(&screen.redraw()).contains("e\u{301}x\u{301}y"));
}

#[test]
fn the_primary_screen_is_there_behind_the_alternate_one() {
    check(
        20,
        5,
        b"shell$ vi\r\n\x1b[?1049h\x1b[Hediting",
        b"\x1b[?1049l$ ",
    );
    let late = shown(
        20,
        5,
        &[
            &shown(20, 5, &[b"shell$ vi\r\n\x1b[?1049h\x1b[Hediting"]).redraw(),
            b"\x1b[?1049l",
        ],
    );
    assert_eq!(text(&late).0[0], "shell$ vi");
}

#[test]
fn modes_that_say_what_is_sent_come_back() {
    let mut screen = shown(
        20,
        5,
        &[b"\x1b[?1000h\x1b[?1002h\x1b[?1006h\x1b[?2004h\x1b[?1004h\x1b[?2004l\x1b[5 q\x1b="],
    );
    let redraw = String::from_utf8(screen.redraw().to_vec()).unwrap();
    for expected in [
        "\x1b[?1002h",
        "\x1b[?1006h",
        "\x1b[?1004h",
        "\x1b[5 q",
        "\x1b=",
    ] {
        assert!(redraw.contains(expected), "{expected:?} in {redraw:?}");
    }
    for gone in ["?1000h", "?2004h"] {
        assert!(!redraw.contains(gone), "{gone:?} in {redraw:?}");
    }
    let reset = shown(20, 5, &[&screen.redraw(), b"\x1bc"]);
    assert_eq!(*reset.scanner.modes(), modes::Modes::default());
}

#[test]
fn sizes_and_redraws_are_bounded() {
    let mut screen = TerminalScreen::new(size(u16::MAX, u16::MAX), 10_000);
    assert_eq!(screen.terminal.size(), (MOST_COLUMNS, MOST_ROWS));
    screen.resize(size(0, 0));
    assert_eq!(screen.terminal.size(), (1, 1));
    screen.resize(size(80, 24));
    for line in 0..9000 {
        screen.output(format!("\x1b[38;2;1;2;{}m{:079}\r\n", line % 256, line).as_bytes());
    }
    let redraw = screen.redraw();
    assert!(
        redraw.len() < MOST_SCROLLBACK + (64 << 10),
        "{}",
        redraw.len()
    );
    assert!(
        String::from_utf8_lossy(&redraw).contains(&format!("{:079}", 8000)),
        "the newest"
    );
    screen.output(&[b"\x1b[".to_vec(), vec![b'1'; 1 << 20]].concat());
    screen.output(&"\u{301}".repeat(100_000).into_bytes());
    assert!(screen.redraw().len() < MOST_SCROLLBACK + (64 << 10));
}

/// Pieces of output that matter.
fn atom() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "\x1b[",
        "\x1b",
        ";",
        "1",
        "3",
        "12",
        "h",
        "l",
        "m",
        "r",
        "H",
        "A",
        "C",
        "K",
        "J",
        "L",
        "M",
        "P",
        "@",
        "X",
        "S",
        "T",
        "b",
        "\x1b7",
        "\x1b8",
        "\x1bM",
        "\x1bD",
        "\x1bE",
        "\x1bH",
        "\x1b[3g",
        "\x1b[?1049h",
        "\x1b[?1049l",
        "\x1b[?47h",
        "\x1b[?47l",
        "\x1b[?6h",
        "\x1b[?7l",
        "\x1b[?7h",
        "\x1b[4h",
        "\x1b[4l",
        "\x1b[2;3r",
        "\x1b[31;1m",
        "\x1b[48;5;99m",
        "\x1b[m",
        "\x1b(0",
        "\x1b(B",
        "\x0e",
        "\x0f",
        "\x1b[?1003h",
        "\x1b[?1006h",
        "\x1b[?2004h",
        "\x1b=",
        "\x1b[4 q",
        "\x1bc",
        "\x1b[!p",
        "\x1b]0;t",
        "\x07",
        "\x1b\\",
        "\x1bP",
        "\x18",
        "漢",
        "字字",
        "😀",
        "e\u{301}",
        "か\u{3099}",
        "\u{200d}",
        "\u{fe0f}",
        "a",
        "bcd",
        "long text",
        "\t",
        "\x08",
        "\r",
        "\n",
        "\r\n",
        "\x1b[5b",
    ]);
    prop_oneof![
        9 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..5),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// A redraw and the rest are as good as the whole, for any output split anywhere.
    #[test]
    fn a_snapshot_and_the_rest_are_the_whole(
        atoms in prop::collection::vec(atom(), 0..60),
        split in any::<prop::sample::Index>(),
        columns in 2u16..14,
        rows in 1u16..6,
    ) {
        let whole = atoms.concat();
        let at = split.index(whole.len() + 1);
        check(columns, rows, &whole[..at], &whole[at..]);
    }

    /// How output is cut into pieces does not matter, and no output is too strange.
    #[test]
    fn pieces_do_not_matter(
        atoms in prop::collection::vec(atom(), 0..60),
        columns in 1u16..14,
        rows in 1u16..6,
        (then_columns, then_rows) in (1u16..14, 1u16..6),
    ) {
        let whole = atoms.concat();
        let single: Vec<&[u8]> = whole.chunks(1).collect();
        let mut one = shown(columns, rows, &[&whole]);
        let mut many = shown(columns, rows, &single);
        prop_assert_eq!(one.redraw(), many.redraw());
        for screen in [&mut one, &mut many] {
            screen.resize(size(then_columns, then_rows));
            screen.output(&whole);
        }
        prop_assert_eq!(one.redraw(), many.redraw());
    }
}
