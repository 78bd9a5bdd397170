//! Devices through the endpoint and in stacks, over simulated engines: two containers never have one.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use http::{Method, Request};
use longshore::{
    Clock, Engine, ErrorKind, Result,
    control::{
        ControlPlane, ServiceSpec, StackSpec,
        endpoint::{EndpointOptions, ListenOptions, Listener, router, serve},
    },
    core::{
        AllowAll, Announcement, Connector, Device, DeviceId, EngineProvider, ListFilter,
        NodeHealth, RemoveOptions, SystemClock, WorkloadSpec,
        decorate::{Fault, Faulty, LayerExt},
        http::{HttpClient, full_body, read_body},
    },
    discovery::{DiscoveryOptions, open},
    engine::{ConnectOptions, SimCluster, SimOptions, connect},
    sched::ClusterScheduler,
};
use serde_json::{Value, json};
use tempfile::TempDir;

struct World {
    clock: Arc<dyn Clock>,
    engines: Arc<SimCluster>,
    /// Engines can't be inspected: all that is known of a container is its listing.
    listed_only: bool,
}

struct Manager {
    plane: ControlPlane,
    client: HttpClient,
    _folder: TempDir,
}

impl World {
    /// `sim-000` has two GPUs of NVIDIA and a TPU, `sim-001` one GPU of which nobody says who made
    /// it. What `sim-002` says of its GPU on a label is not so.
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let engines = SimCluster::new(3, 1, clock.clone(), |node| {
            let options = SimOptions::default();
            let gpu = |name: &str| Device::new("gpu", name);
            match node {
                0 => options
                    .with_device(gpu("GPU-a").with("vendor", "nvidia"))
                    .with_device(gpu("GPU-b").with("vendor", "nvidia"))
                    .with_device(Device::new("tpu", "0")),
                1 => options.with_device(gpu("GPU-c")),
                _ => options.with_label("longshore.devices.fpga", "F-1 size=large"),
            }
        });
        Self {
            clock,
            engines: Arc::new(engines.unwrap()),
            listed_only: false,
        }
    }

    async fn manager(&self) -> Manager {
        let url = "nodes://sim-000:1,sim-001:1,sim-002:1";
        let plane = ControlPlane::builder()
            .discovery(open(url, &DiscoveryOptions::new(self.clock.clone())).unwrap())
            .scheduler(Box::new(ClusterScheduler::default()))
            .authorizer(Arc::new(AllowAll))
            .clock(self.clock.clone());
        let plane = match self.listed_only {
            true => plane.engines(Arc::new(ListedOnly(
                self.engines.clone(),
                self.clock.clone(),
            ))),
            false => plane.engines(self.engines.clone()),
        };
        let plane = plane.build().unwrap();
        plane.start();
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("unix://{}", folder.path().join("s").display());
        let options = ListenOptions::default();
        let listener = Listener::bind(&socket.parse().unwrap(), options)
            .await
            .unwrap();
        let app = router(plane.clone(), EndpointOptions::default());
        let shutdown = plane.shutdown().child();
        tokio::spawn(serve(listener, app, self.clock.clone(), shutdown));
        let connector = connect(&socket, &ConnectOptions::new()).unwrap();
        let manager = Manager {
            client: HttpClient::new(connector, self.clock.clone()),
            plane,
            _folder: folder,
        };
        let healthy = || {
            let nodes = manager.plane.nodes();
            nodes.iter().all(|node| node.health == NodeHealth::Healthy)
        };
        until("all nodes are healthy", async || healthy()).await;
        manager
    }

    /// The devices that engines gave, over all nodes: `sim-000 gpu GPU-a`.
    async fn given(&self) -> Vec<String> {
        let mut given = Vec::new();
        for engine in self.engines.engines() {
            for workload in engine.list(&ListFilter::all()).await.unwrap() {
                let detail = engine.inspect(&workload.id).await.unwrap().detail.unwrap();
                let devices = detail.devices.iter();
                given.extend(devices.map(|device| format!("{} {device}", engine.name())));
            }
        }
        given.sort();
        given
    }
}

/// Engines that can't be inspected.
#[derive(Debug)]
struct ListedOnly(Arc<SimCluster>, Arc<dyn Clock>);

#[async_trait::async_trait]
impl EngineProvider for ListedOnly {
    async fn engine_at(&self, node: &Announcement) -> Result<Arc<dyn Engine>> {
        let broken = Fault::refusing(1.0).with_kind(ErrorKind::Internal);
        let faulty = Faulty::new(self.1.clone(), 1, Fault::none());
        let faulty = faulty.with_fault("engine.inspect", broken);
        Ok(faulty.wrap(self.0.engine_at(node).await?))
    }

