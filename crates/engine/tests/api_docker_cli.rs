//! The stock `docker` client against the API of the process engine. Every version of the client
//! that this machine has is tried; `script` gives those commands a terminal that want one.

#![cfg(all(feature = "api", feature = "process", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail this way, and says what it skips"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use longshore_core::{OsRandom, Shutdown, SystemClock};
use longshore_engine::{EngineApi, ProcessEngine, ProcessOptions};

/// A client and the engine it talks to.
struct Docker {
    client: PathBuf,
    folder: PathBuf,
}

#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Docker {
    fn command(&self) -> String {
        let (client, folder) = (self.client.display(), self.folder.display());
        format!("{client} --config {folder}/config -H unix://{folder}/engine.sock")
    }

    /// Runs a line of shell in which `docker` is the client.
    fn sh(&self, line: &str) -> Said {
        let line = format!("docker() {{ {} \"$@\"; }}; {line}", self.command());
        self.run(Command::new("timeout").args(["60", "bash", "-c", &line]))
    }

    /// Runs the client on a terminal of this size, with what this line of shell types.
    fn terminal(&self, arguments: &str, size: &str, typed: &str) -> Said {
        let inner = format!("stty {size}; {} {arguments}", self.command());
        let line = format!("(sleep 1; {typed}; sleep 1) | script -qec \"$0\" /dev/null");
        self.run(Command::new("timeout").args(["60", "bash", "-c", &line, &inner]))
    }

    fn run(&self, command: &mut Command) -> Said {
        let output = command.stdin(Stdio::null()).output().unwrap();
        Said {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    #[track_caller]
    fn check(&self, line: &str, out: &str, code: i32) {
        let said = self.sh(line);
        assert_eq!(
            (said.out.as_str(), said.code),
            (out, Some(code)),
            "{line}: {said:?}"
        );
    }

    #[track_caller]
    fn contains(&self, line: &str, part: &str) {
        let said = self.sh(line);
        assert!(
            said.out.contains(part) && said.code == Some(0),
            "{line}: {said:?}"
        );
    }
}

/// Runs a test with each client of this machine; `tools` are needed beside it.
async fn with_clients(tools: &[&str], test: fn(&Docker)) {
    let found = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.exists())
    };
    if let Some(missing) = tools.iter().find(|tool| found(tool).is_none()) {
        println!("SKIPPED docker client: {missing} is not installed");
        return;
    }
    let mut clients: Vec<PathBuf> = ["/usr/local/bin/docker", "/usr/bin/docker"]
        .map(PathBuf::from)
        .into_iter()
        .chain(found("docker"))
        .filter(|client| client.exists())
        .collect();
    clients.sort();
    clients.dedup();
    if clients.is_empty() {
        println!("SKIPPED docker client: docker is not installed (Debian: docker.io)");
    }
    for client in clients {
        let folder = tempfile::tempdir().unwrap();
        let (engine, shutdown) = serve(folder.path()).await;
        let docker = Docker {
            client,
            folder: folder.path().to_owned(),
        };
        let tested = tokio::task::spawn_blocking(move || test(&docker)).await;
        shutdown
            .finish(&SystemClock::new(), Duration::from_secs(5))
            .await;
        engine.shutdown(Duration::ZERO).await.unwrap();
        tested.unwrap();
    }
}

