//! Nodes and clients that mean harm.

use std::time::Duration;

use longshore_core::NodeHealth;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, Setup};

/// `a` is on the first node, `b` on the second.
async fn two() -> Cluster {
    let cluster = Cluster::new().await;
    for (name, node) in [("a", "node-1"), ("b", "node-2")] {
        let body = json!({"Env": [format!("constraint:node=={node}")]});
        cluster.client().create(name, body).await;
    }
    cluster
}

#[tokio::test]
async fn a_node_gets_no_session_that_is_meant_for_another() {
    let cluster = two().await;
    let client = cluster.client();
    let exec = json!({"Cmd": ["sh"]});
    client
        .post("/containers/a/exec", exec.clone())
        .await
        .ok(201);
    cluster.daemons[1].state().exec_id = Some("exec-node-1".to_owned());
    client.post("/containers/b/exec", exec.clone()).await.fails(
        502,
        "the answer of node node-2 is wrong: it gives the exec instance an id that another node's \
         has",
        "protocol",
    );
    let detach = json!({"Detach": true});
    let start = "/exec/exec-node-1/start";
    client.post(start, detach).await.ok(200);
    assert_eq!(cluster.daemons[0].asked(start), 1);
    assert_eq!(cluster.daemons[1].asked(start), 0);
    cluster.daemons[1].state().exec_id = Some("a/../b".to_owned());
    client.post("/containers/b/exec", exec).await.fails(
        502,
        "the answer of node node-2 is wrong: it gives the exec instance a malformed id",
        "protocol",
    );
}

#[tokio::test]
async fn an_exec_that_two_nodes_claim_is_nobody_s() {
    let cluster = two().await;
    cluster.daemons[1].state().exec_id = Some("exec-node-1".to_owned());
    cluster.client().get("/exec/exec-node-1/json").await.fails(
        409,
        "Exec exec-node-1 is claimed by several nodes: node-1, node-2",
        "ambiguous",
    );
}

#[tokio::test]
async fn a_node_can_only_claim_execs_of_its_own_containers() {
    let cluster = two().await;
    let foreign = cluster.daemons[0].add(
        "unseen",
        json!({"Image": "busybox"}),
        longshore_core::Timestamp::ZERO,
    );
    let node = cluster.daemons[1].clone();
    node.state().exec_id = Some("exec-x".to_owned());
    // It knows of no container but one that is another node's.
    let own: Vec<String> = node.state().containers.keys().cloned().collect();
    let container = cluster.daemons[0].state().containers[&foreign].clone();
    node.state().containers.insert(foreign, container);
    for id in own {
        node.state().containers.remove(&id);
    }
    cluster.client().get("/exec/exec-x/json").await.fails(
        404,
        "Exec exec-x not found",
        "not-found",
    );
}

#[tokio::test]
async fn an_answer_carries_nothing_for_browsers_and_no_other_protocol() {
    let cluster = two().await;
    let client = cluster.client();
    let answers = |status, headers: &[(&str, &str)]| {
        let headers = headers
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        cluster.daemons[0].state().odd = Some((status, headers.collect()));
    };
    answers(
        200,
        &[
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("location", "http://evil.example"),
            ("refresh", "0; url=http://evil.example"),
            ("content-type", "application/x-own"),
            ("x-docker-own", "1"),
        ],
    );
    let answer = client.get("/containers/a/changes").await.ok(200);
    let names: Vec<&str> = answer
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    for gone in ["set-cookie", "location", "refresh"] {
        assert!(!names.contains(&gone), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.starts_with("access-control")));
    assert_eq!(answer.headers["content-type"], "application/x-own");
    assert_eq!(answer.headers["x-docker-own"], "1");

    answers(302, &[("location", "http://evil.example")]);
    client.get("/containers/a/changes").await.ok(502);
    answers(101, &[("connection", "upgrade"), ("upgrade", "tcp")]);
    client.get("/containers/a/changes").await.fails(
        502,
        "node node-1 switched protocols without being asked",
        "protocol",
    );
    answers(304, &[]);
    client.get("/containers/a/changes").await.ok(304);
}

