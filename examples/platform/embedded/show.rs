//! What the embedded platform shows of itself.

use std::{sync::Arc, time::Duration};

use comfy_table::{Table, presets};
use futures::StreamExt;
use longshore::{
    ExecBackend, ExecSession,
    control::{InstanceStatus, StackStatus},
    core::{
        ErrorKind, ExecRequest,
        http::{HttpClient, empty_body, read_body},
    },
    engine::TcpConnector,
    exec::DockerExec,
};

use super::{Embedded, STACK};
use crate::{Failure, progress::Step};

pub async fn all(platform: &mut Embedded) -> Result<(), Failure> {
    let step = Step::start("placing a stack: three pages, then a gateway in front of them");
    platform.plane.deploy(platform.stack()?).await?;
    settle(platform, &step).await?;
    step.done("4 of 4 running");
    println!("\n{}\n", placements(&status(platform)?));

    let step = Step::start("asking the gateway for a page");
    let page = page(platform).await?;
    step.done(page.trim_end());

    session(platform).await?;
    lose_a_node(platform).await
}

fn status(platform: &Embedded) -> Result<StackStatus, Failure> {
    Ok(platform.plane.stack_status(STACK)?)
}

/// Waits until every instance runs.
async fn settle(platform: &Embedded, step: &Step) -> Result<(), Failure> {
    let state = |platform: &Embedded| match platform.plane.stack_status(STACK) {
        Ok(status) => (
            status.is_settled(),
            format!("{} of {} running", status.running(), status.wanted()),
        ),
        Err(error) => (false, error.to_string()),
    };
    platform.wait("the stack", Duration::from_secs(60), state, step).await
}

fn placements(status: &StackStatus) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["INSTANCE", "NODE", "STATE", "WHY THERE"]);
    for instance in &status.instances {
        let node = instance.node.as_ref().map_or("-", |node| node.as_str());
        table.add_row([
            instance.name.as_str(),
            node,
            &instance.state.to_string(),
            instance.reason.as_str(),
        ]);
    }
    table
}

/// A request to the gateway, as a browser would send it. It may still be starting.
async fn page(platform: &Embedded) -> Result<String, Failure> {
    let client =
        HttpClient::new(Arc::new(TcpConnector::new(platform.gateway.into())), platform.clock.clone());
    let deadline = platform.clock.now().after(Duration::from_secs(20));
    loop {
        let request = http::Request::get("/").body(empty_body()).expect("a fixed request is valid");
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
        use longshore::core::ClockExt;
        platform.clock.sleep(Duration::from_millis(100)).await;
    }
}

/// A command inside one replica, through its node's tunnel.
async fn session(platform: &Embedded) -> Result<(), Failure> {
    let replica = replica(platform, |_| true)?;
    let step = Step::start(format!("opening a session inside {}", replica.name));
    let container = platform.plane.container(&replica.name)?;
    let node = platform
        .plane
        .node(container.node.as_str())
        .and_then(|node| node.engine)
        .ok_or_else(|| Failure::new("the replica's node is gone"))?;
    let backend = DockerExec::new(node.connector(), platform.clock.clone());
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
        Err(Failure::new(format!("the session said {text:?} and {status}")))
    }
}

/// The first instance of the pages for which something holds.
fn replica(
    platform: &Embedded,
    holds: impl Fn(&InstanceStatus) -> bool,
) -> Result<InstanceStatus, Failure> {
    status(platform)?
        .instances
        .into_iter()
        .find(|instance| instance.service.as_str() == "web" && holds(instance))
        .ok_or_else(|| Failure::new("no replica is there"))
}

/// Ends a node that has a replica, and shows where its work went.
async fn lose_a_node(platform: &mut Embedded) -> Result<(), Failure> {
    let victim = replica(platform, |instance| instance.node.is_some())?;
    let name = victim.node.as_ref().map(ToString::to_string).unwrap_or_default();
    let index = platform
        .nodes
        .iter()
        .position(|node| node.name == name)
        .ok_or_else(|| Failure::new(format!("{name} is none of the three nodes")))?;
    let step = Step::start(format!("losing {name}, and moving its work"));
    platform.nodes.remove(index).stop().await;
    let moved = |platform: &Embedded| match platform.plane.stack_status(STACK) {
        Ok(status) => {
            let left = status
                .instances
                .iter()
                .filter(|instance| instance.node.as_ref().is_some_and(|node| node.as_str() == name))
                .count();
            (
                left == 0 && status.is_settled(),
                format!("{} of {} running, {left} still on {name}", status.running(), status.wanted()),
            )
        }
        Err(error) => (false, error.to_string()),
    };
    platform.wait("the moved work", Duration::from_secs(60), moved, &step).await?;
    step.done("4 of 4 running on the two nodes left");
    println!("\n{}\n", placements(&status(platform)?));
    let step = Step::start("asking the gateway again");
    let page = page(platform).await?;
    step.done(page.trim_end());
    Ok(())
}

pub fn what_to_try(platform: &Embedded) {
    let socket = platform.socket.display();
    let program = std::env::args().next().unwrap_or_else(|| "platform".to_owned());
    let name = match replica(platform, |_| true) {
        Ok(replica) => replica.name.to_string(),
        Err(_) => "CONTAINER".to_owned(),
    };
    println!("\nIt stays up. In another terminal, try:");
    for (command, what) in [
        (format!("docker -H unix://{socket} ps"), "every node's work in one list"),
        (format!("docker -H unix://{socket} info"), "the nodes"),
        (format!("docker -H unix://{socket} exec -it {name} sh"), "get in, through the tunnel"),
        (format!("docker -H unix://{socket} run -d host sleep 600"), "place work of your own"),
        (format!("curl http://{}/", platform.gateway), "a page, from one replica after the other"),
        (format!("{program} exec {name} date"), "get in without Docker"),
        (format!("{program} explain {name}"), "why it is where it is"),
        (format!("{program} explain --image host -e constraint:zone==mars"), "why it can't be placed"),
    ] {
        println!("  {command}\n      {what}");
    }
    println!("Ctrl-C stops everything.");
}
