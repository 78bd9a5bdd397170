use std::vec::IntoIter;

use avt::Line;

/// The model's dump without the blanks that fill its lines: whoever copies from a terminal does not
/// want them. Blanks with a colour stay, and those behind which a line goes on. Colours are written
/// with semicolons: of the two forms with colons, terminals know one each.
///
/// The dump draws a screen from its first cell: characters, CR LF, SGR and REP. Anything else ends
/// that. The alternate screen comes later and begins with [`ALTERNATE`].
///
/// The lines are those that the dump draws: where one goes on with nothing but blanks, they stay, or
/// there would be no wrap.
pub(super) fn trim<'a>(
    dump: &str,
    primary: impl Iterator<Item = &'a Line>,
    alternate: impl Iterator<Item = &'a Line>,
) -> String {
    let mut ends = ends(primary);
    let mut alternate = Some(self::ends(alternate));
    let mut trimmed = String::with_capacity(dump.len());
    let mut blanks = Blanks::default();
    let mut pen = Vec::new();
    let mut draws = true;
    let mut rest = dump;
    while let Some(char) = rest.chars().next() {
        let piece = match char {
            '\x1b' if rest.starts_with(ALTERNATE) => ALTERNATE.len(),
            '\x1b' => rest[2.min(rest.len())..]
                .find(is_final)
                .map_or(rest.len(), |end| end + 3),
            '\r' => 2.min(rest.len()),
            other => other.len_utf8(),
        };
        let (piece, after) = rest.split_at(piece);
        rest = after;
        let semicolons;
        let piece = match char == '\x1b' && piece.ends_with('m') {
            true => {
                semicolons = piece.replace(':', ";");
                &semicolons
            }
            false => piece,
        };
        let is_repeat = piece.ends_with('b') && char == '\x1b';
        if piece == ALTERNATE {
            blanks.end(ends.next(), &mut trimmed);
            (draws, pen) = (true, Vec::new());
            ends = alternate.take().unwrap_or_default();
            trimmed.push_str(piece);
        } else if !draws {
            trimmed.push_str(piece);
        } else if char == '\x1b' && piece.ends_with('m') {
            change(&mut pen, &piece[2..piece.len() - 1]);
            blanks.colour(piece);
        } else if char == ' ' && pen.is_empty() || is_repeat && blanks.whole.ends_with(' ') {
            blanks.whole.push_str(piece);
        } else if char == '\r' || char == '\x1b' && !is_repeat {
            draws = char == '\r';
            blanks.end(ends.next(), &mut trimmed);
            trimmed.push_str(piece);
        } else {
            blanks.keep(&mut trimmed);
            trimmed.push_str(piece);
        }
    }
    blanks.end(ends.next(), &mut trimmed);
    trimmed
}

/// For each line as it is drawn, with those that it goes on in: whether the blanks at its end may be
/// left out.
fn ends<'a>(lines: impl Iterator<Item = &'a Line>) -> IntoIter<bool> {
    let mut ends = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let is_blank = line
            .cells()
            .iter()
            .all(|cell| cell.char() == ' ' && cell.pen().is_default());
        if !line.is_wrapped() {
            ends.push(!(goes_on && is_blank));
        }
        goes_on = line.is_wrapped();
    }
    if goes_on {
        ends.push(false);
    }
    ends.into_iter()
}

fn is_final(char: char) -> bool {
    matches!(char, '@'..='~')
}

/// What may be the end of a line.
#[derive(Default)]
struct Blanks {
    /// Blanks, and colours among them.
    whole: String,
    /// The colours alone.
    colours: String,
}

impl Blanks {
    fn colour(&mut self, piece: &str) {
        self.whole.push_str(piece);
        self.colours.push_str(piece);
    }

    fn keep(&mut self, trimmed: &mut String) {
        trimmed.push_str(&self.whole);
        *self = Self::default();
    }

    /// A line ends with them.
    fn end(&mut self, may_go: Option<bool>, trimmed: &mut String) {
        let may_go = may_go.unwrap_or_default();
        trimmed.push_str(if may_go { &self.colours } else { &self.whole });
        *self = Self::default();
    }
}

/// Follows which attributes are on, by the number that turns each off.
fn change(pen: &mut Vec<u8>, parameters: &str) {
    let mut parameters = parameters.split(';');
    while let Some(parameter) = parameters.next() {
        if matches!(parameter, "38" | "48") {
            // The colour itself: an index, or red, green and blue.
            let more = if parameters.next() == Some("2") { 3 } else { 1 };
            parameters.by_ref().take(more).for_each(drop);
        }
        let (off, is_on) = match parameter.parse::<u8>().unwrap_or(0) {
            0 => {
                pen.clear();
                continue;
            }
            1 | 2 => (22, true),
            on @ (3..=9) => (on + 20, true),
            30..=38 | 90..=97 => (39, true),
            40..=48 | 100..=107 => (49, true),
            off => (off, false),
        };
        pen.retain(|known| *known != off);
        if is_on {
            pen.push(off);
        }
    }
}

const ALTERNATE: &str = "\x1b[?1047h\x1b[1;1H";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dump: &str, expected: &str) {
        let terminal = avt::Terminal::new(20, 3).unwrap();
        let lines = || terminal.screen().visible_lines();
        assert_eq!(trim(dump, lines(), lines()), expected);
    }

    #[test]
    fn blanks_that_end_a_line_are_left_out() {
        check("a b  \r\n \x1b[19b\r\nc \x1b[3b", "a b\r\n\r\nc");
        check("a \x1b[3bz\r\n", "a \x1b[3bz\r\n");
        check(" \x1b[1ma\x1b[0m \x1b[5b\r\n", " \x1b[1ma\x1b[0m\r\n");
    }

    #[test]
    fn coloured_blanks_stay() {
        check(
            "\x1b[44ma \x1b[9b\x1b[49m \r\n",
            "\x1b[44ma \x1b[9b\x1b[49m\r\n",
        );
        check(
            "\x1b[38:5:7;7mx\x1b[39m \r\n\x1b[27m \r\n",
            "\x1b[38;5;7;7mx\x1b[39m \r\n\x1b[27m\r\n",
        );
        check(
            "\x1b[48:2:1:0:0mx\x1b[49m \r\n",
            "\x1b[48;2;1;0;0mx\x1b[49m\r\n",
        );
    }

    #[test]
    fn what_comes_behind_a_screen_is_not_touched() {
        check("a  \x1b[1;3H\x1b[0m \x1b7", "a\x1b[1;3H\x1b[0m \x1b7");
        check(
            "a \x1b[0m\x1b[?1047h\x1b[1;1Hb \r\n \x1b[2;1H ",
            "a\x1b[0m\x1b[?1047h\x1b[1;1Hb\r\n\x1b[2;1H ",
        );
    }
}
