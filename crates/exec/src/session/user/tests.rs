//! Accounts: how many there are, and what they are forgotten by.

use std::time::Duration;

use super::*;

fn user(number: usize) -> Identity {
    Identity::new(format!("user-{number}"), "test")
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000 + seconds)
}

fn limits() -> HubLimits {
    let hour = Duration::from_secs(3600);
    HubLimits::default()
        .with_sessions(100, 10)
        .with_user_time(Duration::from_secs(60), hour)
        .with_user_bandwidth(1 << 20)
}

/// A session of `seconds` from `from` on.
fn visit(accounts: &mut Accounts, who: &Identity, from: u64, seconds: u64) {
    accounts.allow(who, at(from)).unwrap();
    let share = accounts.join(who, &limits(), at(from)).unwrap();
    share.stop(at(from + seconds));
    accounts.leave(who, &share, at(from + seconds));
}

#[test]
fn who_has_used_nothing_is_forgotten_at_once() {
    let mut accounts = Accounts::default();
    for number in 0..1_000 {
        visit(&mut accounts, &user(number), 0, 0);
    }
    assert_eq!(accounts.len(), 0);
    // Asking leaves no trace, either.
    accounts.allow(&user(7), at(0)).unwrap();
    assert_eq!(accounts.len(), 0);
    assert!(
        accounts
            .join(&user(1), &HubLimits::default(), at(0))
            .is_none()
    );
    assert_eq!(accounts.len(), 0);
}

#[test]
fn accounts_are_bounded_and_who_used_least_is_forgotten_first() {
    let mut accounts = Accounts::default();
    visit(&mut accounts, &user(0), 0, 60);
    let most = 100 + MOST_REMEMBERED;
    for number in 1..3 * most {
        visit(&mut accounts, &user(number), 0, 1);
        assert!(accounts.len() <= most);
    }
    let refused = accounts.allow(&user(0), at(100)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted);
    assert!(refused.to_string().contains("60s"), "{refused}");
    accounts.allow(&user(0), at(3600)).unwrap();
}

#[test]
fn the_same_name_proven_in_another_way_is_somebody_else() {
    let mut accounts = Accounts::default();
    visit(&mut accounts, &Identity::new("ann", "token of one"), 0, 60);
    accounts
        .allow(&Identity::new("ann", "token of one"), at(61))
        .unwrap_err();
    accounts
        .allow(&Identity::new("ann", "token of another"), at(61))
        .unwrap();
}
