//! The Docker engine against a real daemon: `LONGSHORE_TEST_DOCKER=unix:///…`, with an image of
//! busybox named by `LONGSHORE_TEST_IMAGE` (default `busybox:lab`).

#![cfg(feature = "docker")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail this way, and says what it skips"
)]

use std::sync::Arc;

use longshore_core::{Connector, Engine, SystemClock, testkit};
use longshore_engine::{ConnectOptions, DockerEngine, ServiceConnector, connect};

struct Docker {
    engine: Arc<DockerEngine>,
}

impl testkit::engine::Harness for Docker {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine) as Arc<dyn Engine>
    }

    fn image(&self) -> String {
        image()
    }

    /// With Docker's default log driver.
    fn keeps_any_byte_in_logs(&self) -> bool {
        false
    }

    fn missing_image(&self) -> Option<String> {
        Some("longshore/no-such-image:1".to_owned())
    }
}

fn image() -> String {
    std::env::var("LONGSHORE_TEST_IMAGE").unwrap_or_else(|_| "busybox:lab".to_owned())
}

fn socket() -> Option<Arc<dyn Connector>> {
    let Ok(url) = std::env::var("LONGSHORE_TEST_DOCKER") else {
        println!(
            "SKIPPED docker engine: LONGSHORE_TEST_DOCKER is not set (unix:///path of a Docker \
             socket whose engine holds the image {})",
            image()
        );
        return None;
    };
    Some(connect(&url, &ConnectOptions::new()).expect("LONGSHORE_TEST_DOCKER is an address"))
}

fn engine(connector: Arc<dyn Connector>) -> Arc<DockerEngine> {
    let engine = DockerEngine::new(connector, Arc::new(SystemClock::new()));
    Arc::new(engine.expect("a client"))
}

fn direct() -> Option<Docker> {
    let engine = engine(socket()?);
    Some(Docker { engine })
}

/// As a tunnel would: every stream is an in-memory pipe that a task pumps to the daemon.
fn pumped() -> Option<Docker> {
    let socket = socket()?;
    let pump = ServiceConnector::new("pump", move |mut near| {
        let socket = Arc::clone(&socket);
        async move {
            let mut far = socket.connect().await.expect("the daemon's socket");
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        }
    });
    let engine = engine(Arc::new(pump));
    Some(Docker { engine })
}

/// Over the daemon's own socket.
mod over_the_socket {
    use super::*;

    longshore_core::engine_suite!(
        live,
        match direct() {
            Some(docker) => docker,
            None => return,
        }
    );
}

/// Over in-memory streams.
mod over_a_pump {
    use super::*;

    longshore_core::engine_suite!(
        live,
        match pumped() {
            Some(docker) => docker,
            None => return,
        }
    );
}

mod beyond_the_suite {
    use futures::{StreamExt, TryStreamExt};
    use longshore_core::{
        Bytes, ErrorKind, HostPort, ListFilter, LogOptions, MilliCpu, OutputKind, PortBinding,
        PortProtocol, PullOptions, RemoveOptions, Resources, WorkloadId, WorkloadSpec,
    };

    use super::*;

    async fn run(docker: &Docker, spec: WorkloadSpec) -> WorkloadId {
        let id = docker.engine.create(&spec).await.unwrap();
        docker.engine.start(&id).await.unwrap();
        id
    }

    async fn remove(docker: &Docker, id: &WorkloadId) {
        let force = RemoveOptions::default().with_force();
        docker.engine.remove(id, force).await.unwrap();
    }

    fn spec(script: &str) -> WorkloadSpec {
        WorkloadSpec::new(image()).with_command(["sh", "-c", script])
    }

