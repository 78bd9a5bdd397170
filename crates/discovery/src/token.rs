use std::{fmt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Announcement, Clock, Connector, Discovery, DiscoveryCapabilities, Error, Membership,
    MembershipStream, OsRandom, Registration, Result, WatchMode,
};

use crate::{DiscoveryOptions, DiscoveryUrl, polled::Polled};

mod base;
mod client;
mod connect;

pub use base::TokenBase;
use client::Client;
use connect::Dial;

/// A cluster listed by a hosted token service, `token://host/path/<token>`: Swarm's protocol over
/// HTTP, and longshore's own [service](crate::token_service) with changes told at once.
///
/// With a service that only knows Swarm's protocol the list is read every heartbeat, a renewal is
/// a new registration, and a registration can't be taken back: it ends with its time to live.
///
/// Options: `token.base` (the service for a bare `token://<token>`), `token.cacertfile` (PEM file
/// of the authority that `https` trusts), `token.plain=true` (`http` instead of `https`).
#[derive(Clone)]
pub struct TokenDiscovery {
    polled: Arc<Polled>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    base: TokenBase,
}

impl TokenDiscovery {
    /// The cluster of this token at a service that is reached through a connector.
    ///
    /// # Errors
    /// The token is empty or no token.
    pub fn new(
        base: TokenBase,
        token: &str,
        connector: Arc<dyn Connector>,
        clock: Arc<dyn Clock>,
        heartbeat: Duration,
    ) -> Result<Self> {
        if token.is_empty() {
            return Err(Error::invalid("token is empty").with_backend("token"));
        }
        let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if token.len() > 128 || !token.bytes().all(sound) {
            return Err(
                Error::invalid("a token has up to 128 letters, digits, - and _")
                    .with_backend("token"),
            );
        }
        let client = Client::new(
            base.clone(),
            token.to_owned(),
            connector,
            clock.clone(),
            heartbeat,
        );
        let client = Arc::new(client);
        let random = Arc::new(OsRandom);
        let polled = Polled::new(client.clone(), clock.clone(), random, heartbeat);
        Ok(Self {
            polled,
            client,
            clock,
            base,
        })
    }

    /// Makes a new cluster at a service, and gives its token.
    ///
    /// # Errors
    /// The service can't be reached or refuses; its status and words are told.
    pub async fn create(
        base: &TokenBase,
        authorities: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<String> {
        let connector = Arc::new(Dial::to(base, authorities)?);
        let heartbeat = Duration::from_secs(60);
        let client = Client::new(base.clone(), String::new(), connector, clock, heartbeat);
        client.create().await
    }

    pub(crate) fn open(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<Self> {
        options.only(&["token.base", "token.cacertfile", "token.plain"], "token")?;
        let plain = match options.value("token.plain") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Error::invalid("token.plain is true or false")),
        };
        let (base, token) = match (url.rest().rsplit_once('/'), options.value("token.base")) {
            (Some((rest, token)), _) => (TokenBase::from_rest(!plain, rest)?, token),
            (None, Some(base)) => (TokenBase::parse(base)?, url.rest()),
            (None, None) if url.rest().is_empty() => {
                return Err(Error::invalid("token is empty").with_backend("token"));
            }
            (None, None) => {
                return Err(Error::invalid(
                    "Docker's hosted discovery service is gone, so a bare token leads nowhere: \
                     write token://host/path/<token>, or name a service with --discovery-opt \
                     token.base=https://host/path (longshore has such a service: TokenService)",
                )
                .with_backend("token"));
            }
        };
        let authorities = options.value("token.cacertfile").map(Path::new);
        let connector = Arc::new(Dial::to(&base, authorities)?);
        Self::new(
            base,
            token,
            connector,
            options.clock.clone(),
            options.heartbeat,
        )
    }
}

#[async_trait]
impl Discovery for TokenDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::registering(WatchMode::Push)
    }

    fn describe(&self) -> String {
        format!("token://{}{}/…", self.base.endpoint, self.base.path)
    }

    /// The service counts in whole seconds: the time to live is rounded up.
    async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration> {
        if ttl.is_zero() {
            return Err(Error::invalid(
                "a registration needs a time to live above zero",
            ));
        }
        let ttl = Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        let sent = self.clock.now();
        let address = node.endpoint.to_string();
        let handle = self.client.register(&address, ttl).await?;
        let node = Announcement::new(node.endpoint.clone());
        Ok(Registration::new(node, ttl, sent.after(ttl), handle))
    }

    async fn renew(&self, registration: &Registration) -> Result<Registration> {
        if registration.handle.is_empty() {
            return self
                .register(&registration.announcement, registration.ttl)
                .await;
        }
        let sent = self.clock.now();
        let address = registration.announcement.endpoint.to_string();
        self.client.renew(&address, &registration.handle).await?;
        Ok(Registration::new(
            registration.announcement.clone(),
            registration.ttl,
            sent.after(registration.ttl),
            registration.handle.clone(),
        ))
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        if registration.handle.is_empty() {
            return Err(Error::unsupported(
                "this token service can't take registrations back; the node leaves with its time \
                 to live",
            ));
        }
        let address = registration.announcement.endpoint.to_string();
        self.client.deregister(&address, &registration.handle).await
    }

    async fn list(&self) -> Result<Membership> {
        self.polled.list().await
    }

    fn watch(&self) -> MembershipStream {
        self.polled.watch()
    }
}

impl fmt::Debug for TokenDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenDiscovery({}, …)", self.base)
    }
}
