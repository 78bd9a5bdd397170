//! What the embedded platform shows of itself.

use std::{sync::Arc, time::Duration};

use comfy_table::{Table, presets};
use futures::StreamExt;
use longshore::{
    ExecBackend,
    control::InstanceStatus,
    core::{
        ClockExt, ErrorKind, ExecRequest, OsRandom,
        http::{HttpClient, empty_body, read_body},
    },
    engine::TcpConnector,
    exec::DockerExec,
};

use super::{Embedded, STACK};
use crate::{Failure, progress::Step, say::say};

pub async fn all(platform: &mut Embedded) -> Result<(), Failure> {
    let step = Step::start("placing a stack: three pages, then a gateway in front of them");
    platform.plane.deploy(platform.stack()?).await?;
    settle(platform, &step).await?;
    step.done("4 of 4 running");
    show_placements(platform)?;

    let step = Step::start("asking the gateway for a page");
    let page = page(platform).await?;
    step.done(page.trim_end());

    session(platform).await?;
    lose_a_node(platform).await
}

/// An instance of the stack with its container's name.
struct Instance {
    service: String,
    name: String,
    status: InstanceStatus,
}

impl Instance {
    fn node(&self) -> &str {
        self.status.node_name.as_deref().unwrap_or("-")
    }
}

fn instances(platform: &Embedded) -> Result<Vec<Instance>, Failure> {
    let status = platform.plane.stack_status(STACK)?;
    let with_name = |service: &str, status: InstanceStatus| {
        let container = status
            .workload
            .as_ref()
            .and_then(|id| platform.plane.container(id.as_str()).ok());
        let name = match container {
            Some(container) => container.workload.name().to_owned(),
            None => format!("{STACK}-{service}-{}", status.index),
        };
        Instance {
            service: service.to_owned(),
            name,
            status,
        }
    };
    let services = status.services.into_iter();
    Ok(services
        .flat_map(|service| {
            let name = service.name;
            service
                .instances
                .into_iter()
                .map(move |status| (name.clone(), status))
        })
        .map(|(service, status)| with_name(service.as_str(), status))
        .collect())
}

/// Whether every instance is ready and none is on that node, and how far it is.
fn settled(platform: &Embedded, without: Option<&str>) -> (bool, String) {
    let status = match platform.plane.stack_status(STACK) {
        Ok(status) => status,
        Err(error) => return (false, error.to_string()),
    };
    let instances = || {
        status
            .services
            .iter()
            .flat_map(|service| &service.instances)
    };
    let ready = instances().filter(|instance| instance.ready).count();
    let left = instances()
        .filter(|instance| without.is_some() && instance.node_name.as_deref() == without)
        .count();
    let mut state = format!("{ready} of {} running", instances().count());
    if let Some(name) = without.filter(|_| left > 0) {
        state.push_str(&format!(", {left} still on {name}"));
    }
    (status.is_ready() && left == 0, state)
}

/// Waits until every instance runs.
async fn settle(platform: &Embedded, step: &Step) -> Result<(), Failure> {
    let limit = Duration::from_secs(60);
    platform
        .wait("the stack", limit, |platform| settled(platform, None), step)
        .await
}

fn show_placements(platform: &Embedded) -> Result<(), Failure> {
    let table = placements(&instances(platform)?);
    say(format_args!("\n{table}\n"))
}

fn placements(instances: &[Instance]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["INSTANCE", "NODE", "STATE", "WHY THERE"]);
    for instance in instances {
        let state = match instance.status.state {
            Some(state) => state.to_string(),
            None => instance.status.note.clone(),
        };
        let why = instance.status.placement.as_deref().unwrap_or("");
        table.add_row([instance.name.as_str(), instance.node(), &state, why]);
    }
    table
}

/// A request to the gateway, as a browser would send it. It may still be starting.
async fn page(platform: &Embedded) -> Result<String, Failure> {
    let client = HttpClient::new(
        Arc::new(TcpConnector::new(platform.gateway.into())),
        platform.clock.clone(),
    );
    let deadline = platform.clock.now().after(Duration::from_secs(20));
    loop {
        let request = http::Request::get("/")
            .body(empty_body())
            .expect("a fixed request is valid");
        let answer = match client.send(request).await {
            Ok(response) if response.status().is_success() => {
                let body = read_body(response.into_body(), 4096).await?;
                return Ok(String::from_utf8_lossy(&body).into_owned());
            }
            Ok(response) => format!("status {}", response.status()),
            Err(error) if error.kind() == ErrorKind::Unavailable => error.chain(),
            Err(error) => return Err(error.into()),
        };
        if platform.clock.now() >= deadline {
            return Err(Failure::new(format!("the gateway gives no page: {answer}")));
        }
        platform.clock.sleep(Duration::from_millis(100)).await;
    }
}

