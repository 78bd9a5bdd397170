//! `platform manage`

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use longshore::{
    Clock, Discovery, KvStore, TunnelTransport,
    control::{
        ControlPlane, FileAudit, PlaneOptions,
        endpoint::{
            EndpointOptions, ListenAddress, ListenOptions, Listener, TlsFiles, TlsReload, serve,
        },
    },
    core::{AllowAll, Endpoint, OsRandom, Shutdown, SystemClock},
    discovery::{DiscoveryOptions, Election, ElectionOptions, open, open_kv, open_over},
    engine::{ConnectOptions, DockerProvider},
    sched::ClusterScheduler,
    tunnel::TlsTransport,
};

use crate::{
    Failure,
    check::{self, ManagePlan, Problems},
    cli::{Manage, TlsArgs},
    entrance::{self, Sessions},
    gateway_name,
    renewal::Renewal,
    signals, stub, tls,
};

pub async fn run(args: Manage) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (plan, mut problems) = check::manage(&args);
    let parts = Parts::of(&plan, &clock, &mut problems);
    let sidecar_image = plan.sessions.sidecar_image.clone();
    let stub = stub::find(&args.exec_stub, sidecar_image.as_deref());
    let stub = problems.check(stub).flatten();
    let gateway = problems.check(gateway_name::find(&args)).flatten();
    let records = entrance::records(plan.sessions.records.as_ref());
    let records = problems.check(records).flatten();
    problems.or(())?;
    if stub.is_none() && plan.sessions.waiting.is_some() {
        tracing::warn!("--exec-waiting does nothing without a stub, and there is none");
    }
    let mut parts = parts.ok_or_else(|| Failure::new("the configuration is incomplete"))?;

    let mut renewal = parts.renewal.take();
    let election = parts.election.clone();
    let plane = plane(&args, &plan, parts, &clock).await?;
    let files = endpoint_files(&args.tls, &plan)?;
    let mut endpoint = EndpointOptions::default()
        .with_linger(LINGER)
        .with_primary_limit(plan.primary_limit);
    if let Some(warning) = files.as_ref().and_then(TlsFiles::warning) {
        endpoint = endpoint.with_warning(warning);
    }
    if args.api_enable_cors {
        endpoint = endpoint.with_cors();
    }
    if args.refresh_on_node_filter || !args.container_name_refresh_filter.is_empty() {
        tracing::warn!(
            "--refresh-on-node-filter and --container-name-refresh-filter are accepted for \
             compatibility and do nothing: listings are always current, because the engines' events \
             are followed"
        );
    }
    let mut listen = ListenOptions::default().with_drain_limit(DRAIN);
    if let Some(files) = files {
        listen = listen.with_tls(files);
    }
    for host in &args.allowed_host {
        listen = listen.with_allowed_host(host);
    }
    if args.insecure_plaintext {
        listen = listen.with_insecure_plaintext();
    }
    let shutdown = Shutdown::new();
    let candidacy = Shutdown::new();
    if let Some(election) = election {
        let until = candidacy.clone();
        candidacy.spawn(async move {
            if let Err(error) = election.run(&until).await {
                tracing::error!(error = error.chain(), "the election ended");
            }
        });
    }
    plane.start();
    let sessions = Sessions {
        stub,
        waiting: plan.sessions.waiting,
        sidecar_image,
        gateway,
        least_cleanup: plan.sessions.least_cleanup,
        options: plan.sessions.options,
        limits: plan.sessions.limits,
        records,
    };
    let app = entrance::app(&plane, endpoint, &plan.hosts, &listen, sessions, &shutdown);
    for host in &plan.hosts {
        let served = serve_at(app.clone(), host, listen.clone(), clock.clone(), &shutdown).await;
        match served {
            Ok(served) => {
                tracing::info!("Listening for HTTP on {}", served.address);
                if let (Some(renewal), Some(tls)) = (&mut renewal, served.tls) {
                    renewal.add(move || tls.reload());
                }
            }
            Err(error) => {
                plane.stop().await;
                return Err(error.into());
            }
        }
    }
    match renewal {
        // SIGHUP is its affair then.
        Some(renewal) => {
            shutdown.spawn_until(renewal.run(clock.clone()));
            signals::interrupted().await;
        }
        None => signals::interrupted_or_hung_up().await,
    }
    // Another manager can lead while this one's requests come to their end.
    candidacy.finish(&*clock, RESIGN).await;
    tracing::info!(
        "shutting down: waiting at most {DRAIN:?} for requests that are being answered; again to exit \
         at once"
    );
    if !shutdown
        .finish(&*clock, DRAIN + Duration::from_secs(1))
        .await
    {
        tracing::warn!("some requests were cut off");
    }
    plane.stop().await;
    Ok(())
}

