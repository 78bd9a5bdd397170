use http::Method;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Setup};

#[tokio::test]
async fn ping_announces_the_version_for_negotiation() {
    let cluster = Cluster::new().await;
    for method in [Method::GET, Method::HEAD] {
        let answer = cluster
            .client()
            .call(method.clone(), "/_ping", None)
            .await
            .ok(200);
        assert_eq!(answer.headers["api-version"], "1.40");
        assert_eq!(answer.headers["ostype"], "linux");
        assert_eq!(answer.text, if method == Method::HEAD { "" } else { "OK" });
    }
}

#[tokio::test]
async fn builds_are_refused_in_words_and_have_no_cache() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let pruned = client.post("/v1.40/build/prune", Value::Null).await.ok(200);
    assert_eq!(
        pruned.json(),
        json!({"CachesDeleted": [], "SpaceReclaimed": 0})
    );
    client.post("/v1.40/build", Value::Null).await.fails(
        501,
        "docker build is not served yet: build elsewhere and load or pull the image",
        "unsupported",
    );
}

#[tokio::test]
async fn version_keeps_the_prefix_that_tools_test_for() {
    let cluster = Cluster::new().await;
    let version = cluster.client().get("/v1.40/version").await.ok(200).json();
    let text = version["Version"].as_str().unwrap();
    assert!(text.starts_with("swarm/1.2.9-longshore-"), "{text}");
    assert_eq!(version["ApiVersion"], "1.40");
    assert_eq!(version["Platform"]["Name"], "Docker Swarm - Community");
}

#[tokio::test]
async fn info_shows_the_cluster_row_by_row() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client.create("web", json!({})).await;
    client
        .post(&format!("/containers/{id}/start"), Value::Null)
        .await
        .ok(204);
    let info = client.get("/info").await.ok(200).json();
    assert_eq!(info["Containers"], 1);
    assert_eq!(info["ContainersRunning"], 1);
    assert_eq!(info["Images"], 1);
    // Two nodes of 4 CPUs and 4 GiB, with 5 % overcommit.
    assert_eq!(info["NCPU"], 8);
    assert_eq!(info["MemTotal"], 2 * ((4u64 << 30) + (4u64 << 30) / 20));
    let rows: Vec<(String, String)> = serde_json::from_value(info["SystemStatus"].clone()).unwrap();
    let keys: Vec<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
    let node = [
        "  └ ID",
        "  └ Status",
        "  └ Containers",
        "  └ Reserved CPUs",
        "  └ Reserved Memory",
        "  └ Labels",
        "  └ UpdatedAt",
        "  └ ServerVersion",
    ];
    let mut expected = vec!["Role", "Strategy", "Filters", "Nodes", " node-1"];
    expected.extend(node);
    expected.push(" node-2");
    expected.extend(node);
    assert_eq!(keys, expected);
    let values: Vec<&str> = rows
        .iter()
        .take(11)
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(
        values,
        [
            "primary",
            "fewest",
            "health, constraint",
            "2",
            "10.0.0.1:2375",
            "ID-node-1",
            "Healthy",
            "1 (1 Running, 0 Paused, 0 Stopped)",
            "0 / 4.2",
            "0 B / 4.2 GiB",
            "ostype=linux, zone=node-1",
        ]
    );
}

