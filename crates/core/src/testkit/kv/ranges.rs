//! Reading many keys.

use super::{Harness, steps::*};

/// All keys, by key, with the revision from which to watch on.
pub async fn a_range_is_sorted_and_complete<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let written = fill(harness, &store, 20).await;
    let range = all(harness, &store).await;
    assert_eq!(keys(&range), written);
    assert!(!range.more);
    assert!(
        range
            .entries
            .iter()
            .all(|entry| entry.revision <= range.revision)
    );
}

/// Pages join without gap or overlap, and only the last says that there is no more.
pub async fn a_range_reads_on_from_where_it_was_cut<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let written = fill(harness, &store, 10).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = store
            .range(&harness.prefix(), &after, 4)
            .await
            .expect("read");
        assert!(page.entries.len() <= 4 && !page.entries.is_empty());
        found.extend(keys(&page));
        after = found.last().expect("not empty").clone();
        if !page.more {
            break;
        }
    }
    assert_eq!(found, written);
    let none = store
        .range(&harness.prefix(), &after, 4)
        .await
        .expect("read");
    assert!(none.entries.is_empty() && !none.more);
}

/// Keys that only look alike stay out.
pub async fn a_range_stays_under_its_prefix<H: Harness>(harness: &H) {
    let store = harness.store().await;
    for key in ["a", "a/1", "a/2", "a0", "b/1"] {
        put(harness, &store, key, "x").await;
    }
    let range = store
        .range(&at(harness, "a/"), "", 100)
        .await
        .expect("read");
    assert_eq!(keys(&range), [at(harness, "a/1"), at(harness, "a/2")]);
}
