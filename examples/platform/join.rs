//! `platform join`

use std::{sync::Arc, time::Duration};

use longshore::{
    Clock, Connector, Engine, Random,
    agent::{Agent, AgentConfig, LeaderGate},
    core::{Announcement, ClockExt, Endpoint, Labels, NodeName, OsRandom, Shutdown, SystemClock},
    discovery::{Registrar, RegistrarOptions},
    engine::{ConnectOptions, ProcessEngine, ProcessOptions, connect},
};

use crate::{
    Failure,
    check::{self, JoinPlan, Problems, TlsFiles},
    cli::Join,
    manage::discovery,
    renewal::Renewal,
    signals, tls,
};

pub async fn run(args: Join) -> Result<(), Failure> {
    let (plan, problems) = check::join(&args);
    match plan {
        JoinPlan::Tunnel {
            planes,
            tls,
            labels,
        } => dial(args, planes, tls, labels, problems).await,
        JoinPlan::Register {
            url,
            options,
            advertise,
            heartbeat,
            ttl,
            delay,
        } => {
            problems.or(())?;
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            let backend = discovery(&url, &options, Some(heartbeat), clock.clone())?;
            register(backend, clock, advertise, (heartbeat, ttl), delay).await
        }
    }
}

/// Keeps this node registered until interrupted; then takes the registration back.
async fn register(
    backend: Arc<dyn longshore::Discovery>,
    clock: Arc<dyn Clock>,
    advertise: Endpoint,
    (heartbeat, ttl): (Duration, Duration),
    delay: Duration,
) -> Result<(), Failure> {
    let options = RegistrarOptions::default().with_heartbeat(heartbeat, ttl);
    let registrar = Registrar::new(backend, options, clock.clone(), Arc::new(OsRandom))?;
    let interrupted = signals::interrupted_or_hung_up();
    tokio::pin!(interrupted);
    tokio::select! {
        () = clock.sleep(delay.mul_f64(OsRandom.unit())) => {}
        () = &mut interrupted => return Ok(()),
    }
    registrar.add(Announcement::new(advertise))?;
    let shutdown = Shutdown::new();
    let running = shutdown.clone();
    let keeping = shutdown.spawn(async move { registrar.run(&running).await });
    interrupted.await;
    tracing::info!("taking the registration back");
    shutdown.finish(&*clock, FAREWELL).await;
    keeping
        .await
        .map_err(|error| Failure::new(error.to_string()))
}

/// Dials the planes and lends them the engine until interrupted.
async fn dial(
    args: Join,
    planes: Vec<Endpoint>,
    files: Option<TlsFiles>,
    labels: Labels,
    mut problems: Problems,
) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let name = args.name.map(NodeName::new).transpose();
    let name = problems.check(name.map_err(longshore::Error::from));
    let gate = args.state.as_ref().map(LeaderGate::open).transpose();
    let gate = problems.check(gate);
    let renewal = files.as_ref().map(|files| Renewal::of(files.clone()));
    let renewal = problems.check(renewal.transpose());
    let transport = files.as_ref().map(|f| tls::tunnel(f, clock.clone()));
    let transport = problems.check(transport.transpose());
    // Plain processes need the name and start with the agent.
    let engine = match args.engine.as_str() {
        "process" => Some(None),
        url => problems.check(connect(url, &ConnectOptions::new()).map(Some)),
    };
    problems.or(())?;
    let whole = name
        .zip(engine)
        .zip(renewal.flatten().zip(transport.flatten()).zip(files));
    let Some(((name, engine), ((mut renewal, transport), files))) = whole else {
        return Err(Failure::new("the configuration is incomplete"));
    };

    let mut processes = None;
    let engine: Arc<dyn Connector> = match engine {
        Some(engine) => engine,
        None => {
            let mut options = ProcessOptions::default();
            if let Some(name) = &name {
                options = options.with_name(name.clone());
            }
            for (key, value) in labels.iter() {
                options = options.with_label(key, value);
            }
            let engine = ProcessEngine::new(options, clock.clone(), Arc::new(OsRandom))?;
            processes.insert(engine).connector()
        }
    };
    let mut planes = planes.into_iter();
    let first = planes
        .next()
        .ok_or_else(|| Failure::new("--tunnel names no control plane"))?;
    let mut config = match name {
        Some(name) => AgentConfig::new(name, first),
        None => AgentConfig::unnamed(first),
    }
    .with_labels(labels)
    .with_gate(gate.flatten().unwrap_or_default());
    for plane in planes {
        config = config.with_plane(plane);
    }
    let shutdown = Shutdown::new();
    let renewed = transport.clone();
    renewal.add(move || tls::renew_tunnel(&renewed, &files));
    shutdown.spawn_until(renewal.run(clock.clone()));
    let transport = Arc::new(transport);
    let agent = Agent::new(config, transport, engine, clock.clone(), Arc::new(OsRandom));
    let running = shutdown.clone();
    let task = shutdown.spawn(async move { agent.run(&running).await });
    signals::interrupted().await;
    tracing::info!("shutting down: saying goodbye to the control plane; again to exit at once");
    shutdown.finish(&*clock, Duration::from_secs(10)).await;
    if let Some(engine) = processes {
        tracing::info!("stopping this node's processes, at most 5s");
        engine.shutdown(Duration::from_secs(5)).await?;
    }
    match task.await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// Longer than the registrar takes for it.
const FAREWELL: Duration = Duration::from_secs(12);
