//! Room that is held.

use super::{
    Harness,
    cluster::{
        EXPIRY, check_refused, check_unplaceable, explain, node_id, observe, place, request,
        reservation, reservation_id, sized, with_nodes, workload, workload_id,
    },
};
use crate::{Change, ErrorKind, Timestamp};

/// Room that is reserved is not given away.
pub async fn a_reservation_holds_its_room<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let most = sized(3000, 3072);
    place(&*scheduler, &most);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &most)),
    );
    check_unplaceable(&*scheduler, &most);
    check_unplaceable(&*scheduler, &sized(1001, 0));
    place(&*scheduler, &sized(1000, 1024));
}

/// A released reservation gives its room back, and releasing again changes nothing.
pub async fn a_released_reservation_gives_its_room_back<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let before = explain(&*scheduler, &sized(1, 1));
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &sized(4000, 0))),
    );
    check_unplaceable(&*scheduler, &sized(1, 1));
    for _ in 0..2 {
        observe(&mut *scheduler, Change::Release(reservation_id("r")));
        assert_eq!(explain(&*scheduler, &sized(1, 1)), before);
    }
}

/// A reservation is given up by the first tick that is not before its expiry.
pub async fn a_reservation_ends_with_its_expiry_and_not_before<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let before = explain(&*scheduler, &sized(1, 1));
    let all = sized(4000, 4096);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &all)),
    );
    let almost = Timestamp::from_micros(EXPIRY.as_micros() - 1);
    observe(&mut *scheduler, Change::Tick(almost));
    check_unplaceable(&*scheduler, &sized(1, 1));
    observe(&mut *scheduler, Change::Tick(EXPIRY));
    assert_eq!(explain(&*scheduler, &sized(1, 1)), before);
    // An expired reservation is not taken again, and its late fulfilment is a fact all the same.
    let late = Change::Reserve(reservation("r", "a", &all));
    check_refused(&mut *scheduler, late, ErrorKind::Conflict);
    let mut seen = workload("w", "a");
    seen.resources = all.resources.clone();
    observe(&mut *scheduler, Change::Fulfil(reservation_id("r"), seen));
    check_unplaceable(&*scheduler, &sized(1, 1));
}

/// A fulfilled reservation turns into its workload: the room is never counted twice or not at all,
/// also when the workload was seen first.
pub async fn a_fulfilled_reservation_counts_once<H: Harness + ?Sized>(harness: &H) {
    let half = sized(2000, 2048);
    let mut seen = workload("w", "a");
    seen.resources = half.resources.clone();
    for seen_first in [false, true] {
        let mut scheduler = with_nodes(harness, &["a"]);
        observe(
            &mut *scheduler,
            Change::Reserve(reservation("r", "a", &half)),
        );
        if seen_first {
            observe(&mut *scheduler, Change::Workload(seen.clone()));
        }
        observe(
            &mut *scheduler,
            Change::Fulfil(reservation_id("r"), seen.clone()),
        );
        place(&*scheduler, &half);
        check_unplaceable(&*scheduler, &sized(2001, 0));
        observe(&mut *scheduler, Change::Tick(EXPIRY));
        check_unplaceable(&*scheduler, &sized(2001, 0));
        observe(
            &mut *scheduler,
            Change::WorkloadGone(node_id("a"), workload_id("w")),
        );
        place(&*scheduler, &sized(4000, 4096));
    }
}

/// Of two placements of the same room, the second reservation is refused and may be tried again.
pub async fn a_reservation_that_no_longer_fits_is_a_conflict<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let most = sized(3000, 0);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r1", "a", &most)),
    );
    let second = Change::Reserve(reservation("r2", "a", &most));
    let error = check_refused(&mut *scheduler, second.clone(), ErrorKind::Conflict);
    assert!(error.is_retryable());
    observe(&mut *scheduler, Change::Release(reservation_id("r1")));
    observe(&mut *scheduler, second);
}

/// Another reservation under an id that is held is refused; the same one is not.
pub async fn a_reservation_id_is_used_once<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b"]);
    let first = reservation("r", "a", &sized(1000, 0));
    observe(&mut *scheduler, Change::Reserve(first.clone()));
    observe(&mut *scheduler, Change::Reserve(first));
    for other in [
        reservation("r", "b", &sized(1000, 0)),
        reservation("r", "a", &sized(999, 0)),
    ] {
        check_refused(
            &mut *scheduler,
            Change::Reserve(other),
            ErrorKind::AlreadyExists,
        );
    }
}

/// Of two reservations for one name exactly one wins, also against a workload of that name; work
/// without a name never clashes.
pub async fn a_name_is_reserved_once<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b"]);
    let web = request().with_name("web");
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r1", "a", &web)),
    );
    let second = Change::Reserve(reservation("r2", "b", &web));
    check_refused(&mut *scheduler, second.clone(), ErrorKind::AlreadyExists);
    let mut seen = workload("w", "a");
    seen.name = "web".into();
    observe(&mut *scheduler, Change::Fulfil(reservation_id("r1"), seen));
    check_refused(&mut *scheduler, second.clone(), ErrorKind::AlreadyExists);
    observe(
        &mut *scheduler,
        Change::WorkloadGone(node_id("a"), workload_id("w")),
    );
    observe(&mut *scheduler, second);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r3", "a", &request())),
    );
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r4", "a", &request())),
    );
}
