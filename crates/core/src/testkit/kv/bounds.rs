//! What keys and values may be.

use bytes::Bytes;

use crate::{ErrorKind, PutOptions};

use super::{Harness, steps::*};

/// Empty keys and NUL are refused before anything is written.
pub async fn bad_keys_are_refused<H: Harness>(harness: &H) {
    let store = harness.store().await;
    for key in [String::new(), at(harness, "a\0b")] {
        let error = store.put(&key, Bytes::new(), PutOptions::default()).await;
        assert_eq!(
            error.expect_err("a bad key").kind(),
            ErrorKind::InvalidInput,
            "{key:?}"
        );
    }
    assert!(all(harness, &store).await.entries.is_empty());
}

/// 1 KiB of key and the largest value are taken, one byte more is not.
pub async fn long_keys_and_values_have_a_bound<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let longest = "k".repeat(1024 - harness.prefix().len());
    put(harness, &store, &longest, "x").await;
    let largest = "v".repeat(store.capabilities().largest_value);
    put(harness, &store, "large", &largest).await;
    assert_eq!(
        get(harness, &store, "large").await.expect("there").value,
        largest
    );
    for (key, value) in [
        (format!("{longest}k"), "x".into()),
        ("a".into(), format!("{largest}v")),
    ] {
        let key = at(harness, &key);
        let error = store.put(&key, value.into(), PutOptions::default()).await;
        assert_eq!(error.expect_err("too long").kind(), ErrorKind::InvalidInput);
    }
}

/// Any bytes come back as they were; keys may have any character but NUL.
pub async fn values_are_bytes<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let value: Vec<u8> = (0..=255).collect();
    let key = at(harness, "ключ /\n?#%20\u{1f980}");
    store
        .put(&key, value.clone().into(), PutOptions::default())
        .await
        .expect("written");
    assert_eq!(
        store.get(&key).await.expect("read").expect("there").value,
        value
    );
    let range = all(harness, &store).await;
    assert_eq!(keys(&range), [key]);
}
