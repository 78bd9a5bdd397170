//! `platform manage`

use std::{path::PathBuf, sync::Arc, time::Duration};

use longshore::{
    Clock, Discovery, TunnelTransport,
    control::{
        ControlPlane, FileAudit, PlaneOptions,
        endpoint::{
            EndpointOptions, ListenAddress, ListenOptions, Listener, TlsFiles, router, serve,
        },
    },
    core::{AllowAll, Shutdown, SystemClock},
    discovery::{DiscoveryOptions, open},
    engine::DockerProvider,
    sched::{ClusterScheduler, FilterName, Strategy},
};

use crate::{
    Failure,
    check::{ManagePlan, Problems},
    cli::Manage,
    tls,
};

pub async fn run(args: Manage, plan: ManagePlan) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut problems = Problems::default();
    let scheduler = problems.check(scheduler(&args));
    let hosts = args
        .host
        .iter()
        .map(|host| problems.check(host.parse::<ListenAddress>()));
    let hosts: Vec<_> = hosts.collect();
    let discovery = plan.url.as_deref().map(|url| {
        problems.check(discovery(
            url,
            &plan.options,
            Some(plan.heartbeat),
            clock.clone(),
        ))
    });
    let engines = problems.check(tls::client(plan.tls.as_ref(), clock.clone()));
    let tunnel = plan
        .tunnel
        .as_ref()
        .map(|(address, files)| (address, problems.check(tls::tunnel(files, clock.clone()))));
    problems.or(())?;

    let options = PlaneOptions::default()
        .with_heartbeat(plan.heartbeat)
        .with_engine_refresh_min_interval(plan.refresh.0)
        .with_engine_refresh_max_interval(plan.refresh.1)
        .with_engine_failure_retry(plan.failure_retry)
        .with_overcommit(plan.overcommit)
        .with_create_retry(plan.create_retry);
    let mut builder = ControlPlane::builder()
        .scheduler(Box::new(scheduler.expect("it was checked")))
        .engines(Arc::new(
            DockerProvider::new(clock.clone()).with_options(engines.expect("it was checked")),
        ))
        // The socket is its owner's alone, and TLS lets in only holders of a certificate of our
        // authority: both may do everything, as with Docker itself.
        .authorizer(Arc::new(AllowAll))
        .clock(clock.clone())
        .options(options);
    if let Some(discovery) = discovery {
        builder = builder.discovery(discovery.expect("it was checked"));
    }
    if let Some((address, transport)) = tunnel {
        let listener = transport.expect("it was checked").listen(address).await?;
        tracing::info!(address = %listener.local(), "accepting agents' tunnels");
        builder = builder.tunnel(listener);
    }
    if let Some(path) = &args.audit_log {
        builder = builder.audit(Arc::new(FileAudit::open(path)?));
    }
    let plane = builder.build()?;

    let path = |file: &Option<String>| file.as_deref().map(PathBuf::from);
    let flags = &args.tls;
    let files = TlsFiles::from_flags(
        flags.tls,
        flags.tlsverify,
        path(&flags.tlscacert)
            .filter(|_| flags.tlsverify)
            .as_deref(),
        path(&flags.tlscert)
            .filter(|_| plan.tls.is_some())
            .as_deref(),
        path(&flags.tlskey)
            .filter(|_| plan.tls.is_some())
            .as_deref(),
    )?;
    let mut endpoint = EndpointOptions::default();
    if let Some(warning) = files.as_ref().and_then(TlsFiles::warning) {
        tracing::warn!("{warning}");
        endpoint = endpoint.with_warning(warning);
    }
    if args.api_enable_cors {
        endpoint = endpoint.with_cors();
    }
    let mut listen = ListenOptions::default();
    if let Some(files) = files {
        listen = listen.with_tls(files);
    }
    let shutdown = Shutdown::new();
    plane.start();
    for host in hosts.into_iter().flatten() {
        let served = serve_at(&plane, &host, listen.clone(), endpoint.clone(), &shutdown).await;
        match served {
            Ok(address) => tracing::info!("Listening for HTTP on {address}"),
            Err(error) => {
                plane.stop().await;
                return Err(error.into());
            }
        }
    }
    crate::interrupted().await;
    tracing::info!("shutting down");
    shutdown.finish(&*clock, Duration::from_secs(15)).await;
    plane.stop().await;
    Ok(())
}

/// Serves a plane's endpoint at an address until the shutdown, and says where.
pub async fn serve_at(
    plane: &ControlPlane,
    host: &ListenAddress,
    listen: ListenOptions,
    endpoint: EndpointOptions,
    shutdown: &Shutdown,
) -> longshore::Result<String> {
    let listener = Listener::bind(host, listen).await?;
    let address = listener.address().to_owned();
    let app = router(plane.clone(), endpoint);
    let server = serve(listener, app, plane.clock().clone(), shutdown.child());
    shutdown.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(error = error.chain(), "the endpoint ended");
        }
    });
    Ok(address)
}

fn scheduler(args: &Manage) -> longshore::Result<ClusterScheduler> {
    let mut builder = ClusterScheduler::builder().strategy(args.strategy.parse::<Strategy>()?);
    if !args.filter.is_empty() {
        let filters: longshore::Result<Vec<FilterName>> =
            args.filter.iter().map(|name| name.parse()).collect();
        builder = builder.filters(filters?);
    }
    Ok(builder.build())
}

/// Opens a discovery backend by its URL.
pub fn discovery(
    url: &str,
    pairs: &[String],
    heartbeat: Option<Duration>,
    clock: Arc<dyn Clock>,
) -> longshore::Result<Arc<dyn Discovery>> {
    let mut options = DiscoveryOptions::new(clock).with_pairs(pairs)?;
    if let Some(heartbeat) = heartbeat {
        options = options.with_heartbeat(heartbeat);
    }
    open(url, &options)
}