    async fn engine_over(&self, connector: Arc<dyn Connector>) -> Result<Arc<dyn Engine>> {
        self.0.engine_over(connector).await
    }
}

impl Manager {
    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(full_body(body.to_string()))
            .unwrap();
        let (parts, body) = self.client.send(request).await.unwrap().into_parts();
        let text = read_body(body, 1 << 20).await.unwrap();
        let json = serde_json::from_slice(&text).unwrap_or(Value::Null);
        (parts.status.as_u16(), json)
    }

    /// As `docker create` does with this request for devices.
    async fn create(&self, request: Value) -> std::result::Result<String, (u16, String)> {
        let body = json!({"Image": "busybox", "HostConfig": {"DeviceRequests": [request]}});
        match self.call(Method::POST, "/containers/create", body).await {
            (201, made) => Ok(made["Id"].as_str().unwrap().to_owned()),
            (status, error) => Err((status, error["message"].as_str().unwrap().to_owned())),
        }
    }

    async fn remove(&self, id: &str) {
        let path = format!("/containers/{id}?force=1");
        let (status, _) = self.call(Method::DELETE, &path, Value::Null).await;
        assert_eq!(status, 204);
    }
}

/// As `docker run --gpus 2` sends it.
fn gpus(count: i64) -> Value {
    json!({"Driver": "", "Count": count, "DeviceIDs": null, "Capabilities": [["gpu"]],
        "Options": {}})
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {what}");
}