/// A command inside one replica, through its node's tunnel.
async fn session(platform: &Embedded) -> Result<(), Failure> {
    let replica = replica(platform)?;
    let step = Step::start(format!("opening a session inside {}", replica.name));
    let container = platform.plane.container(&replica.name)?;
    let node = platform
        .plane
        .node(container.node.as_str())
        .and_then(|node| node.engine)
        .ok_or_else(|| Failure::new("the replica's node is gone"))?;
    let backend = DockerExec::new(node.connector(), platform.clock.clone(), Arc::new(OsRandom));
    let script = "echo \"session of process $$ in $LONGSHORE_INSTANCE on $LONGSHORE_NODE\"";
    let request = ExecRequest::new(container.workload.id.clone(), ["sh", "-c", script]);
    let session = backend.exec(&request).await?;
    let mut output = session.take_output().expect("the output is taken once");
    let mut text = String::new();
    while let Some(piece) = output.next().await {
        text.push_str(&String::from_utf8_lossy(&piece?.bytes));
    }
    let status = session.wait().await?;
    step.done(&format!("{} ({status})", text.trim_end()));
    if text.contains(&replica.name) && status.is_success() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "the session said {text:?} and {status}"
        )))
    }
}

/// The first replica of the pages that is up.
fn replica(platform: &Embedded) -> Result<Instance, Failure> {
    instances(platform)?
        .into_iter()
        .find(|instance| instance.service == "web" && instance.status.ready)
        .ok_or_else(|| Failure::new("no replica is up"))
}

/// Ends a node that has a replica, and shows where its work went.
async fn lose_a_node(platform: &mut Embedded) -> Result<(), Failure> {
    let name = replica(platform)?.node().to_owned();
    let index = platform
        .nodes
        .iter()
        .position(|node| node.name == name)
        .ok_or_else(|| Failure::new(format!("{name} is none of the three nodes")))?;
    let step = Step::start(format!("losing {name}, and moving its work"));
    platform.nodes.remove(index).stop().await;
    let limit = Duration::from_secs(60);
    platform
        .wait(
            "the moved work",
            limit,
            |platform| settled(platform, Some(&name)),
            &step,
        )
        .await?;
    step.done("4 of 4 running on the two nodes left");
    show_placements(platform)?;
    let step = Step::start("asking the gateway again");
    let page = page(platform).await?;
    step.done(page.trim_end());
    Ok(())
}

pub fn what_to_try(platform: &Embedded) -> Result<(), Failure> {
    let socket = platform.socket.display();
    // Whole, so that it can be copied into a terminal that is in another folder.
    let program = match std::env::current_exe() {
        Ok(program) => program.display().to_string(),
        Err(_) => "platform".to_owned(),
    };
    let name = match replica(platform) {
        Ok(replica) => replica.name,
        Err(_) => "CONTAINER".to_owned(),
    };
    say("\nIt stays up. In another terminal, try:")?;
    for (command, what) in [
        (
            format!("docker -H unix://{socket} ps"),
            "every node's work in one list",
        ),
        (format!("docker -H unix://{socket} info"), "the nodes"),
        (
            format!("docker -H unix://{socket} exec -it {name} sh"),
            "get in, through the tunnel",
        ),
        (
            format!("docker -H unix://{socket} run -d host sleep 600"),
            "place work of your own",
        ),
        (
            format!("curl http://{}/", platform.gateway),
            "a page, from one replica after the other",
        ),
        (
            format!("{program} enter {name}"),
            "get in without Docker; ~. leaves",
        ),
        (format!("{program} explain {name}"), "why it is where it is"),
        (
            format!("{program} explain --image host -e constraint:zone==mars"),
            "why it can't be placed",
        ),
    ] {
        say(format_args!("  {command}\n      {what}"))?;
    }
    say("Ctrl-C stops everything, and once more at once.")
}
