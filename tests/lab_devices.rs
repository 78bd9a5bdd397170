//! Devices of real Docker engines: what a stock daemon's `node-generic-resources` and the stock
//! client's `--gpus` come to where there is no GPU.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};

use longshore::{
    Clock,
    control::{
        ControlPlane,
        endpoint::{EndpointOptions, ListenOptions, Listener, router, serve},
    },
    core::{AllowAll, NodeHealth, SystemClock},
    discovery::{DiscoveryOptions, open},
    engine::DockerProvider,
    sched::ClusterScheduler,
};
use longshore_lab::{Lab, LabHostSpec};
use tempfile::TempDir;

const IMAGE: &str = "busybox:lab";

struct Manager {
    plane: ControlPlane,
    socket: PathBuf,
    _folder: TempDir,
}

impl Manager {
    async fn over(lab: &Lab) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let hosts: Vec<String> = lab
            .hosts()
            .map(|host| host.tcp_endpoint().to_string())
            .collect();
        let url = format!("nodes://{}", hosts.join(","));
        let plane = ControlPlane::builder()
            .discovery(open(&url, &DiscoveryOptions::new(clock.clone())).unwrap())
            .engines(Arc::new(DockerProvider::new(clock.clone())))
            .scheduler(Box::new(ClusterScheduler::default()))
            .authorizer(Arc::new(AllowAll))
            .clock(clock.clone())
            .build()
            .unwrap();
        plane.start();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let address = format!("unix://{}", socket.display()).parse().unwrap();
        let listener = Listener::bind(&address, ListenOptions::default())
            .await
            .unwrap();
        let app = router(plane.clone(), EndpointOptions::default());
        let shutdown = plane.shutdown().child();
        tokio::spawn(serve(listener, app, clock, shutdown));
        let manager = Self {
            plane,
            socket,
            _folder: folder,
        };
        for _ in 0..600 {
            let nodes = manager.plane.nodes();
            if nodes.iter().all(|node| node.health == NodeHealth::Healthy) {
                return manager;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the nodes are not healthy: {:?}", manager.plane.nodes());
    }

    /// The stock client: whether it succeeded, and what it said.
    async fn docker(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).trim_end().to_owned(),
        )
    }

    #[track_caller]
    fn devices(&self) -> Vec<String> {
        let nodes = self.plane.nodes();
        let devices = nodes.iter().flat_map(|node| node.devices.iter());
        devices.map(|device| device.id.to_string()).collect()
    }
}

async fn ok(manager: &Manager, arguments: &[&str]) -> String {
    let (done, said) = manager.docker(arguments).await;
    assert!(done, "docker {arguments:?}: {said}");
    said
}

async fn refused(manager: &Manager, arguments: &[&str]) -> String {
    let (done, said) = manager.docker(arguments).await;
    assert!(!done, "docker {arguments:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_daemon_s_devices_are_placed_and_its_refusal_is_passed_on() {
    let with = |resources: &[&str]| {
        let arguments = resources
            .iter()
            .flat_map(|one| ["--node-generic-resource", one]);
        arguments.fold(LabHostSpec::default(), |spec, one| {
            spec.with_dockerd_argument(one)
        })
    };
    let lab = Lab::builder()
        .host(with(&["NVIDIA-GPU=GPU-a", "NVIDIA-GPU=GPU-b"]))
        .host(with(&["gpu=GPU-c", "SSD=2"]))
        .start_or_skip("lab devices");
    let Some(lab) = lab else { return };
    lab.import_busybox(IMAGE).unwrap();
    let manager = Manager::over(&lab).await;
    assert_eq!(
        manager.devices(),
        ["gpu GPU-a", "gpu GPU-b", "gpu GPU-c", "ssd 0", "ssd 1"]
    );

    // The engine is asked for the one that was chosen, has no driver, and says so; nothing stays held
    // once the container is gone, which `--rm` sees to.
    for _ in 0..4 {
        let run = ["run", "--rm", "--gpus", "\"device=GPU-b\"", IMAGE, "true"];
        let said = refused(&manager, &run).await;
        assert!(said.contains("could not select device driver"), "{said}");
    }
    // Docker refuses at the start: what was made has its device until it is removed.
    let said = refused(
        &manager,
        &["run", "--name", "first", "--gpus", "2", IMAGE, "true"],
    )
    .await;
    assert!(said.contains("could not select device driver"), "{said}");
    let format = "{{.Node.Name}} {{json .HostConfig.DeviceRequests}} {{json .Config.Labels}}";
    let made = ok(&manager, &["inspect", "--format", format, "first"]).await;
    assert!(made.starts_with(lab.host(0).name()), "{made}");
    assert!(
        made.contains(r#""Count":0,"DeviceIDs":["GPU-a","GPU-b"]"#),
        "{made}"
    );
    assert!(
        made.contains(r#""longshore.devices":"gpu=GPU-a,gpu=GPU-b""#),
        "{made}"
    );
    ok(
        &manager,
        &["create", "--name", "second", "--gpus", "all", IMAGE, "true"],
    )
    .await;
    let said = refused(&manager, &["create", "--gpus", "1", IMAGE, "true"]).await;
    assert!(said.contains("no free gpu"), "{said}");

    // A manager that knows nothing finds out.
    manager.plane.stop().await;
    let manager = Manager::over(&lab).await;
    let said = refused(&manager, &["create", "--gpus", "1", IMAGE, "true"]).await;
    assert!(said.contains("no free gpu"), "{said}");
    ok(&manager, &["rm", "second"]).await;
    ok(
        &manager,
        &["create", "--name", "third", "--gpus", "1", IMAGE, "true"],
    )
    .await;
    let node = ok(
        &manager,
        &["inspect", "--format", "{{.Node.Name}}", "third"],
    )
    .await;
    assert_eq!(node, lab.host(1).name());
    manager.plane.stop().await;
    lab.stop().unwrap();
}