/// What is made out of the command line before anything starts.
struct Parts {
    discovery: Option<Arc<dyn Discovery>>,
    engines: ConnectOptions,
    tunnel: Option<(Endpoint, TlsTransport)>,
    renewal: Option<Renewal>,
    election: Option<Election>,
    /// Where stacks are kept, and under which prefix.
    state: Option<(Arc<dyn KvStore>, String)>,
}

impl Parts {
    /// `None` when something is wrong.
    fn of(plan: &ManagePlan, clock: &Arc<dyn Clock>, problems: &mut Problems) -> Option<Self> {
        // One set of files serves all: the tunnel's are the endpoint's where both have TLS.
        let files = plan.tunnel.as_ref().map(|(_, files)| files);
        let files = files.or(plan.tls.as_ref());
        let renewal = files.map(|files| Renewal::of(files.clone()));
        let renewal = problems.check(renewal.transpose());
        let settings = plan.tls.as_ref();
        let settings = settings.map(|files| tls::settings(files, clock.clone()));
        let settings = problems.check(settings.transpose());
        let tunnel = plan.tunnel.as_ref().map(|(address, files)| {
            let transport = tls::serving_tunnel(files, clock.clone());
            transport.map(|transport| (address.clone(), transport))
        });
        let tunnel = problems.check(tunnel.transpose());
        let url = plan.url.as_deref().filter(|url| !url.is_empty());
        let options = discovery_options(&plan.options, Some(plan.heartbeat), clock.clone());
        // One client for all that is done with the store; a process is a member of `raft://` once.
        let store = url.filter(|url| check::has_store(Some(url))).map(|url| {
            let options = options.as_ref().map_err(again)?;
            open_kv(url, options)
        });
        let store = problems.check(store.transpose())?;
        let discovery = url.map(|url| {
            let options = options.as_ref().map_err(again)?;
            match &store {
                Some((store, prefix)) => open_over(store.clone(), prefix, options),
                None => open(url, options),
            }
        });
        let discovery = problems.check(discovery.transpose());
        let candidacy = plan.replication.as_ref().zip(store.clone());
        let election =
            candidacy.map(|((address, ttl), store)| election(store, address, *ttl, clock));
        let election = problems.check(election.transpose());
        let settings = settings?;
        let mut parts = Self {
            discovery: discovery?,
            engines: ConnectOptions::new(),
            tunnel: tunnel?,
            renewal: renewal?,
            election: election?,
            state: store.filter(|_| plan.stored_stacks),
        };
        if let Some(renewal) = &mut parts.renewal {
            if let (Some((_, transport)), Some((_, files))) = (&parts.tunnel, &plan.tunnel) {
                let (transport, files) = (transport.clone(), files.clone());
                renewal.add(move || tls::renew_tunnel(&transport, &files));
            }
            if let (Some(settings), Some(files)) = (&settings, &plan.tls) {
                let (settings, files, clock) = (settings.clone(), files.clone(), clock.clone());
                renewal.add(move || {
                    settings.replace(&tls::settings(&files, clock.clone())?);
                    Ok(())
                });
            }
        }
        if let Some(settings) = settings {
            parts.engines = parts.engines.with_tls(settings);
        }
        Some(parts)
    }
}

