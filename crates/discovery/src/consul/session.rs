//! Session ids: UUIDs as 128 bits, and back. Pure.

use longshore_core::LeaseId;

pub(super) fn parse(text: &str) -> Option<LeaseId> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.len() != 32 {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(LeaseId)
}

pub(super) fn format(lease: LeaseId) -> String {
    let digits = format!("{:032x}", lease.0);
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uuid_is_a_lease_and_back() {
        let text = "adf4238a-882b-9ddc-4a9d-5b6758e4159e";
        assert_eq!(format(parse(text).unwrap()), text);
        assert_eq!(parse("adf4"), None);
    }

    proptest! {
        #[test]
        fn every_lease_has_a_uuid(id in any::<u128>()) {
            prop_assert_eq!(parse(&format(LeaseId(id))), Some(LeaseId(id)));
        }
    }
}
