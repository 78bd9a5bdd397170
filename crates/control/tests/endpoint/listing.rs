use longshore_core::{EventAction, WorkloadState};
use serde_json::{Value, json};

use crate::{client::Client, cluster::Cluster};

async fn filled() -> (Cluster, Client) {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    for name in ["a", "b", "c"] {
        let body = json!({"Labels": {"team": name, "com.example": "x"}});
        client.create(name, body).await;
    }
    for name in ["a", "b"] {
        client
            .post(&format!("/containers/{name}/start"), Value::Null)
            .await
            .ok(204);
    }
    (cluster, client)
}

async fn names(client: &Client, query: &str) -> Vec<String> {
    let list = client
        .get(&format!("/containers/json{query}"))
        .await
        .ok(200)
        .json();
    let names = list.as_array().unwrap().iter();
    names
        .map(|one| one["Names"][0].as_str().unwrap().to_owned())
        .collect()
}

fn filter(json: Value) -> String {
    let mut text = form_urlencoded::Serializer::new("?".to_owned());
    text.append_pair("filters", &json.to_string());
    text.finish().replacen("?&", "?", 1)
}

#[tokio::test]
async fn only_running_containers_unless_all_or_a_state_is_asked_for() {
    let (_cluster, client) = filled().await;
    let mut running = names(&client, "").await;
    running.sort();
    assert_eq!(running, ["/node-1/a", "/node-2/b"]);
    assert_eq!(names(&client, "?all=1").await.len(), 3);
    assert_eq!(names(&client, "?all=false").await.len(), 2);
    assert_eq!(names(&client, "?limit=1").await.len(), 1);
    let created = filter(json!({"status": ["created"]}));
    assert_eq!(names(&client, &created).await, ["/node-1/c"]);
}

#[tokio::test]
async fn the_newest_come_first_and_before_means_older() {
    let (_cluster, client) = filled().await;
    let all = names(&client, "?all=1").await;
    let newest = all[0].trim_start_matches('/');
    let older = names(&client, &format!("?before={newest}")).await;
    assert_eq!(older, all[1..]);
    let newer = names(
        &client,
        &format!("?since={}", all[2].trim_start_matches('/')),
    )
    .await;
    assert_eq!(newer, all[..2]);
    client.get("/containers/json?before=nobody").await.fails(
        404,
        "No such container nobody",
        "not-found",
    );
}

#[tokio::test]
async fn filters_choose() {
    let (_cluster, client) = filled().await;
    let check = async |json: Value, expected: &[&str]| {
        let text = json.to_string();
        let query = filter(json) + "&all=1";
        let mut found = names(&client, &query).await;
        found.sort();
        assert_eq!(found, expected, "{text}");
    };
    check(json!({"name": ["^/b$"]}), &["/node-2/b"]).await;
    check(json!({"name": ["node-2/"]}), &["/node-2/b"]).await;
    check(json!({"node": ["node-2"]}), &["/node-2/b"]).await;
    check(json!({"label": ["team=a"]}), &["/node-1/a"]).await;
    check(
        json!({"label": {"team=a": true, "com.example": true}}),
        &["/node-1/a"],
    )
    .await;
    check(
        json!({"volume": ["/data"], "node": ["node-2"]}),
        &["/node-2/b"],
    )
    .await;
    check(json!({"network": ["fedc"], "name": ["b"]}), &["/node-2/b"]).await;
    check(json!({"network": ["nothing"]}), &[]).await;
    check(
        json!({"ancestor": ["busybox"], "name": ["b"]}),
        &["/node-2/b"],
    )
    .await;
    check(json!({"health": ["none"], "name": ["b"]}), &["/node-2/b"]).await;
    check(json!({"is-task": ["true"]}), &[]).await;
    client
        .get(&format!(
            "/containers/json{}",
            filter(json!({"colour": ["red"]}))
        ))
        .await
        .fails(400, "Invalid filter 'colour'", "invalid-input");
    client
        .get(&format!(
            "/containers/json{}",
            filter(json!({"status": ["red"]}))
        ))
        .await
        .fails(
            400,
            "Unrecognised filter value for status: red",
            "invalid-input",
        );
}

#[tokio::test]
async fn an_entry_is_the_engine_s_own_seen_from_outside() {
    let (_cluster, client) = filled().await;
    let query = filter(json!({"name": ["^/a$"]}));
    let list = client.get(&format!("/containers/json{query}")).await.json();
    let one = &list[0];
    assert_eq!(one["Names"], json!(["/node-1/a"]));
    // One address of the node in place of "all addresses", v4 and v6 alike.
    assert_eq!(
        one["Ports"],
        json!([
            {"IP": "10.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 90, "Type": "tcp"},
        ])
    );
    assert_eq!(one["State"], "running");
    assert!(one["Status"].as_str().unwrap().starts_with("Up "), "{one}");
    assert_eq!(one["Mounts"][0]["Name"], "data");
}

#[tokio::test]
async fn a_change_shows_though_the_list_is_kept() {
    let (cluster, client) = filled().await;
    assert_eq!(names(&client, "").await.len(), 2);
    assert_eq!(names(&client, "").await.len(), 2);
    let id = cluster.plane.container("a").unwrap().workload.id.clone();
    cluster.daemons[0].set_state(id.as_str(), WorkloadState::Exited, EventAction::Die);
    cluster
        .until("the event arrived", || {
            cluster.plane.container("a").unwrap().workload.state == WorkloadState::Exited
        })
        .await;
    assert_eq!(names(&client, "").await, ["/node-2/b"]);
}

#[tokio::test]
async fn the_system_s_own_containers_are_hidden_by_label() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client
        .create("agent", json!({"Labels": {"longshore.system": "1"}}))
        .await;
    client
        .post("/containers/agent/start", Value::Null)
        .await
        .ok(204);
    assert_eq!(names(&client, "").await, Vec::<String>::new());
    assert_eq!(names(&client, "?all=1").await, ["/node-1/agent"]);
}

#[tokio::test]
async fn expressions_are_few_and_small() {
    let (_cluster, client) = filled().await;
    let list = |json: Value| {
        let (client, query) = (client.clone(), filter(json));
        async move { client.get(&format!("/containers/json{query}")).await }
    };
    list(json!({"name": [r"\pL{40}1"]})).await.fails(
        400,
        r"Invalid filter: 'name'='\pL{40}1': the expression is too large",
        "invalid-input",
    );
    let many: Vec<String> = (0..33).map(|number| format!("a{number}")).collect();
    list(json!({"name": many[..20], "id": many[20..]}))
        .await
        .fails(
            400,
            "Invalid filter: 33 expressions of 89 bytes for name and id: at most 32 of 4096 bytes \
             in all are accepted",
            "invalid-input",
        );
    list(json!({"id": ["a".repeat(4097)]})).await.ok(400);
    // What people write is small enough.
    assert_eq!(
        names(
            &client,
            &filter(json!({"name": [r"^/node-\d/\w+$", "x.*"]}))
        )
        .await,
        ["/node-2/b", "/node-1/a"]
    );
}