    /// bollard's decoder takes a first byte of 0, 1 or 2 for the head of a frame.
    #[tokio::test]
    async fn a_terminals_log_that_begins_with_nul_is_byte_exact() {
        let Some(docker) = direct() else { return };
        let id = run(
            &docker,
            spec(r"printf '\0\0\0\0\177\1\2NUL-first'").with_tty(),
        )
        .await;
        docker.engine.wait(&id).await.unwrap();
        let log = docker.engine.logs(&id, &LogOptions::default()).await;
        let chunks: Vec<_> = log.unwrap().try_collect().await.unwrap();
        assert!(chunks.iter().all(|chunk| chunk.kind == OutputKind::Stdout));
        let bytes: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| chunk.bytes.to_vec())
            .collect();
        assert_eq!(bytes, b"\0\0\0\0\x7f\x01\x02NUL-first");
        remove(&docker, &id).await;
    }

    #[tokio::test]
    async fn a_large_log_comes_whole() {
        let Some(docker) = direct() else { return };
        let id = run(&docker, spec("head -c 4000000 /dev/zero | tr '\\0' x")).await;
        docker.engine.wait(&id).await.unwrap();
        let log = docker
            .engine
            .logs(&id, &LogOptions::default())
            .await
            .unwrap();
        let sizes = log.map_ok(|chunk| chunk.bytes.len());
        let total: usize = sizes
            .try_fold(0, |sum, size| std::future::ready(Ok(sum + size)))
            .await
            .unwrap();
        assert_eq!(total, 4_000_000);
        remove(&docker, &id).await;
    }

    #[tokio::test]
    async fn what_was_asked_for_is_what_docker_made() {
        let Some(docker) = direct() else { return };
        let port = PortBinding {
            container_port: 80,
            protocol: PortProtocol::Tcp,
            host: Some(HostPort {
                address: "127.0.0.1".into(),
                port: 0,
                protocol: PortProtocol::Tcp,
            }),
        };
        let asked = spec("sleep 100")
            .with_resources(Resources::new(MilliCpu(500), Bytes::from_mib(64)))
            .with_port(port.clone())
            .with_stdin();
        let id = run(&docker, asked).await;
        let workload = docker.engine.inspect(&id).await.unwrap();
        let detail = workload.detail.unwrap();
        assert_eq!(
            detail.resources,
            Resources::new(MilliCpu(500), Bytes::from_mib(64))
        );
        assert_eq!(detail.requested_ports, [port]);
        assert!(detail.open_stdin && !detail.tty && detail.pid > 0);
        assert_eq!(workload.ports.len(), 1);
        assert!(workload.ports[0].host.as_ref().unwrap().port > 0);

        let listed = docker
            .engine
            .list(&ListFilter::id(id.clone()))
            .await
            .unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].ports, workload.ports);
        let native = listed[0].native.as_ref().unwrap();
        assert_eq!(native["Id"], id.as_str());
        assert!(native["NetworkSettings"]["Networks"].is_object());
        remove(&docker, &id).await;
    }

    #[tokio::test]
    async fn the_engine_describes_itself() {
        let Some(docker) = direct() else { return };
        let info = docker.engine.info().await.unwrap();
        for key in [
            "storagedriver",
            "kernelversion",
            "operatingsystem",
            "ostype",
            "architecture",
        ] {
            assert!(
                info.attributes
                    .get(key)
                    .is_some_and(|value| !value.is_empty()),
                "{key}"
            );
        }
        assert!(!info.api_version.is_empty() && !info.version.is_empty());
        assert!(info.system_time.is_some());
        let images = docker.engine.images().await.unwrap();
        assert!(images.iter().any(|found| found.tags.contains(&image())));
    }

    #[tokio::test]
    async fn events_keep_what_docker_said() {
        let Some(docker) = direct() else { return };
        let mut events = docker.engine.events(None).await.unwrap();
        let id = docker
            .engine
            .create(&spec("true").with_label("k", "v"))
            .await
            .unwrap();
        let event = loop {
            let event = events.next().await.unwrap().unwrap();
            if event.actor == id.as_str() {
                break event;
            }
        };
        assert_eq!(event.attributes["k"], "v");
        assert_eq!(event.native.unwrap()["Action"], "create");
        remove(&docker, &id).await;
    }

    #[tokio::test]
    async fn what_never_started_has_no_false_success() {
        let Some(docker) = direct() else { return };
        let id = docker.engine.create(&spec("true")).await.unwrap();
        assert_eq!(docker.engine.wait(&id).await.unwrap().code, None);
        remove(&docker, &id).await;
    }

    #[tokio::test]
    async fn refusals_keep_dockers_words() {
        let Some(docker) = direct() else { return };
        let missing = WorkloadId::new("feedbeef").unwrap();
        let error = docker.engine.start(&missing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.message(), "No such container: feedbeef");
        assert_eq!(error.operation(), Some("engine.start"));

        let id = docker
            .engine
            .create(&WorkloadSpec::new(image()).with_command(["/no/such"]))
            .await;
        let id = id.unwrap();
        let error = docker.engine.start(&id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.message().contains("/no/such"), "{error}");
        remove(&docker, &id).await;
    }

    #[tokio::test]
    async fn a_pull_that_fails_says_so() {
        let Some(docker) = direct() else { return };
        let pull = docker
            .engine
            .pull("127.0.0.1:1/no/such:1", &PullOptions::default())
            .await;
        let failed = match pull {
            Ok(steps) => steps.try_collect::<Vec<_>>().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(!failed.unwrap_err().message().is_empty());
    }
}
