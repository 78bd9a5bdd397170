//! Range patterns in addresses: `10.0.0.[10:12]:2375` stands for three.
//!
//! A range is an innermost `[from:to]` of two decimal numbers, both ends included. Several in one
//! item multiply, the last varying fastest. Any other brackets are literal, so an IPv6 host with a
//! range works: `[2001:db8::[1:3]]:2375` (the numbers are written in decimal there too). Zero padding
//! (`[01:10]`) is kept in host names and dropped in addresses.

use std::net::IpAddr;

use longshore_core::{Error, ErrorKind, Result};

/// How many addresses one list or file may stand for.
pub const DEFAULT_LIMIT: usize = 65_536;

/// The texts that `item` stands for: itself, if it has no range.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for a range that runs backwards or has a number beyond 2⁶⁴,
/// [`ErrorKind::ResourceExhausted`] for more than `limit` texts. The message names the item.
pub fn expand(item: &str, limit: usize) -> Result<Vec<String>> {
    let parts = split(item)?;
    let count = parts.iter().try_fold(1u64, |count, part| match part {
        Part::Literal(_) => Some(count),
        Part::Range(range) => count.checked_mul(range.count()?),
    });
    let count = count
        .and_then(|count| usize::try_from(count).ok())
        .filter(|n| *n <= limit);
    let Some(count) = count else {
        let message = format!("{item}: stands for more than {limit} addresses");
        return Err(Error::new(ErrorKind::ResourceExhausted, message));
    };
    let mut texts = Vec::with_capacity(count);
    texts.extend((0..count as u64).map(|index| nth(&parts, index)));
    Ok(texts)
}

enum Part<'a> {
    Literal(&'a str),
    Range(Range),
}

struct Range {
    from: u64,
    to: u64,
    /// Digits to pad to; 0 for none.
    width: usize,
}

impl Range {
    /// `None` for the one range whose count does not fit.
    fn count(&self) -> Option<u64> {
        (self.to - self.from).checked_add(1)
    }
}

/// Cuts an item into literals and ranges. A `[` that another `[` follows before any `]` is literal.
fn split(item: &str) -> Result<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut literal_from = 0;
    let mut open = None;
    for (at, byte) in item.bytes().enumerate() {
        match (byte, open) {
            (b'[', _) => open = Some(at),
            (b']', Some(start)) => {
                open = None;
                if let Some(range) = parse(&item[start + 1..at], item)? {
                    parts.push(Part::Literal(&item[literal_from..start]));
                    parts.push(Part::Range(range));
                    literal_from = at + 1;
                }
            }
            _ => {}
        }
    }
    parts.push(Part::Literal(&item[literal_from..]));
    Ok(parts)
}

