use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use hickory_proto::{
    op::Query,
    rr::{Name, RData, RecordType},
};
use longshore_core::{
    Announcement, Clock, Discovery, DiscoveryCapabilities, Endpoint, Error, ErrorKind, Membership,
    MembershipStream, OsRandom, Random, Registration, Result, WatchMode,
};

use crate::{
    DiscoveryOptions, DiscoveryUrl, not_implemented,
    polled::{Found, Polled, Source},
};

mod answer;
mod target;
mod transport;

use target::Target;
use transport::Transport;

/// Nodes from the DNS: `dns://_docker._tcp.example.com` for SRV records, `dns://nodes.lan:2375` for
/// A and AAAA records with that port.
///
/// Names are looked up again when the shortest time to live of their records is over, between one
/// second and the heartbeat. `?server=127.0.0.1:5353` or the option `dns.server` names servers
/// (several with commas); otherwise those of `/etc/resolv.conf` are asked when the backend is
/// opened.
///
/// A name without records is an empty cluster; one that does not exist, and a server that fails,
/// are errors that remove nobody. One SRV target that can't be looked up is a problem; while there
/// is one, nobody is removed. Records that go in a circle are an error that names them.
#[derive(Clone)]
pub struct DnsDiscovery {
    polled: Arc<Polled>,
    heartbeat: Duration,
    describe: String,
}

impl DnsDiscovery {
    /// For what stands behind `dns://`. Empty `servers` leave those of the URL.
    ///
    /// # Errors
    /// The name, a port or a server is wrong, or there is no server at all.
    pub fn new(
        rest: &str,
        servers: &[SocketAddr],
        clock: Arc<dyn Clock>,
        heartbeat: Duration,
    ) -> Result<Self> {
        let (target, mut known) = target::parse(rest)?;
        known.extend_from_slice(servers);
        if known.is_empty() {
            return Err(Error::invalid(
                "no DNS server is known: give one as ?server=host:port or --discovery-opt \
                 dns.server=…",
            ));
        }
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        let resolver = Resolver {
            target,
            transport: Transport {
                servers: known,
                clock: clock.clone(),
                random: random.clone(),
            },
            longest: heartbeat.max(Duration::from_secs(1)),
        };
        Ok(Self {
            polled: Polled::new(Arc::new(resolver), clock, random, heartbeat),
            heartbeat,
            describe: format!("dns://{rest}"),
        })
    }

    pub(crate) fn open(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<Self> {
        options.only(&["dns.server"], "dns")?;
        let mut servers = Vec::new();
        if let Some(text) = options.value("dns.server") {
            servers = target::servers(text)?;
        } else if !url.rest().contains("server=") {
            let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            servers = target::system(&text);
        }
        Self::new(
            url.rest(),
            &servers,
            options.clock.clone(),
            options.heartbeat,
        )
    }
}

#[async_trait]
impl Discovery for DnsDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::read_only(WatchMode::Poll(self.heartbeat))
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }

    async fn register(&self, _: &Announcement, _: Duration) -> Result<Registration> {
        Err(not_implemented("dns"))
    }

    async fn renew(&self, _: &Registration) -> Result<Registration> {
        Err(not_implemented("dns"))
    }

    async fn deregister(&self, _: &Registration) -> Result<()> {
        Err(not_implemented("dns"))
    }

    async fn list(&self) -> Result<Membership> {
        self.polled.list().await
    }

    fn watch(&self) -> MembershipStream {
        self.polled.watch()
    }
}

impl fmt::Debug for DnsDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsDiscovery({})", self.describe)
    }
}

#[derive(Debug)]
struct Resolver {
    target: Target,
    transport: Transport,
    /// To wait before looking again.
    longest: Duration,
}

impl Resolver {
    /// A name's records of one type, aliases followed. `chain` ends with the name.
    async fn look_up(
        &self,
        kind: RecordType,
        mut chain: Vec<Name>,
    ) -> Result<(Vec<RData>, Option<u32>)> {
        let mut ttl = None;
        loop {
            let name = chain.last().cloned().unwrap_or_default();
            let question = Query::query(name.clone(), kind);
            let named = |error: Error| error.with_backend("dns").with_context("name", &name);
            let message = self.transport.ask(&question).await.map_err(named)?;
            let found = answer::read(&message, kind, &mut chain).map_err(named)?;
            ttl = shorter(ttl, found.ttl);
            if found.next.is_none() {
                return Ok((found.records, ttl));
            }
        }
    }

    async fn addresses(&self, chain: &[Name]) -> Result<(BTreeSet<IpAddr>, Option<u32>)> {
        let (four, six) = futures::future::join(
            self.look_up(RecordType::A, chain.to_vec()),
            self.look_up(RecordType::AAAA, chain.to_vec()),
        )
        .await;
        let ((four, four_ttl), (six, six_ttl)) = (four?, six?);
        let addresses = four.iter().chain(&six).filter_map(|data| match data {
            RData::A(a) => Some(IpAddr::from(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
            _ => None,
        });
        Ok((addresses.collect(), shorter(four_ttl, six_ttl)))
    }

    async fn service(&self, name: &Name, found: &mut Found) -> Result<Option<u32>> {
        let chain = vec![name.clone()];
        let (records, mut ttl) = self.look_up(RecordType::SRV, chain.clone()).await?;
        let mut targets = BTreeSet::new();
        for record in &records {
            // A target of "." says that there is no such service.
            if let RData::SRV(srv) = record
                && !srv.target.is_root()
            {
                targets.insert((srv.target.to_lowercase(), srv.port));
            }
        }
        if targets.len() > MOST_TARGETS {
            let message = format!("{name} has more than {MOST_TARGETS} SRV records");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        for (target, port) in targets {
            let mut chain = chain.clone();
            let looked = match answer::follow(&mut chain, target.clone()) {
                Ok(()) => self.addresses(&chain).await,
                Err(circle) => Err(circle),
            };
            match looked {
                Ok((addresses, shortest)) => {
                    ttl = shorter(ttl, shortest);
                    if addresses.is_empty() {
                        found.problems.push(
                            Error::not_found("an SRV target has no address")
                                .with_context("target", &target),
                        );
                    }
                    push(found, addresses, port);
                }
                Err(error) => found.problems.push(error),
            }
        }
        Ok(ttl)
    }
}

fn push(found: &mut Found, addresses: BTreeSet<IpAddr>, port: u16) {
    if port == 0 {
        found
            .problems
            .push(Error::protocol("an SRV record has port 0"));
        return;
    }
    let endpoints = addresses
        .into_iter()
        .map(|ip| Endpoint::from(SocketAddr::new(ip, port)));
    found.nodes.extend(endpoints.map(Announcement::new));
}

fn shorter(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[async_trait]
impl Source for Resolver {
    async fn read(&self) -> Result<Found> {
        let mut found = Found {
            nodes: Vec::new(),
            problems: Vec::new(),
            cursor: None,
            again: None,
        };
        let ttl = match &self.target {
            Target::Service(name) => self.service(name, &mut found).await?,
            Target::Host(name, port) => {
                let (addresses, ttl) = self.addresses(std::slice::from_ref(name)).await?;
                push(&mut found, addresses, *port);
                ttl
            }
        };
        let shortest = Duration::from_secs(1);
        let again = ttl.map(|ttl| Duration::from_secs(u64::from(ttl)));
        found.again = again.map(|again| again.clamp(shortest, self.longest));
        Ok(found)
    }

    async fn changed(&self, _: &str) -> Result<()> {
        // There is never a cursor to wait from.
        std::future::pending().await
    }
}

const MOST_TARGETS: usize = 256;
