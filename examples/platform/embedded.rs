//! The embedded default: a control plane and three nodes in one process, and a stack on them.

mod node;
mod show;

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use longshore::{
    Clock, ErrorKind, TunnelTransport,
    control::{
        ControlPlane, PlaneOptions, ServiceSpec, StackSpec,
        endpoint::{EndpointOptions, ListenAddress, ListenOptions},
    },
    core::{
        AllowAll, ClockExt, Endpoint, NodeId, OsRandom, RestartPolicy, ServiceName, Shutdown,
        SystemClock, WorkloadSpec,
    },
    engine::DockerProvider,
    sched::ClusterScheduler,
    tunnel::{
        ExpectedPeer, TlsTransport,
        pki::{Authority, Profile, Role},
    },
};
use node::Node;

use crate::{
    Failure, client,
    entrance::{self, Sessions},
    manage,
    progress::Step,
    say::say,
    signals,
};

/// Whether the platform stays up after it has shown itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Stay,
    Demo,
}

/// Everything that was started.
pub struct Embedded {
    clock: Arc<dyn Clock>,
    plane: ControlPlane,
    endpoint: Shutdown,
    nodes: Vec<Node>,
    /// Where the endpoint listens.
    socket: PathBuf,
    /// Where the gateway listens.
    gateway: SocketAddr,
    /// Holds the pages' addresses, and in a demo the socket; removed at the end.
    scratch: tempfile::TempDir,
}

/// The stack's name.
const STACK: &str = "shop";

pub async fn run(mode: Mode) -> Result<(), Failure> {
    say(format_args!(
        "longshore {}: a control plane and three nodes in this process; Ctrl-C stops all of it",
        env!("CARGO_PKG_VERSION")
    ))?;
    let interrupted = signals::interrupted_or_hung_up();
    tokio::pin!(interrupted);
    let mut platform = tokio::select! {
        started = Embedded::start(mode) => started?,
        () = &mut interrupted => return Err(Failure::silent(130)),
    };
    let mut shown = tokio::select! {
        shown = show::all(&mut platform) => shown,
        () = &mut interrupted => Err(Failure::silent(130)),
    };
    if shown.is_ok() && mode == Mode::Stay {
        shown = show::what_to_try(&platform);
        if shown.is_ok() {
            interrupted.await;
        }
    }
    let step = Step::start("stopping everything that was started");
    platform.stop(&step).await;
    step.done("nothing is left running");
    shown
}

impl Embedded {
    async fn start(mode: Mode) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let scratch = tempfile::tempdir()?;
        let socket = match mode {
            Mode::Demo => scratch.path().join("platform.sock"),
            Mode::Stay => private_directory()?.join("platform.sock"),
        };

        let step = Step::start("starting the control plane");
        let authority = Authority::generate("longshore embedded", clock.now(), &OsRandom)?;
        let trust = authority.trust()?;
        let transport = |name: &str, role: Role| -> Result<TlsTransport, Failure> {
            let node = NodeId::new(name).map_err(longshore::Error::from)?;
            let profile = Profile::new(node).with_role(role).with_host("127.0.0.1")?;
            let identity = authority.issue(&profile, clock.now(), &OsRandom)?;
            let transport = TlsTransport::new(&identity, &trust, clock.clone())?;
            Ok(transport.with_expected_peer(ExpectedPeer::DialledManager)?)
        };
        let listener = transport("plane", Role::Manager)?
            .listen(&loopback())
            .await?;
        let tunnel = listener.local();
        let options = PlaneOptions::default()
            .with_engine_refresh_min_interval(Duration::from_millis(500))
            .with_engine_refresh_max_interval(Duration::from_secs(1))
            .with_probe_interval(Duration::from_millis(500))
            .with_node_loss_grace(Duration::from_secs(2))
            // Nothing ran before, so there is nothing to wait for.
            .with_settle(Duration::from_secs(1));
        let plane = ControlPlane::builder()
            .tunnel(listener)
            .scheduler(Box::new(ClusterScheduler::default()))
            .engines(Arc::new(DockerProvider::new(clock.clone())))
            // Only this user can reach the socket, so whoever reaches it may do everything.
            .authorizer(Arc::new(AllowAll))
            .clock(clock.clone())
            .options(options)
            .build()?;
        plane.start();
        let endpoint = Shutdown::new();
        let address = ListenAddress::Unix(socket.clone());
        let listen = ListenOptions::default().with_drain_limit(DRAIN);
        let options = EndpointOptions::default().with_linger(manage::LINGER);
        let addresses = std::slice::from_ref(&address);
        // Its engines are of plain processes: nothing can be put into those.
        let sessions = Sessions::default();
        let app = entrance::app(&plane, options, addresses, &listen, sessions, &endpoint);
        let served = manage::serve_at(app, &address, listen, clock.clone(), &endpoint).await;
        if let Err(error) = served {
            plane.stop().await;
            return Err(not_served(error));
        }
        step.done(&format!("endpoint at unix://{}", socket.display()));