#[tokio::test]
async fn two_containers_never_share_a_device() {
    let world = World::new();
    let manager = world.manager().await;
    // More at once than there is.
    let all = futures::future::join_all((0..8).map(|_| manager.create(gpus(1)))).await;
    let (made, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(std::result::Result::is_ok);
    assert_eq!((made.len(), refused.len()), (3, 5));
    let given = [
        "sim-000 gpu GPU-a",
        "sim-000 gpu GPU-b",
        "sim-001 gpu GPU-c",
    ];
    assert_eq!(world.given().await, given);
    for error in refused {
        let (status, message) = error.unwrap_err();
        assert_eq!(status, 500);
        assert!(message.contains("no free gpu"), "{message}");
    }
    // The engine is asked for names, and the container says what it has.
    let id = made[0].as_ref().unwrap();
    let (_, inspected) = manager
        .call(Method::GET, &format!("/containers/{id}/json"), Value::Null)
        .await;
    let request = &inspected["HostConfig"]["DeviceRequests"][0];
    assert_eq!(request["Count"], 0);
    let name = request["DeviceIDs"][0].as_str().unwrap();
    assert_eq!(
        inspected["Config"]["Labels"]["longshore.devices"],
        format!("gpu={name}")
    );
    // What one gives back the next can have.
    manager.remove(id).await;
    manager.create(gpus(1)).await.unwrap();
    assert_eq!(world.given().await, given);
}

#[tokio::test]
async fn devices_are_asked_for_by_number_name_driver_or_all() {
    let world = World::new();
    let manager = world.manager().await;
    let named = |ids: Value| {
        let mut request = gpus(0);
        request["DeviceIDs"] = ids;
        request
    };
    let given = async |request: Value| {
        let id = manager.create(request).await?;
        let given = world.given().await;
        manager.remove(&id).await;
        Ok::<_, (u16, String)>(given)
    };
    let both = ["sim-000 gpu GPU-a", "sim-000 gpu GPU-b"];
    assert_eq!(given(gpus(2)).await.unwrap(), both);
    assert_eq!(given(named(json!(["GPU-b", "GPU-a"]))).await.unwrap(), both);
    assert_eq!(
        given(named(json!(["GPU-c"]))).await.unwrap(),
        ["sim-001 gpu GPU-c"]
    );
    // All are all of one node, whichever is chosen.
    let all = given(gpus(-1)).await.unwrap();
    assert!(all == both || all == ["sim-001 gpu GPU-c"], "{all:?}");
    // Nobody says who made the third: its engine knows.
    let mut driver = gpus(2);
    driver["Driver"] = "nvidia".into();
    assert_eq!(given(driver.clone()).await.unwrap(), both);
    driver["Driver"] = "amd".into();
    driver["Count"] = 1.into();
    assert_eq!(given(driver).await.unwrap(), ["sim-001 gpu GPU-c"]);
    let mut tpu = gpus(-1);
    tpu["Capabilities"] = json!([["tpu"]]);
    assert_eq!(given(tpu).await.unwrap(), ["sim-000 tpu 0"]);

    let (status, message) = given(gpus(3)).await.unwrap_err();
    assert_eq!(status, 500);
    assert!(message.contains("fewer than 3 free gpus"), "{message}");
    let (_, message) = given(named(json!(["GPU-x"]))).await.unwrap_err();
    assert!(message.contains("no free gpu where id==GPU-x"), "{message}");
    let (status, message) = given(named(json!(["GPU-*"]))).await.unwrap_err();
    assert_eq!(
        (status, message.contains("GPU-*")),
        (400, true),
        "{message}"
    );
    assert!(world.given().await.is_empty());
}

/// What is held is known again from the containers themselves: by a control plane that knows nothing,
/// and already before the first of them was inspected.
#[tokio::test]
async fn devices_stay_held_over_a_restart() {
    let mut world = World::new();
    let first = world.manager().await;
    first.create(gpus(2)).await.unwrap();
    first.plane.stop().await;
    for listed_only in [false, true] {
        world.listed_only = listed_only;
        let second = world.manager().await;
        let id = second.create(gpus(1)).await.unwrap();
        let all = [
            "sim-000 gpu GPU-a",
            "sim-000 gpu GPU-b",
            "sim-001 gpu GPU-c",
        ];
        assert_eq!(world.given().await, all);
        let (_, message) = second.create(gpus(1)).await.unwrap_err();
        assert!(message.contains("no free gpu"), "{message}");
        second.plane.stop().await;
        // Past the manager, which may not know it yet where it can't look at it.
        let engine = world.engines.engine("sim-001").unwrap();
        let id = id.parse().unwrap();
        engine.remove(&id, RemoveOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_label_that_lies_holds_no_device() {
    let world = World::new();
    let many: Vec<String> = (0..5_000).map(|number| format!("gpu={number}")).collect();
    let lies = ["gpu=GPU-a,gpu=GPU-b", "gpu=*", "", &many.join(",")];
    for lie in lies {
        for engine in world.engines.engines() {
            let spec = WorkloadSpec::new("busybox").with_label("longshore.devices", lie);
            engine.create(&spec).await.unwrap();
        }
    }
    let manager = world.manager().await;
    manager.create(gpus(2)).await.unwrap();
    assert_eq!(
        world.given().await,
        ["sim-000 gpu GPU-a", "sim-000 gpu GPU-b"]
    );
}

#[tokio::test]
async fn a_device_that_is_used_past_the_control_plane_is_not_given_out() {
    let world = World::new();
    let mut spec = WorkloadSpec::new("busybox");
    spec.devices = vec![DeviceId::new("gpu", "GPU-a")];
    let engine = world.engines.engine("sim-000").unwrap();
    let id = engine.create(&spec).await.unwrap();
    let manager = world.manager().await;
    let (_, message) = manager.create(gpus(2)).await.unwrap_err();
    assert!(message.contains("fewer than 2 free gpus"), "{message}");
    engine.remove(&id, RemoveOptions::default()).await.unwrap();
    until("it is free again", async || {
        manager.create(gpus(2)).await.is_ok()
    })
    .await;
}

/// What the engine answers is passed on, and nothing stays held.
#[tokio::test]
async fn an_engine_s_refusal_is_passed_on_and_gives_the_device_back() {
    let world = World::new();
    let manager = world.manager().await;
    let fpga = json!({"Count": 1, "Capabilities": [["fpga"]]});
    for _ in 0..3 {
        let (status, message) = manager.create(fpga.clone()).await.unwrap_err();
        assert_eq!(status, 500);
        assert_eq!(
            message,
            "could not select device driver \"\" with capabilities: [[fpga]]"
        );
    }
}

#[tokio::test]
async fn a_node_s_devices_are_shown_with_their_attributes() {
    let world = World::new();
    let manager = world.manager().await;
    let (_, nodes) = manager
        .call(Method::GET, "/longshore/v1/nodes", Value::Null)
        .await;
    assert_eq!(
        nodes[2]["devices"],
        json!([{
            "id": {"kind": "fpga", "name": "F-1"},
            "attributes": {"id": "F-1", "size": "large", "vendor": "unknown"},
        }])
    );
    let body = json!({"Image": "a", "HostConfig": {"DeviceRequests": [gpus(4)]}});
    let (_, why) = manager
        .call(Method::POST, "/longshore/v1/explain", body)
        .await;
    let reasons = why["nodes"].to_string();
    assert!(reasons.contains("needs 4 gpu, 2 free"), "{why}");
    let body = json!({"Image": "a", "HostConfig": {"DeviceRequests": [gpus(4)]}});
    let without = "/longshore/v1/explain?without=devices";
    let (_, why) = manager.call(Method::POST, without, body).await;
    assert_eq!(why["refusal"], Value::Null, "{why}");
}

fn stack(replicas: u32, devices: &str) -> StackSpec {
    let web = ServiceSpec::new("web".parse().unwrap(), WorkloadSpec::new("busybox"));
    let web = web
        .with_replicas(replicas)
        .with_devices(devices.parse().unwrap());
    StackSpec::new("shop".parse().unwrap(), vec![web])
}

#[tokio::test]
async fn instances_of_a_stack_have_devices_of_their_own_over_a_restart() {
    let mut world = World::new();
    let first = world.manager().await;
    first.plane.deploy(stack(3, "gpu")).await.unwrap();
    let all = [
        "sim-000 gpu GPU-a",
        "sim-000 gpu GPU-b",
        "sim-001 gpu GPU-c",
    ];
    until("all have theirs", async || world.given().await == all).await;
    first.plane.stop().await;
    for listed_only in [false, true] {
        world.listed_only = listed_only;
        let second = world.manager().await;
        let (_, message) = second.create(gpus(1)).await.unwrap_err();
        assert!(message.contains("no free gpu"), "{message}");
        second.plane.deploy(stack(4, "gpu")).await.unwrap();
        let note = || {
            let status = second.plane.stack_status("shop").unwrap();
            status.services[0].instances[3].note.clone()
        };
        until("it waits", async || note().contains("no free gpu")).await;
        assert_eq!(world.given().await, all, "nobody lost what he has");
        second.plane.stop().await;
    }
    let names: BTreeSet<String> = world.given().await.into_iter().collect();
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn all_services_of_a_stack_together_have_no_more_devices_than_there_are() {
    let world = World::new();
    let manager = world.manager().await;
    let service = |name: &str, replicas, devices: &[&str]| {
        let spec = ServiceSpec::new(name.parse().unwrap(), WorkloadSpec::new("busybox"));
        let devices = devices.iter().map(|text| text.parse().unwrap());
        devices.fold(spec.with_replicas(replicas), ServiceSpec::with_devices)
    };
    // Six GPUs in all, of which there are three; and a TPU beside one of them.
    let one = service("one", 2, &["gpu"]);
    let both = service("both", 1, &["gpu", "tpu"]);
    let pair = service("pair", 1, &["gpu", "gpu"]);
    let stack = StackSpec::new("shop".parse().unwrap(), vec![one, both, pair]);
    manager.plane.deploy(stack).await.unwrap();
    let waiting = || {
        let status = manager.plane.stack_status("shop").unwrap();
        let instances = status.services.into_iter().flat_map(|it| it.instances);
        instances.filter(|it| it.note.contains("free")).count()
    };
    let settled = async || {
        let names: BTreeSet<String> = world.given().await.into_iter().collect();
        assert_eq!(names.len(), world.given().await.len(), "none twice");
        waiting() > 0 && waiting() == manager.plane.pending().len()
    };
    until("some have theirs and the others wait", settled).await;
    let given = world.given().await;
    let gpus = given
        .iter()
        .filter(|device| device.contains(" gpu "))
        .count();
    assert!((2..=3).contains(&gpus), "{given:?}");
    // With fewer who ask, the others have theirs.
    let both = service("both", 1, &["gpu", "tpu"]);
    let stack = StackSpec::new("shop".parse().unwrap(), vec![both]);
    manager.plane.deploy(stack).await.unwrap();
    let left = ["gpu", "tpu 0"];
    until("who stays has his", async || {
        let given = world.given().await;
        given.len() == 2
            && left
                .iter()
                .all(|kind| given.iter().any(|it| it.contains(kind)))
    })
    .await;
    assert!(manager.plane.pending().is_empty());
}

#[tokio::test]
async fn a_stack_s_template_names_no_devices() {
    let world = World::new();
    let manager = world.manager().await;
    let mut stack = stack(1, "gpu");
    stack.services[0].template.devices = vec![DeviceId::new("gpu", "GPU-a")];
    let error = manager.plane.deploy(stack).await.unwrap_err();
    assert!(
        error.to_string().contains("under its own devices"),
        "{error}"
    );
}
