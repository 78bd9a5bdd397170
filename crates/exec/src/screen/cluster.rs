use std::collections::HashMap;

use unicode_width::UnicodeWidthChar;

/// Characters with what combines with them, each under a code point of its own: a cell of the model
/// has room for one. The code points are of planes that terminals do not see, one block for either
/// width; where they do come, they are kept here like any cluster.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    known: HashMap<String, char>,
    narrow: Vec<String>,
    wide: Vec<String>,
}

impl Clusters {
    /// The character to give to the model for this text.
    pub(super) fn code(&mut self, text: &str) -> char {
        let mut chars = text.chars();
        let first = chars.next().unwrap_or(' ');
        if chars.next().is_none() && !is_reserved(first) {
            return first;
        }
        if let Some(code) = self.known.get(text) {
            return *code;
        }
        let is_wide = first.width() == Some(2);
        let (block, start) = match is_wide {
            true => (&mut self.wide, WIDE),
            false => (&mut self.narrow, NARROW),
        };
        let code = char::from_u32(start + block.len() as u32);
        match code.filter(|_| block.len() < MOST as usize) {
            Some(code) => {
                block.push(text.to_owned());
                self.known.insert(text.to_owned(), code);
                code
            }
            // Too many: the first character alone, if it means itself.
            None if is_reserved(first) => char::REPLACEMENT_CHARACTER,
            None => first,
        }
    }

    /// With the clusters in place of their code points.
    pub(super) fn restore(&self, text: &str) -> String {
        let mut restored = String::with_capacity(text.len());
        for char in text.chars() {
            match self.find(char) {
                Some(cluster) => restored.push_str(cluster),
                None => restored.push(char),
            }
        }
        restored
    }

    fn find(&self, code: char) -> Option<&String> {
        let code = u32::from(code);
        let narrow = code
            .checked_sub(NARROW)
            .and_then(|place| self.narrow.get(place as usize));
        narrow.or_else(|| {
            code.checked_sub(WIDE)
                .and_then(|place| self.wide.get(place as usize))
        })
    }
}

fn is_reserved(char: char) -> bool {
    let code = u32::from(char);
    (NARROW..NARROW + MOST).contains(&code) || (WIDE..WIDE + MOST).contains(&code)
}

/// Private use, one column.
const NARROW: u32 = 0x10_4000;
/// Not assigned in plane 3, two columns like the whole of it (UAX #11).
const WIDE: u32 = 0x3_a000;
const MOST: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_come_back_and_code_points_of_ours_too() {
        let mut clusters = Clusters::default();
        let texts = [
            "e\u{301}",
            "が",
            "か\u{3099}",
            "\u{104000}",
            "\u{3a000}",
            "a",
        ];
        let coded: Vec<_> = texts.iter().map(|text| clusters.code(text)).collect();
        let widths: Vec<_> = coded.iter().map(|code| code.width()).collect();
        assert_eq!(widths, [1, 2, 2, 1, 2, 1].map(Some));
        let coded: String = coded.into_iter().collect();
        assert_eq!(clusters.restore(&coded), texts.concat());
        assert_eq!(clusters.known.len(), 4);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut clusters = Clusters::default();
        for number in 0..10_000 {
            let mark = char::from_u32(0x300 + number % 100).unwrap();
            let base = char::from_u32(0x4e00 + number / 100).unwrap();
            clusters.code(&format!("{base}{mark}"));
        }
        assert_eq!(clusters.known.len(), MOST as usize);
        assert_eq!(
            clusters.code("x\u{301}\u{302}"),
            NARROW.try_into().unwrap(),
            "the other width has room"
        );
        assert_eq!(clusters.code("\u{3a000}"), '\u{fffd}');
        assert_eq!(clusters.code("漢\u{301}\u{301}"), '漢');
    }
}