        let mut platform = Self {
            clock: clock.clone(),
            plane,
            endpoint,
            nodes: Vec::new(),
            socket,
            gateway: free_address()?,
            scratch,
        };
        let step = Step::start("joining three nodes through tunnels");
        for (name, zone) in [("node-1", "a"), ("node-2", "b"), ("node-3", "c")] {
            let transport = Arc::new(transport(name, Role::Node)?);
            let node = Node::start(name, zone, &tunnel, transport, platform.clock.clone()).await?;
            platform.nodes.push(node);
        }
        platform
            .wait(
                "healthy nodes",
                Duration::from_secs(30),
                |platform| {
                    let healthy = platform.healthy_nodes();
                    (healthy == 3, format!("{healthy} of 3 healthy"))
                },
                &step,
            )
            .await?;
        step.done("3 healthy");
        Ok(platform)
    }

    fn healthy_nodes(&self) -> usize {
        use longshore::core::NodeHealth::Healthy;
        self.plane
            .nodes()
            .iter()
            .filter(|node| node.health == Healthy)
            .count()
    }

    /// Waits until something holds, and says how far it is.
    async fn wait(
        &self,
        what: &'static str,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> (bool, String),
        step: &Step,
    ) -> Result<(), Failure> {
        let deadline = self.clock.now().after(limit);
        loop {
            let (done, state) = holds(self);
            if done {
                return Ok(());
            }
            if self.clock.now() >= deadline {
                return Err(Failure::new(format!(
                    "waited {limit:?} for {what}, and it stayed at: {state}"
                )));
            }
            step.update(&state);
            self.clock.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Three pages, and a gateway in front of them. Both are this program itself.
    fn stack(&self) -> Result<StackSpec, Failure> {
        let program = std::env::current_exe()?.display().to_string();
        let registry = self.scratch.path().join("pages");
        std::fs::create_dir_all(&registry)?;
        let registry = registry.display().to_string();
        let name = |name| ServiceName::new(name).map_err(longshore::Error::from);
        let page = WorkloadSpec::new("host")
            .with_command([program.as_str(), "page", "--registry", &registry])
            .with_restart(RestartPolicy::Always);
        let listen = self.gateway.to_string();
        let gateway = WorkloadSpec::new("host")
            .with_command([
                program.as_str(),
                "gateway",
                "--registry",
                &registry,
                "--listen",
                &listen,
            ])
            .with_restart(RestartPolicy::Always);
        let services = vec![
            ServiceSpec::new(name("web")?, page).with_replicas(3),
            ServiceSpec::new(name("gateway")?, gateway).with_dependency(name("web")?),
        ];
        Ok(StackSpec::new(name(STACK)?, services))
    }

    async fn stop(self, step: &Step) {
        step.waits_for("requests that are being answered");
        let limit = DRAIN + Duration::from_secs(1);
        self.endpoint.finish(&*self.clock, limit).await;
        step.waits_for("the control plane");
        self.plane.stop().await;
        step.waits_for("the nodes and their processes");
        join_all(self.nodes.into_iter().map(Node::stop)).await;
    }
}

/// The usual reason is a platform that was forgotten in another terminal.
fn not_served(error: longshore::Error) -> Failure {
    match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(format!(
            "{}\na platform of yours is up already: use that one, stop it with Ctrl-C, or run 'platform \
             demo' beside it",
            error.chain()
        )),
        _ => error.into(),
    }
}

/// How long requests may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);

fn loopback() -> Endpoint {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()
}

/// A loopback port that nobody holds now.
fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The folder for the socket: this user's alone.
fn private_directory() -> Result<PathBuf, Failure> {
    let directory = client::runtime_directory();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    let found = std::fs::symlink_metadata(&directory)?;
    if !found.is_dir()
        || found.uid() != rustix::process::getuid().as_raw()
        || found.mode() & 0o077 != 0
    {
        return Err(Failure::new(format!(
            "{} is not a folder of yours alone (mode 0700); remove it and try again",
            directory.display()
        )));
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_that_is_up_already_is_named_with_the_remedies() {
        let failure = not_served(longshore::Error::new(ErrorKind::AlreadyExists, "taken"));
        assert!(
            failure
                .message
                .starts_with("taken\na platform of yours is up")
        );
        let failure = not_served(longshore::Error::new(ErrorKind::Unavailable, "no disk"));
        assert_eq!(failure.message, "no disk");
    }
}