async fn plane(
    args: &Manage,
    plan: &ManagePlan,
    parts: Parts,
    clock: &Arc<dyn Clock>,
) -> Result<ControlPlane, Failure> {
    let options = PlaneOptions::default()
        .with_heartbeat(plan.heartbeat)
        .with_engine_refresh_min_interval(plan.refresh.0)
        .with_engine_refresh_max_interval(plan.refresh.1)
        .with_engine_failure_retry(plan.failure_retry)
        .with_overcommit(plan.overcommit)
        .with_accounting(plan.accounting)
        .with_create_retry(plan.create_retry);
    let mut builder = ControlPlane::builder()
        .scheduler(Box::new(scheduler(plan)))
        .engines(Arc::new(
            DockerProvider::new(clock.clone()).with_options(parts.engines),
        ))
        // The socket is its owner's alone, and TLS lets in only holders of a certificate of our
        // authority: both may do everything, as with Docker itself.
        .authorizer(Arc::new(AllowAll))
        .registries(Arc::new(plan.registries.clone()))
        .clock(clock.clone())
        .options(options);
    if let Some(discovery) = parts.discovery {
        builder = builder.discovery(discovery);
    }
    if let Some((address, transport)) = parts.tunnel {
        let listener = transport.listen(&address).await?;
        tracing::info!(address = %listener.local(), "accepting agents' tunnels");
        builder = builder.tunnel(listener);
    }
    if let Some(election) = parts.election {
        builder = builder.election(Arc::new(election));
    }
    if let Some((store, prefix)) = parts.state {
        let separator = if prefix.is_empty() { "" } else { "/" };
        builder = builder.state(store, format!("{prefix}{separator}longshore"));
    }
    if let Some(path) = &args.audit_log {
        builder = builder.audit(Arc::new(FileAudit::open(path)?));
    }
    Ok(builder.build()?)
}

/// Our part in the election over the store that discovery uses.
fn election(
    (store, prefix): (Arc<dyn KvStore>, String),
    address: &str,
    ttl: Duration,
    clock: &Arc<dyn Clock>,
) -> longshore::Result<Election> {
    let options = ElectionOptions::candidate(&prefix, address).with_ttl(ttl);
    Election::new(store, options, clock.clone(), Arc::new(OsRandom))
}

/// The endpoint's own TLS: without --tls and --tlsverify, the files are the tunnel's alone.
fn endpoint_files(flags: &TlsArgs, plan: &ManagePlan) -> longshore::Result<Option<TlsFiles>> {
    let path =
        |file: &Option<String>, wanted: bool| file.as_deref().map(PathBuf::from).filter(|_| wanted);
    let wanted = plan.tls.is_some();
    TlsFiles::from_flags(
        flags.tls,
        flags.tlsverify,
        path(&flags.tlscacert, flags.tlsverify).as_deref(),
        path(&flags.tlscert, wanted).as_deref(),
        path(&flags.tlskey, wanted).as_deref(),
    )
}

/// Where an endpoint is served, and the handle by which its certificates are read again.
pub struct Served {
    pub address: String,
    pub tls: Option<TlsReload>,
}

/// Serves an endpoint at an address until the shutdown, and says where.
pub async fn serve_at(
    app: Router,
    host: &ListenAddress,
    listen: ListenOptions,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> longshore::Result<Served> {
    let listener = Listener::bind(host, listen).await?;
    let served = Served {
        address: listener.address().to_owned(),
        tls: listener.tls(),
    };
    let server = serve(listener, app, clock, shutdown.child());
    shutdown.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(error = error.chain(), "the endpoint ended");
        }
    });
    Ok(served)
}

fn scheduler(plan: &ManagePlan) -> ClusterScheduler {
    let mut builder = ClusterScheduler::builder().strategy(plan.strategy);
    if !plan.filters.is_empty() {
        builder = builder.filters(plan.filters.clone());
    }
    builder.build()
}

/// Opens a discovery backend by its URL.
pub fn discovery(
    url: &str,
    pairs: &[String],
    heartbeat: Option<Duration>,
    clock: Arc<dyn Clock>,
) -> longshore::Result<Arc<dyn Discovery>> {
    open(url, &discovery_options(pairs, heartbeat, clock)?)
}

fn discovery_options(
    pairs: &[String],
    heartbeat: Option<Duration>,
    clock: Arc<dyn Clock>,
) -> longshore::Result<DiscoveryOptions> {
    let options = DiscoveryOptions::new(clock).with_pairs(pairs)?;
    Ok(match heartbeat {
        Some(heartbeat) => options.with_heartbeat(heartbeat),
        None => options,
    })
}

/// The same failure, where it is met once more.
fn again(error: &longshore::Error) -> longshore::Error {
    longshore::Error::new(error.kind(), error.message().to_owned())
}

/// How long requests may go on after the end was asked for.
const RESIGN: Duration = Duration::from_secs(5);
const DRAIN: Duration = Duration::from_secs(10);
/// How long sessions in containers may.
pub const LINGER: Duration = Duration::from_secs(1);
