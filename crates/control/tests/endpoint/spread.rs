//! Images, networks and volumes: what concerns many nodes at a time.

use http::Request;
use longshore_core::http::full_body;
use serde_json::{Value, json};

use crate::cluster::Cluster;

async fn refresh(cluster: &Cluster) {
    for node in ["ID-node-1", "ID-node-2"] {
        cluster
            .plane
            .refresh_node(&node.parse().unwrap())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn images_are_the_union_of_all_nodes() {
    let cluster = Cluster::new().await;
    cluster.daemons[1].give_image("only-on-two:1");
    refresh(&cluster).await;
    let client = cluster.client();
    let list = client.get("/images/json").await.ok(200).json();
    let tags: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["RepoTags"][0].as_str().unwrap())
        .collect();
    assert_eq!(tags, ["busybox:latest", "only-on-two:1"]);
    let found = client.get("/images/only-on-two/json").await.ok(200).json();
    assert_eq!(found["By"], "node-2");
    client
        .get("/images/none/json")
        .await
        .fails(404, "No such image: none", "not-found");
    client
        .delete("/images/none")
        .await
        .fails(404, "No such image none", "not-found");
    client
        .get("/images/get?names=busybox&names=none")
        .await
        .fails(
            404,
            "Unable to find a healthy engine containing all images: [busybox none]",
            "not-found",
        );
    client
        .get("/images/viz")
        .await
        .fails(501, "Not supported in clustering mode.", "unsupported");
    client
        .get("/images/json?filters=%7B%22before%22%3A%5B%22x%22%5D%7D")
        .await
        .fails(
            400,
            "Invalid filter: 'before'='x': no such image found: 'x'",
            "invalid-input",
        );
}

#[tokio::test]
async fn a_pull_reaches_every_node_and_says_how_each_fared() {
    let cluster = Cluster::new().await;
    cluster.daemons[0].state().registry.push("app:2".into());
    let client = cluster.client();
    let answer = client
        .post("/images/create?fromImage=app&tag=2", Value::Null)
        .await
        .ok(200);
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.contains(&json!({"id": "node-1", "status": "Pulling app:2... : downloaded"})));
    let failed = json!({"id": "node-2", "status": "Pulling app:2... : no registry for app:2"});
    assert!(lines.contains(&failed));
    let last = lines.last().unwrap();
    assert_eq!(
        last["errorDetail"]["message"],
        "node-2: no registry for app:2"
    );
    cluster.daemons[1].state().registry.push("app:2".into());
    let answer = client
        .post("/images/create?fromImage=app&tag=2", Value::Null)
        .await
        .ok(200);
    assert!(!answer.text.contains("error"), "{}", answer.text);
}

#[tokio::test]
async fn a_load_reaches_every_node_though_one_fails() {
    let cluster = Cluster::new().await;
    let upload = |size: usize| {
        Request::post("/images/load?quiet=1")
            .header("content-type", "application/x-tar")
            .body(full_body(vec![1u8; size]))
            .unwrap()
    };
    let client = cluster.client();
    let answer = client.send(upload(3 << 20)).await.ok(200);
    assert_eq!(answer.text.lines().count(), 2, "{}", answer.text);
    for daemon in &cluster.daemons {
        assert!(daemon.has_image(&format!("loaded:{}", 3 << 20)));
    }
    cluster.daemons[1].state().down = true;
    let answer = client.send(upload(1 << 20)).await.ok(200);
    assert!(cluster.daemons[0].has_image(&format!("loaded:{}", 1 << 20)));
    assert!(answer.text.contains("errorDetail"), "{}", answer.text);
}

#[tokio::test]
async fn a_partial_success_is_told() {
    let cluster = Cluster::new().await;
    for daemon in &cluster.daemons {
        daemon.give_image("stuck:latest");
    }
    refresh(&cluster).await;
    cluster.client().delete("/images/stuck").await.fails(
        409,
        "node-2: image is in use\ndone on: node-1",
        "conflict",
    );
}

#[tokio::test]
async fn local_networks_are_shown_with_their_node() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let list = client.get("/networks").await.ok(200).json();
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|network| network["Name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 6);
    assert!(names.contains(&"node-2/bridge"));
    let custom = client
        .get("/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D")
        .await;
    assert_eq!(custom.json(), json!([]));
    client
        .get("/networks?filters=%7B%22type%22%3A%5B%22x%22%5D%7D")
        .await
        .fails(400, "Invalid filter: 'type'='x'", "invalid-input");
    let both = "%7B%22type%22%3A%5B%22custom%22%2C%22builtin%22%5D%7D";
    let list = client
        .get(&format!("/networks?filters={both}"))
        .await
        .json();
    assert_eq!(list.as_array().unwrap().len(), 6, "several values mean or");
    let ambiguous = client.get("/networks/bridge").await.ok(409).json();
    assert_eq!(
        ambiguous["candidates"],
        json!(["node-1/bridge", "node-2/bridge"])
    );
    client.get("/networks/node-2/bridge").await.ok(200);
    client
        .get("/networks/none-such")
        .await
        .fails(404, "No such network: none-such", "not-found");
    client
        .delete("/networks/none-such")
        .await
        .fails(404, "No such network none-such", "not-found");
}