#[tokio::test]
async fn what_any_engine_can_answer_goes_to_one() {
    let cluster = Cluster::new().await;
    let found = cluster
        .client()
        .get("/v1.40/images/search?term=x")
        .await
        .ok(200);
    assert_eq!(found.json()[0]["name"], "found");
    let asked: usize = cluster
        .daemons
        .iter()
        .map(|daemon| daemon.asked("GET /v1.40/images/search?term=x"))
        .sum();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn browsers_are_answered_only_when_allowed() {
    let cluster = Cluster::new().await;
    let plain = cluster.client().get("/_ping").await;
    assert!(!plain.headers.contains_key("access-control-allow-origin"));
    let mut setup = Setup::default();
    setup.endpoint = setup.endpoint.with_cors();
    let open = Cluster::with(setup).await;
    let answer = open
        .client()
        .call(Method::OPTIONS, "/v1.40/info", None)
        .await
        .ok(200);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn explain_tells_why_and_why_not() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.create("web", json!({})).await;
    let kept = client
        .get("/longshore/v1/explain?container=web")
        .await
        .ok(200)
        .json();
    assert_eq!(kept["placement"]["chosen"]["name"], "node-1");
    let body = json!({"Image": "busybox", "Env": ["constraint:node==nowhere"]});
    let refused = client
        .post("/longshore/v1/explain", body)
        .await
        .ok(200)
        .json();
    assert!(
        refused["refusal"]
            .as_str()
            .unwrap()
            .contains("Unable to find a node")
    );
    assert_eq!(refused["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(
        refused["nodes"][0]["failures"][0]["reason"],
        "node==nowhere"
    );
    // What if there were a node like this, or the demand were dropped.
    for (query, goes_to) in [
        (
            "with-node=name=nowhere,cpu=4,memory=8GiB,label=zone=eu",
            "nowhere",
        ),
        ("without=constraint:node==nowhere", "node-2"),
    ] {
        let body = json!({"Image": "busybox", "Env": ["constraint:node==nowhere"]});
        let path = format!("/longshore/v1/explain?{query}");
        let imagined = client.post(&path, body).await.ok(200).json();
        assert_eq!(imagined["placement"]["chosen"]["name"], goes_to, "{query}");
    }
    for (query, words) in [
        ("with-node=cpu=many", "its cpu is no number"),
        (
            "with-node=colour=red",
            "neither name, cpu, memory nor label",
        ),
        ("without=constraint:zone==eu", "it has node==nowhere"),
        ("without=nothing", "invalid without"),
    ] {
        let body = json!({"Image": "busybox", "Env": ["constraint:node==nowhere"]});
        let path = format!("/longshore/v1/explain?{query}");
        let refused = client.post(&path, body).await.ok(400).text;
        assert!(refused.contains(words), "{refused}");
    }
    client
        .get("/longshore/v1/explain?container=none")
        .await
        .fails(404, "No such container: none", "not-found");
    let nodes = client.get("/longshore/v1/nodes").await.ok(200).json();
    assert_eq!(nodes[1]["name"], "node-2");
    assert_eq!(nodes[1]["engine"]["api_version"], "1.41");
}

#[tokio::test]
async fn events_carry_their_node_and_honour_filters() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let filters = "%7B%22event%22%3A%5B%22start%22%5D%7D";
    let request = http::Request::get(format!("/events?filters={filters}"))
        .body(longshore_core::http::empty_body())
        .unwrap();
    let mut body = client.0.send(request).await.unwrap().into_body();
    let id = client.create("web", json!({})).await;
    client
        .post(&format!("/containers/{id}/start"), Value::Null)
        .await
        .ok(204);
    let frame = http_body_util::BodyExt::frame(&mut body)
        .await
        .unwrap()
        .unwrap();
    let line = frame.into_data().unwrap();
    assert_eq!(line.last(), Some(&b'\n'));
    let event: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(event["Action"], "start");
    assert_eq!(event["from"], " node:node-1");
    assert_eq!(event["node"]["Name"], "node-1");
    assert_eq!(event["node"]["Addr"], "10.0.0.1:2375");
    assert_eq!(event["Actor"]["Attributes"]["name"], "web");
}

#[tokio::test]
async fn events_replay_and_end() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.create("web", json!({})).await;
    let until = "4102444800";
    // In the past, without since: nothing, at once.
    client.get("/events?until=1").await.ok(200);
    client.get("/events?until=soon").await.fails(
        400,
        "invalid value \"soon\" for until: expected seconds since the epoch",
        "invalid-input",
    );
    let request = http::Request::get(format!("/events?since=1&until={until}"))
        .body(longshore_core::http::empty_body())
        .unwrap();
    let mut body = client.0.send(request).await.unwrap().into_body();
    let frame = http_body_util::BodyExt::frame(&mut body)
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert!(
        text.contains("engine_connect") || text.contains("create"),
        "{text}"
    );
}
