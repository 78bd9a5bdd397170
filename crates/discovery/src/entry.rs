//! One item of a list or line of a file: an address, perhaps with ranges.

use longshore_core::{Announcement, Endpoint, Error, ErrorKind, Result};

use crate::range;

/// The longest item: a host name, some ranges, a port.
const LONGEST: usize = 1024;

/// The nodes that an item stands for, where `taken` of the addresses that a list may have are taken
/// by the items before.
///
/// # Errors
/// Names the address or range that is wrong.
pub(crate) fn parse(item: &str, taken: usize) -> Result<Vec<Announcement>> {
    if item.len() > LONGEST {
        let shown: String = item.chars().take(40).collect();
        return Err(Error::invalid(format!(
            "address {shown}…: longer than {LONGEST} bytes"
        )));
    }
    let room = range::DEFAULT_LIMIT.saturating_sub(taken);
    let texts = range::expand(item, room).map_err(|error| match error.kind() {
        ErrorKind::ResourceExhausted if taken > 0 => Error::new(
            ErrorKind::ResourceExhausted,
            format!(
                "{item}: with those before it, more than {} addresses",
                range::DEFAULT_LIMIT
            ),
        ),
        _ => error,
    })?;
    texts.iter().map(|text| address(text)).collect()
}

fn address(text: &str) -> Result<Announcement> {
    let endpoint: Endpoint = text.parse()?;
    if endpoint.port() == 0 {
        return Err(Error::invalid(format!(
            "address {text}: the port must be from 1 to 65535"
        )));
    }
    Ok(Announcement::new(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuse(item: &str, message: &str) {
        assert_eq!(parse(item, 0).unwrap_err().message(), message);
    }

    #[test]
    fn ports_are_from_1_to_65535() {
        assert_eq!(parse("a:65535", 0).unwrap().len(), 1);
        refuse("a:0", "address a:0: the port must be from 1 to 65535");
        refuse(
            "a:65536",
            "address a:65536: the port \"65536\" is not a number from 0 to 65535",
        );
    }

    #[test]
    fn a_literal_bracket_is_a_bad_address() {
        refuse(
            "10.0.0.[a:b]:2375",
            "address 10.0.0.[a:b]:2375: too many colons in address",
        );
    }

    #[test]
    fn a_long_item_is_refused_without_being_repeated() {
        let error = parse(&"x".repeat(2000), 0).unwrap_err();
        assert!(error.message().len() < 200, "{error}");
    }
}
