//! What the text of a discovery file means. Pure: no I/O.

use longshore_core::Announcement;

use crate::entry;

/// A line that stands for no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Counted from 1; `None` for the summary of all that is not reported one by one.
    pub(crate) number: Option<usize>,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// A file's nodes and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) nodes: Vec<Announcement>,
    pub(crate) bad: Vec<BadLine>,
}

/// Reads one address (with ranges) per line. `#` begins a comment; blank lines are ignored. A line
/// that can't be read loses no other.
pub(crate) fn parse(text: &str) -> Content {
    let mut content = Content::default();
    let mut unreported = 0usize;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let item = line.split_once('#').map_or(line, |(item, _)| item).trim();
        if item.is_empty() {
            continue;
        }
        match entry::parse(item, content.nodes.len()) {
            Ok(nodes) => content.nodes.extend(nodes),
            Err(error) if content.bad.len() < MOST_REPORTED => content.bad.push(BadLine {
                number: Some(index + 1),
                reason: error.message().to_owned(),
            }),
            Err(_) => unreported += 1,
        }
    }
    if unreported > 0 {
        let reason = format!("{unreported} more lines are bad");
        content.bad.push(BadLine {
            number: None,
            reason,
        });
    }
    content
}

/// How many bad lines are reported one by one.
const MOST_REPORTED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn endpoints(content: &Content) -> Vec<String> {
        content
            .nodes
            .iter()
            .map(|node| node.endpoint.to_string())
            .collect()
    }

    #[test]
    fn d1_comments_blank_lines_ranges_and_line_ends_are_read() {
        let content = parse(
            "\u{feff}# cluster\r\n10.0.0.1:2375\r\n\n  10.0.0.[2:3]:2375  # two more\n#x\nb:1#c\n",
        );
        assert_eq!(
            endpoints(&content),
            ["10.0.0.1:2375", "10.0.0.2:2375", "10.0.0.3:2375", "b:1"]
        );
        assert_eq!(content.bad, []);
    }

    #[test]
    fn d2_a_bad_line_is_named_and_loses_no_other() {
        let content = parse("a:1\nnonsense\nb:1\nc[3:1]:1");
        assert_eq!(endpoints(&content), ["a:1", "b:1"]);
        let bad: Vec<_> = content
            .bad
            .iter()
            .map(|bad| (bad.number.unwrap(), bad.reason.as_str()))
            .collect();
        assert_eq!(
            bad,
            [
                (2, "address nonsense: missing port in address"),
                (4, "c[3:1]:1: the range [3:1] runs backwards; write [1:3]"),
            ]
        );
    }

    #[test]
    fn reports_and_addresses_are_bounded() {
        let content = parse(&"x\n".repeat(1000));
        assert_eq!(content.bad.len(), MOST_REPORTED + 1);
        assert_eq!(content.bad[MOST_REPORTED].reason, "900 more lines are bad");
        let content = parse("a[1:65536]:1\nb:1");
        assert_eq!(content.nodes.len(), 65_536);
        assert_eq!(
            content.bad[0].reason,
            "b:1: with those before it, more than 65536 addresses"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(?s).{0,400}") {
            let content = parse(&text);
            prop_assert!(content.nodes.len() + content.bad.len() <= 65_536 + 101);
        }

        #[test]
        fn every_line_counts_once(lines in proptest::collection::vec("[a-z]{1,8}(:[1-9])?", 0..50)) {
            let content = parse(&lines.join("\n"));
            prop_assert_eq!(content.nodes.len() + content.bad.len(), lines.len());
        }
    }
}