#[tokio::test]
async fn provisional_answers_have_an_end() {
    let cluster = Cluster::new().await;
    let at = longshore_core::Timestamp::ZERO;
    cluster.daemons[0].add("web", json!({"Image": "busybox"}), at);
    let node = "ID-node-1".parse().unwrap();
    cluster.plane.refresh_node(&node).await.unwrap();
    cluster.daemons[0].state().babbles = true;
    let answer = cluster.client().get("/containers/web/logs").await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let text = "more than 64 provisional answers came before the answer";
    assert!(answer.text.contains(text), "{answer:?}");
}

#[tokio::test]
async fn an_upload_that_stops_gives_its_place_up() {
    let mut setup = Setup::default();
    setup.endpoint = setup
        .endpoint
        .with_body_idle_limit(Duration::from_millis(100));
    let cluster = Cluster::with(setup).await;
    let client = cluster.client();
    client.create("web", json!({})).await;
    for line in [
        "POST /images/load",
        "PUT /containers/web/archive?path=/",
        "POST /containers/web/exec",
    ] {
        let mut stream = cluster.raw().await;
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut seen = String::new();
        stream.read_to_string(&mut seen).await.unwrap();
        assert!(seen.starts_with("HTTP/1.1 408 "), "{line}: {seen}");
        assert!(seen.contains("\"reason\":\"timeout\""), "{line}: {seen}");
    }
    // It was not the nodes' fault.
    let nodes = cluster.plane.nodes();
    assert!(nodes.iter().all(|node| node.health == NodeHealth::Healthy));
    assert!(nodes.iter().all(|node| node.error.is_none()), "{nodes:?}");
    client
        .post("/containers/web/start", Value::Null)
        .await
        .ok(204);
}

fn is_plain(text: &str) -> bool {
    !text
        .chars()
        .any(|character| character.is_control() && character != '\n')
}

fn texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            out.push(key.clone());
            texts(value, out);
        }),
        _ => {}
    }
}

#[tokio::test]
async fn a_node_s_texts_command_no_terminal() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let node = &cluster.daemons[0];
    let loud = "\u{1b}[2J\u{7}\r";
    let config = json!({"Image": loud, "Labels": {loud: loud}});
    let at = longshore_core::Timestamp::ZERO;
    let id = node.add(&format!("bad{loud}"), config, at);
    let name = "ID-node-1".parse().unwrap();
    cluster.plane.refresh_node(&name).await.unwrap();
    node.tell(&id, longshore_core::EventAction::Rename);
    node.state().refusals = vec![(409, format!("no{loud}\nnode-2: fine"))];

    let list = client.get("/containers/json?all=1").await.ok(200).json();
    assert_eq!(list[0]["Names"], json!(["/node-1/bad�[2J��"]));
    let events = client.get("/events?since=0&until=1").await.ok(200);
    let refused = client
        .post(
            "/containers/create?name=x",
            json!({"Image": "busybox", "Env": ["constraint:node==node-1"]}),
        )
        .await
        .ok(409)
        .json();
    assert_eq!(refused["message"], "no�[2J�  node-2: fine");
    let mut all = Vec::new();
    for value in [list, refused] {
        texts(&value, &mut all);
    }
    for line in events.text.lines() {
        texts(&serde_json::from_str(line).unwrap(), &mut all);
    }
    assert!(all.iter().all(|text| is_plain(text)), "{all:?}");
    // What is about one container comes as its engine gave it.
    let exact = client.get(&format!("/containers/{id}/json")).await.ok(200);
    assert_eq!(exact.json()["Name"], format!("/bad{loud}"));
}

#[tokio::test]
async fn labels_lead_nobody_to_another_container() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client
        .create("db", json!({"Labels": {"team": "blue"}}))
        .await;
    let forged = json!({"Labels": {"com.docker.swarm.id": "db"}});
    client.create("evil", forged).await;
    let seen = client.get("/containers/db/json").await.ok(200).json();
    assert_eq!(seen["Id"], id.as_str());
    let stack = json!({"Image": "busybox", "Labels": {"longshore.stack": "shop"}});
    for path in ["/containers/create", "/longshore/v1/explain"] {
        client.post(path, stack.clone()).await.fails(
            400,
            "label longshore.stack is the control plane's own and can't be given",
            "invalid-input",
        );
    }
    let exec = json!({"Cmd": ["ls"], "cmd": ["rm"]});
    client.post("/containers/db/exec", exec).await.fails(
        400,
        "invalid JSON: the field \"cmd\" is to be written \"Cmd\"",
        "invalid-input",
    );
}