async fn serve(folder: &Path) -> (Arc<ProcessEngine>, Shutdown) {
    let clock = Arc::new(SystemClock::new());
    let random = Arc::new(OsRandom);
    let options = ProcessOptions::default();
    let engine = ProcessEngine::new(options, clock.clone(), random.clone()).unwrap();
    let api = EngineApi::new(engine.clone(), engine.clone(), clock, random);
    let shutdown = Shutdown::new();
    let socket = folder.join("engine.sock");
    api.serve_unix(&socket, &shutdown).await.unwrap();
    (engine, shutdown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_programs_and_passes_their_codes_on() {
    with_clients(&["timeout", "bash"], |docker| {
        docker.check("docker run --rm host echo hello", "hello\n", 0);
        let said = docker.sh("docker run --rm host sh -c 'echo out; echo err >&2; exit 7'");
        assert_eq!((said.out.as_str(), said.err.as_str()), ("out\n", "err\n"));
        assert_eq!(said.code, Some(7));
        docker.check("echo input | docker run -i --rm host cat", "input\n", 0);
        docker.check(
            "head -c 3000000 /dev/zero | docker run -i --rm host wc -c",
            "3000000\n",
            0,
        );
        docker.check("docker ps -aq", "", 0);
        docker.check(
            "docker create --name c host echo made >/dev/null; docker start -a c",
            "made\n",
            0,
        );
        docker.check("docker rm c", "c\n", 0);
        let said = docker.sh("docker run nope x");
        assert_eq!(said.code, Some(125));
        assert!(
            said.err.contains("runs only the image \"host\""),
            "{said:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_looks_at_what_runs() {
    with_clients(&["timeout", "bash"], |docker| {
        let script = "trap \"exit 3\" TERM; echo tick; while :; do sleep 1 & wait $!; done";
        docker.sh(&format!("docker run -d --name web --label a=b host sh -c '{script}'"));
        docker.check("docker ps --format '{{.Names}} {{.Image}}'", "web host\n", 0);
        docker.check("docker ps -q --filter label=a=c", "", 0);
        docker.contains("docker ps", "Up ");
        docker.check("docker logs web", "tick\n", 0);
        docker.check("timeout 2 bash -c \"$(declare -f docker); docker logs -f web\"", "tick\n", 124);
        docker.check("docker inspect -f '{{.State.Status}} {{.Config.Image}}' web", "running host\n", 0);
        docker.contains("docker top web", "sh -c trap");
        docker.contains("docker top web -o pid,comm", "COMMAND");
        docker.contains("docker stats --no-stream", "web");
        docker.contains("docker images", "host");
        docker.contains("docker version", "longshore");
        docker.contains("docker info", "Containers: 1");
        docker.check("docker network ls -q; docker volume ls -q", "", 0);
        docker.check("docker rename web www; docker ps --format '{{.Names}}'", "www\n", 0);
        docker.check("(sleep 0.5; docker stop www >/dev/null) & docker wait www", "3\n", 0);
        docker.contains("docker ps -a", "Exited (3)");
        docker.check("docker restart -t 1 www", "www\n", 0);
        let said = docker.sh("docker rm www");
        assert_eq!(said.code, Some(1), "it runs: {said:?}");
        docker.check("docker kill -s USR1 www; docker wait www; docker rm www", "www\n138\nwww\n", 0);
        let said = docker.sh("sleep 1; docker events --since 1h --until 0s --filter event=die --format '{{.Actor.Attributes.exitCode}}'");
        assert_eq!(said.out, "3\n138\n", "{said:?}");
        let said = docker.sh("docker inspect gone");
        assert_eq!(said.code, Some(1));
        let said = docker.sh("docker cp /etc/hostname www:/x");
        assert!(said.err.contains("not offered by this engine"), "{said:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gets_in() {
    with_clients(&["timeout", "bash", "script", "stty"], |docker| {
        docker.sh("docker run -dit --name box host bash --norc");
        docker.check("docker exec box sh -c 'echo in; exit 5'", "in\n", 5);
        docker.check("echo abc | docker exec -i box wc -c", "4\n", 0);
        docker.check("docker exec -d box true", "", 0);
        let said = docker.sh("docker exec box /no/such");
        assert!(matches!(said.code, Some(126 | 127)), "{said:?}");
        assert!(said.out.contains("/no/such"), "{said:?}");

        let said = docker.terminal(
            "exec -it box bash --norc",
            "rows 33 cols 111",
            "printf 'stty size; exit 9\\n'",
        );
        assert!(said.out.contains("33 111"), "{said:?}");
        assert_eq!(said.code, Some(9));
        let said = docker.terminal(
            "run -it --rm host bash --norc",
            "rows 22 cols 99",
            "printf 'stty size; exit 4\\n'",
        );
        assert!(said.out.contains("22 99"), "{said:?}");
        assert_eq!(said.code, Some(4));
        // Detaching leaves it running.
        let said = docker.terminal(
            "attach box",
            "rows 24 cols 80",
            "printf 'echo in-$((40 + 2))\\n'; sleep 0.5; printf '\\020\\021'",
        );
        assert!(said.out.contains("in-42"), "{said:?}");
        docker.check(
            "docker inspect -f '{{.State.Running}}' box; docker rm -f box",
            "true\nbox\n",
            0,
        );
    })
    .await;
}
