//! `platform kv`: looks into a key-value store.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore::{
    Clock, KvStore,
    core::{ClockExt, Expect, KvEvent, PutOptions, SystemClock},
    discovery::{DiscoveryOptions, KvLimits, RedbKv, open_kv},
};

use crate::{
    Failure,
    cli::{Kv, KvStoreArgs},
    say::say,
    signals,
};

pub async fn run(args: Kv) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    match args {
        Kv::Get { store, key } => {
            let (kv, key) = open_existing(&store, &key, &clock)?;
            match clock.timeout(PATIENCE, "reading", kv.get(&key)).await?? {
                Some(entry) => say(shown(&entry.value)),
                None => Err(Failure::new(format!(
                    "{key}: no such key in {}",
                    kv.describe()
                ))),
            }
        }
        Kv::Put { store, key, value } => {
            let (kv, key) = open(&store, &key, &clock)?;
            let put = kv.put(&key, value.into_bytes().into(), PutOptions::default());
            let revision = clock.timeout(PATIENCE, "writing", put).await??;
            say(format_args!("revision {}", revision.0))
        }
        Kv::Rm { store, key } => {
            let (kv, key) = open_existing(&store, &key, &clock)?;
            let deleted = kv.delete(&key, Expect::Any);
            match clock.timeout(PATIENCE, "deleting", deleted).await?? {
                true => Ok(()),
                false => Err(Failure::new(format!(
                    "{key}: no such key in {}",
                    kv.describe()
                ))),
            }
        }
        Kv::Ls { store, prefix } => {
            let (kv, prefix) = open_existing(&store, &prefix, &clock)?;
            list(&*kv, &*clock, &prefix).await
        }
        Kv::Watch { store, prefix } => {
            let (kv, prefix) = open_existing(&store, &prefix, &clock)?;
            watch(&*kv, &prefix).await
        }
    }
}

async fn list(kv: &dyn KvStore, clock: &dyn Clock, prefix: &str) -> Result<(), Failure> {
    let mut after = String::new();
    loop {
        let page = kv.range(prefix, &after, PAGE);
        let page = clock.timeout(PATIENCE, "reading", page).await??;
        for entry in &page.entries {
            let lease = if entry.lease.is_some() {
                " (leased)"
            } else {
                ""
            };
            let revision = entry.revision.0;
            say(format_args!(
                "{} @{revision}{lease} {}",
                entry.key,
                shown(&entry.value)
            ))?;
        }
        match page.entries.last() {
            Some(last) if page.more => after.clone_from(&last.key),
            _ => return Ok(()),
        }
    }
}

async fn watch(kv: &dyn KvStore, prefix: &str) -> Result<(), Failure> {
    let mut events = kv.watch(prefix, None);
    let interrupted = signals::interrupted_or_hung_up();
    tokio::pin!(interrupted);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut interrupted => return Ok(()),
        };
        match event {
            Some(Ok(KvEvent::Put(entry))) => say(format_args!(
                "put {} @{} {}",
                entry.key,
                entry.revision.0,
                shown(&entry.value)
            ))?,
            Some(Ok(KvEvent::Deleted { key, revision })) => {
                say(format_args!("deleted {key} @{}", revision.0))?;
            }
            Some(Ok(KvEvent::Resync(revision))) => say(format_args!(
                "changes may have been missed before revision {}: list again",
                revision.0
            ))?,
            Some(Ok(_)) => {}
            Some(Err(error)) => tracing::warn!("{}", error.chain()),
            None => return Err(Failure::new("the watch ended")),
        }
    }
}

/// As [`open`], for who looks for something: a mistyped name must not become a new and empty file.
fn open_existing(
    args: &KvStoreArgs,
    key: &str,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn KvStore>, String), Failure> {
    match args.store.strip_prefix("redb://") {
        Some(path) if !std::path::Path::new(path).exists() => Err(Failure::new(format!(
            "there is no store at redb://{path}; 'platform kv put' makes one"
        ))),
        _ => open(args, key, clock),
    }
}

/// The store, and the key below the prefix that its URL names.
fn open(
    args: &KvStoreArgs,
    key: &str,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn KvStore>, String), Failure> {
    if let Some(path) = args.store.strip_prefix("redb://") {
        let store = RedbKv::open(path, clock.clone(), KvLimits::default())?;
        return Ok((Arc::new(store), key.to_owned()));
    }
    let options = DiscoveryOptions::new(clock.clone()).with_pairs(&args.store_opt)?;
    let (store, prefix) = open_kv(&args.store, &options)?;
    let below = match prefix.as_str() {
        "" => key.to_owned(),
        prefix => format!("{prefix}/{key}"),
    };
    Ok((store, below))
}

/// Text as it is but for control characters; anything else by its size.
fn shown(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => longshore::core::printable(text, value.len()).into_owned(),
        Err(_) => format!("({} bytes that are no text)", value.len()),
    }
}

const PAGE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_writing_makes_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.redb");
        let store = || KvStoreArgs {
            store: format!("redb://{}", file.display()),
            store_opt: Vec::new(),
        };
        let (key, prefix) = (|| "a".to_owned(), String::new);
        for command in [
            Kv::Get {
                store: store(),
                key: key(),
            },
            Kv::Rm {
                store: store(),
                key: key(),
            },
            Kv::Ls {
                store: store(),
                prefix: prefix(),
            },
            Kv::Watch {
                store: store(),
                prefix: prefix(),
            },
        ] {
            let failure = run(command).await.unwrap_err();
            let expected = "there is no store at redb://";
            assert!(failure.message.starts_with(expected), "{failure:?}");
            assert!(!file.exists());
        }
        let value = "b".to_owned();
        let put = Kv::Put {
            store: store(),
            key: key(),
            value,
        };
        run(put).await.unwrap();
        run(Kv::Get {
            store: store(),
            key: key(),
        })
        .await
        .unwrap();
    }
}
