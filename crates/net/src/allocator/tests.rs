use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn allocator(block: &str) -> BlockAllocator {
    BlockAllocator::new(block.parse().unwrap())
}

#[track_caller]
fn check_all(block: &str, expected: &[&str]) {
    let mut allocator = allocator(block);
    let mut given = Vec::new();
    while let Ok(address) = allocator.allocate() {
        given.push(address.to_string());
    }
    assert_eq!(given, expected, "{block}");
    assert_eq!(allocator.allocate(), Err(AllocationError::Full));
}

#[test]
fn the_first_two_and_the_broadcast_address_are_reserved() {
    check_all(
        "10.0.0.0/29",
        &["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"],
    );
    check_all("10.0.0.8/30", &["10.0.0.10"]);
    check_all("fd00::/126", &["fd00::2", "fd00::3"]);
}

#[test]
fn a_tiny_block_hands_out_all_it_has() {
    check_all("10.0.0.8/32", &["10.0.0.8"]);
    check_all("10.0.0.8/31", &["10.0.0.8", "10.0.0.9"]);
    check_all("fd00::1/128", &["fd00::1"]);
}

#[test]
fn an_address_given_back_is_the_last_to_be_given_again() {
    let mut allocator = allocator("10.0.0.0/29");
    let first = allocator.allocate().unwrap();
    allocator.release(first);
    let mut given = Vec::new();
    for _ in 0..5 {
        given.push(allocator.allocate().unwrap());
    }
    assert_eq!(given.last(), Some(&first));
}

#[test]
fn an_address_can_be_asked_for() {
    let mut allocator = allocator("10.0.0.0/24");
    let ask = |allocator: &mut BlockAllocator, text: &str| allocator.take(text.parse().unwrap());
    assert_eq!(ask(&mut allocator, "10.0.0.9"), Ok(()));
    assert_eq!(ask(&mut allocator, "10.0.0.9"), Err(AllocationError::Taken));
    assert_eq!(
        ask(&mut allocator, "10.0.1.9"),
        Err(AllocationError::Outside)
    );
    assert_eq!(
        ask(&mut allocator, "fd00::9"),
        Err(AllocationError::Outside)
    );
    for reserved in ["10.0.0.0", "10.0.0.1", "10.0.0.255"] {
        assert_eq!(
            ask(&mut allocator, reserved),
            Err(AllocationError::Reserved)
        );
    }
}

#[test]
fn the_largest_blocks_do_not_overflow() {
    assert!(allocator("::/0").allocate().is_ok());
    assert!(allocator("0.0.0.0/0").allocate().is_ok());
    let mut all = allocator("::/0");
    all.take("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap())
        .unwrap();
    all.next = u128::MAX;
    assert_eq!(all.allocate().unwrap(), "::2".parse::<IpAddr>().unwrap());
}

#[derive(Clone, Debug)]
enum Step {
    Allocate,
    Take(u8),
    Release(u8),
}

proptest! {
    /// Against a plain set: no address twice, none outside, none lost.
    #[test]
    fn addresses_are_held_once(
        steps in proptest::collection::vec(
            prop_oneof![
                3 => Just(Step::Allocate),
                1 => any::<u8>().prop_map(Step::Take),
                2 => any::<u8>().prop_map(Step::Release),
            ],
            0..120,
        ),
        prefix in 26u8..=32,
    ) {
        let mut allocator = allocator(&format!("10.0.0.0/{prefix}"));
        let mut held = BTreeSet::new();
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        for step in steps {
            match step {
                Step::Allocate => match allocator.allocate() {
                    Ok(given) => {
                        prop_assert!(allocator.block().contains(given));
                        prop_assert!(held.insert(given), "{} twice", given);
                    }
                    Err(error) => {
                        prop_assert_eq!(error, AllocationError::Full);
                        let room = usize::from(allocator.to as u8 - allocator.from as u8) + 1;
                        prop_assert_eq!(held.len(), room, "full with room");
                    }
                },
                Step::Take(last) => {
                    if allocator.take(address(last)).is_ok() {
                        prop_assert!(held.insert(address(last)), "taken twice");
                    }
                }
                Step::Release(last) => {
                    allocator.release(address(last));
                    held.remove(&address(last));
                }
            }
            prop_assert_eq!(allocator.held(), held.len());
        }
    }
}
