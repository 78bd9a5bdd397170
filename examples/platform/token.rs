//! `platform create` and `platform discovery-server`: clusters that are known by a token.

use std::{io::ErrorKind, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Duration};

use longshore::{
    Clock, KvStore,
    core::{OsRandom, Shutdown, SystemClock},
    discovery::{
        KvLimits, MemoryKv, RedbKv, TokenBase, TokenDiscovery,
        token_service::{TokenLimits, TokenService, serve},
    },
};
use tokio::net::TcpListener;

use crate::{
    Failure,
    cli::{Create, DiscoveryServer},
    say::{note, say},
    signals,
};

/// Prints the token of a new cluster, and only that, on standard output.
pub async fn create(args: Create) -> Result<(), Failure> {
    if !args.surplus.is_empty() {
        return Err(Failure::new(
            "the `create` command takes no arguments. See 'platform create --help'.",
        ));
    }
    let Some(service) = args.service else {
        return Err(Failure::new(
            "Docker's hosted discovery service is gone: name one with --service, such as \
             https://discovery.example (longshore has it: platform discovery-server --help)",
        ));
    };
    let base = TokenBase::parse(&service)?;
    let clock = Arc::new(SystemClock::new());
    let authority = args.cacert.as_deref().map(Path::new);
    let token = TokenDiscovery::create(&base, authority, clock).await?;
    say(token)
}

/// Serves clusters until interrupted.
pub async fn server(args: DiscoveryServer) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store: Arc<dyn KvStore> = match &args.store {
        Some(file) => {
            keep_to_ourselves(Path::new(file))?;
            Arc::new(RedbKv::open(file, clock.clone(), KvLimits::default())?)
        }
        None => Arc::new(MemoryKv::new(clock.clone())),
    };
    let listener = TcpListener::bind(&args.listen).await.map_err(|error| {
        Failure::new(format!(
            "cannot listen on {}: {error}; expected a free host:port (--listen)",
            args.listen
        ))
    })?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            "tokens are secrets and go over {address} in plain HTTP: put a proxy that speaks TLS in \
             front of it"
        );
    }
    tracing::info!(
        "serving clusters at http://{address}; {}",
        match &args.store {
            Some(file) => format!("they are kept in {file}"),
            None => "they are gone when this ends (keep them with --store FILE)".to_owned(),
        }
    );
    note(format_args!(
        "make one: platform create --service http://{address}"
    ));
    let random = Arc::new(OsRandom);
    let service = TokenService::new(
        store,
        "tokens",
        TokenLimits::default(),
        clock.clone(),
        random,
    );
    let shutdown = Shutdown::new();
    let serving = serve(listener, service, clock.clone(), shutdown.child());
    shutdown.spawn(serving);
    signals::interrupted_or_hung_up().await;
    shutdown.finish(&*clock, Duration::from_secs(2)).await;
    Ok(())
}

/// Whoever reads the file has every cluster's token: a new one is made for its owner alone.
fn keep_to_ourselves(file: &Path) -> Result<(), Failure> {
    let made = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(file);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Failure::new(format!(
            "cannot make the store {}: {error} (--store)",
            file.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_store_of_tokens_is_its_owners_alone_and_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.redb");
        // The second time it is there already.
        for _ in 0..2 {
            keep_to_ourselves(&file).unwrap();
            RedbKv::open(&file, Arc::new(SystemClock::new()), KvLimits::default()).unwrap();
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let failure = keep_to_ourselves(&folder.path().join("no/such")).unwrap_err();
        assert!(failure.message.ends_with("(--store)"));
    }

    #[tokio::test]
    async fn create_takes_no_arguments_in_swarms_words() {
        let failure = create(Create {
            service: None,
            cacert: None,
            surplus: vec!["x".to_owned()],
        })
        .await
        .unwrap_err();
        assert_eq!(
            failure.message,
            "the `create` command takes no arguments. See 'platform create --help'."
        );
    }
}