#[tokio::test]
async fn a_compose_network_works_on_every_node() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    // As compose asks: no driver. Overlay is impossible here, so it becomes a bridge.
    let made = client
        .post(
            "/networks/create",
            json!({"Name": "shop_default", "Driver": null, "CheckDuplicate": true,
                "Labels": {"com.docker.compose.project": "shop"}}),
        )
        .await
        .ok(201)
        .json();
    let network = client.get("/networks/shop_default").await.ok(200).json();
    assert_eq!(network["Id"], made["Id"]);
    assert_eq!(network["Driver"], "bridge");
    let body = json!({"Image": "busybox", "HostConfig": {"NetworkMode": "shop_default"}});
    // Containers of a local network come together …
    for name in ["a", "b"] {
        let answer = client
            .post(&format!("/containers/create?name={name}"), body.clone())
            .await
            .ok(201)
            .json();
        assert_eq!(answer["Warnings"], json!(["from the engine"]));
    }
    assert_eq!(cluster.daemons[0].state().containers.len(), 2);
    // … unless told otherwise: then the node gets the network, and the user a warning.
    let mut elsewhere = body;
    elsewhere["Env"] = json!(["constraint:node==node-2"]);
    let answer = client
        .post("/containers/create?name=c", elsewhere)
        .await
        .ok(201)
        .json();
    assert_eq!(
        answer["Warnings"][1],
        "network shop_default is local to each node: on node node-2 it does not reach the \
         containers on node node-1"
    );
    // Both are one network by name, until it is removed.
    client.get("/networks/shop_default").await.ok(200);
    let c = client.get("/containers/c/json").await.json();
    client
        .post("/networks/shop_default/connect", json!({"Container": "c"}))
        .await
        .ok(200);
    let connected = cluster.daemons[1].state().bodies.last().unwrap().clone();
    assert_eq!(connected.0, "connect net-shop_default-node-2");
    assert_eq!(connected.1["Container"], c["Id"]);
    client
        .post("/networks/create", json!({"Name": "shop_default"}))
        .await
        .fails(
            409,
            "network with name shop_default already exists",
            "already-exists",
        );
    client.delete("/networks/shop_default").await.ok(204);
    client.get("/networks/shop_default").await.ok(404);
    client
        .post("/networks/shop_default/connect", json!({}))
        .await
        .fails(400, "Container is not specified", "invalid-input");
}

#[tokio::test]
async fn a_network_may_name_its_node() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client
        .post(
            "/networks/create",
            json!({"Name": "node-2/back", "Driver": "bridge"}),
        )
        .await
        .ok(201);
    client
        .create("a", json!({"HostConfig": {"NetworkMode": "node-2/back"}}))
        .await;
    assert_eq!(cluster.daemons[1].state().containers.len(), 1);
    // It was made for that node only, so a container elsewhere can't have it.
    let body = json!({"Image": "busybox", "Env": ["constraint:node==node-1"],
        "HostConfig": {"NetworkMode": "back"}});
    client
        .post("/containers/create", body)
        .await
        .fails(404, "network back not found", "not-found");
}

#[tokio::test]
async fn an_overlay_network_is_one_for_all() {
    let cluster = Cluster::new().await;
    for daemon in &cluster.daemons {
        daemon.state().overlay = true;
    }
    let client = cluster.client();
    client
        .post("/networks/create", json!({"Name": "wide"}))
        .await
        .ok(201);
    let network = cluster.daemons[0]
        .state()
        .networks
        .iter()
        .find(|network| network["Name"] == "wide")
        .cloned();
    cluster.daemons[1].state().networks.extend(network);
    let list = client.get("/networks").await.json();
    let wide: Vec<&Value> = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|network| network["Name"] == "wide")
        .collect();
    assert_eq!(wide.len(), 1);
    assert_eq!(wide[0]["Driver"], "overlay");
}

#[tokio::test]
async fn volumes_are_made_everywhere_unless_a_node_is_named() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client
        .post("/volumes/create", json!({"Name": "data"}))
        .await
        .ok(201);
    client
        .post("/volumes/create", json!({"Name": "node-2/own"}))
        .await
        .ok(201);
    let list = client.get("/volumes").await.ok(200).json();
    let names: Vec<&str> = list["Volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["Name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["node-1/data", "node-2/data", "node-2/own"]);
    // Made together, they are one by name; compose asks like this before each `up`.
    client.get("/volumes/data").await.ok(200);
    client.get("/volumes/node-2/own").await.ok(200);
    client
        .get("/volumes/nothing")
        .await
        .fails(404, "No such volume: nothing", "not-found");
    client
        .delete("/volumes/nothing")
        .await
        .fails(404, "No such volume nothing", "not-found");
    let mut labels = json!({"Name": "picked"});
    labels["Labels"] = json!({"com.docker.swarm.whitelists": "[\"node==node-1\"]"});
    client.post("/volumes/create", labels).await.ok(201);
    assert_eq!(cluster.daemons[1].state().volumes.len(), 2);
    client.delete("/volumes/data").await.ok(204);
    assert_eq!(cluster.daemons[1].state().volumes.len(), 1);
    client
        .post("/volumes/create", json!({"Name": "nowhere/x"}))
        .await
        .fails(404, "No such node: nowhere", "not-found");
}

#[tokio::test]
async fn volumes_of_one_name_that_differ_are_told_apart() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    for (node, label) in [("node-1", "a"), ("node-2", "b")] {
        let body = json!({"Name": format!("{node}/data"), "Labels": {"kind": label}});
        client.post("/volumes/create", body).await.ok(201);
    }
    let answer = client.get("/volumes/data").await.ok(409).json();
    assert_eq!(answer["candidates"], json!(["node-1/data", "node-2/data"]));
    client.delete("/volumes/node-1/data").await.ok(204);
    client.get("/volumes/data").await.ok(200);
}

#[tokio::test]
async fn prune_sums_up() {
    let cluster = Cluster::new().await;
    let answer = cluster
        .client()
        .post("/containers/prune", Value::Null)
        .await
        .ok(200);
    assert_eq!(
        answer.json(),
        json!({"ContainersDeleted": ["node-1", "node-2"], "SpaceReclaimed": 14})
    );
}