/// `None` when the text between brackets is no range.
fn parse(inside: &str, item: &str) -> Result<Option<Range>> {
    let Some((from, to)) = inside.split_once(':') else {
        return Ok(None);
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(from) || !is_number(to) {
        return Ok(None);
    }
    let padded = [from, to]
        .iter()
        .any(|text| text.len() > 1 && text.starts_with('0'));
    let width = if padded { from.len().max(to.len()) } else { 0 };
    let number = |text: &str| {
        text.parse::<u64>().map_err(|_| {
            Error::invalid(format!(
                "{item}: the range [{inside}] has too large a number"
            ))
        })
    };
    let (from, to) = (number(from)?, number(to)?);
    if from > to {
        return Err(Error::invalid(format!(
            "{item}: the range [{inside}] runs backwards; write [{to}:{from}]"
        )));
    }
    Ok(Some(Range { from, to, width }))
}

/// The text at one place of the product of all ranges.
fn nth(parts: &[Part<'_>], index: u64) -> String {
    let mut rest = index;
    let mut numbers: Vec<(u64, usize)> = Vec::new();
    for part in parts.iter().rev() {
        if let Part::Range(range) = part {
            let count = range.to - range.from + 1;
            numbers.push((range.from + rest % count, range.width));
            rest /= count;
        }
    }
    numbers.reverse();
    let plain = join(parts, &numbers, false);
    if numbers.iter().all(|(_, width)| *width == 0) || is_address(&plain) {
        plain
    } else {
        join(parts, &numbers, true)
    }
}

fn join(parts: &[Part<'_>], numbers: &[(u64, usize)], padded: bool) -> String {
    use std::fmt::Write;
    let mut numbers = numbers.iter();
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Range(_) => {
                if let Some((number, width)) = numbers.next() {
                    let width = if padded { *width } else { 0 };
                    // Writing to a String can't fail.
                    let _ = write!(text, "{number:0width$}");
                }
            }
        }
    }
    text
}

/// Whether the host before the last `:` is an IP address, where leading zeros mean nothing good.
fn is_address(text: &str) -> bool {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(item: &str, expected: &[&str]) {
        assert_eq!(expand(item, DEFAULT_LIMIT).unwrap(), expected, "{item}");
    }

    #[track_caller]
    fn refuse(item: &str, message: &str) {
        assert_eq!(expand(item, DEFAULT_LIMIT).unwrap_err().message(), message);
    }

    #[test]
    fn d1_a_range_stands_for_every_number_both_ends_included() {
        check(
            "10.0.0.[10:12]:2375",
            &["10.0.0.10:2375", "10.0.0.11:2375", "10.0.0.12:2375"],
        );
        check(
            "192.168.1.2:[2:4]375",
            &["192.168.1.2:2375", "192.168.1.2:3375", "192.168.1.2:4375"],
        );
        check("a[7:7]:1", &["a7:1"]);
    }

    #[test]
    fn d3_several_ranges_multiply_and_the_last_varies_fastest() {
        check(
            "a[1:2].b[3:4]:99",
            &["a1.b3:99", "a1.b4:99", "a2.b3:99", "a2.b4:99"],
        );
    }

    #[test]
    fn d3_an_ipv6_host_may_have_a_range() {
        check("[::1]:2375", &["[::1]:2375"]);
        check(
            "[2001:db8::[1:2]]:2375",
            &["[2001:db8::1]:2375", "[2001:db8::2]:2375"],
        );
        check("[fd00::[1:2]:[3:3]]:1", &["[fd00::1:3]:1", "[fd00::2:3]:1"]);
    }

    #[test]
    fn d1_brackets_without_two_numbers_are_literal() {
        for item in [
            "10.0.0.[a:b]:2375",
            "[1]",
            "[:]",
            "[1:]",
            "[:2]",
            "[1:2",
            "1:2]",
            "][",
            "[-1:2]",
        ] {
            check(item, &[item]);
        }
    }

    #[test]
    fn d3_padding_is_kept_in_names_and_dropped_in_addresses() {
        check(
            "10.0.0.[01:03]:1",
            &["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"],
        );
        check("node[08:10]:1", &["node08:1", "node09:1", "node10:1"]);
        check("[fd00::[01:02]]:1", &["[fd00::1]:1", "[fd00::2]:1"]);
        check(
            "node[1:010]:1",
            &(1..=10)
                .map(|n| format!("node{n:03}:1"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
    }

    #[test]
    fn d3_a_range_that_runs_backwards_is_named() {
        refuse(
            "10.0.0.[3:1]:2375",
            "10.0.0.[3:1]:2375: the range [3:1] runs backwards; write [1:3]",
        );
    }

    #[test]
    fn d3_the_number_of_addresses_is_bounded() {
        assert_eq!(expand("a[1:65536]:1", DEFAULT_LIMIT).unwrap().len(), 65_536);
        refuse(
            "a[0:65536]:1",
            "a[0:65536]:1: stands for more than 65536 addresses",
        );
        for item in [
            "[0:18446744073709551615]",
            "[1:70000][1:70000][1:70000][1:70000][1:70000]",
        ] {
            refuse(
                item,
                &format!("{item}: stands for more than 65536 addresses"),
            );
        }
        refuse(
            "[0:18446744073709551616]",
            "[0:18446744073709551616]: the range [0:18446744073709551616] has too large a number",
        );
        assert!(expand("a:1", 0).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_expanded_or_refused_within_the_limit(text in "[\\[\\]:0-9a.]{0,40}") {
            if let Ok(texts) = expand(&text, 1000) {
                prop_assert!((1..=1000).contains(&texts.len()));
            }
        }

        #[test]
        fn text_without_brackets_is_itself(text in "[^\\[\\]]{0,40}") {
            prop_assert_eq!(expand(&text, 1).unwrap(), vec![text]);
        }

        #[test]
        fn counts_multiply(a in 0u64..20, b in 0u64..20, c in 0u64..20, d in 0u64..20) {
            let (a, b) = (a.min(b), a.max(b));
            let (c, d) = (c.min(d), c.max(d));
            let texts = expand(&format!("n[{a}:{b}]x[{c}:{d}]:1"), 1000).unwrap();
            prop_assert_eq!(texts.len() as u64, (b - a + 1) * (d - c + 1));
            prop_assert_eq!(&texts[0], &format!("n{a}x{c}:1"));
            prop_assert_eq!(&texts[texts.len() - 1], &format!("n{b}x{d}:1"));
        }
    }
}
