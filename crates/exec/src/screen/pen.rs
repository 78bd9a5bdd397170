use std::fmt::Write as _;

use avt::{Color, Pen};

/// Selects a pen (SGR), from any other.
pub(super) fn sgr(pen: &Pen, text: &mut String) {
    text.push_str("\x1b[0");
    let attributes = [
        (pen.is_bold(), 1),
        (pen.is_faint(), 2),
        (pen.is_italic(), 3),
        (pen.is_underline(), 4),
        (pen.is_blink(), 5),
        (pen.is_inverse(), 7),
        (pen.is_strikethrough(), 9),
    ];
    for (_, number) in attributes.into_iter().filter(|(is_on, _)| *is_on) {
        let _ = write!(text, ";{number}");
    }
    for (colour, first) in [(pen.foreground(), 30), (pen.background(), 40)] {
        let _ = match colour {
            None => Ok(()),
            Some(Color::Indexed(index @ 0..=7)) => write!(text, ";{}", first + index),
            Some(Color::Indexed(index @ 8..=15)) => write!(text, ";{}", first + 52 + index),
            Some(Color::Indexed(index)) => write!(text, ";{};5;{index}", first + 8),
            Some(Color::RGB(rgb)) => write!(text, ";{};2;{};{};{}", first + 8, rgb.r, rgb.g, rgb.b),
        };
    }
    text.push('m');
}
