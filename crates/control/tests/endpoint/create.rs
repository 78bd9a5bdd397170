use longshore_core::http::full_body;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Setup},
    daemon::Daemon,
};

fn created(cluster: &Cluster, node: usize) -> Vec<Value> {
    let state = cluster.daemons[node].state();
    let bodies = state.bodies.iter();
    bodies
        .filter(|(what, _)| what == "create")
        .map(|(_, body)| body.clone())
        .collect()
}

#[tokio::test]
async fn a_create_is_placed_and_the_engine_gets_a_clean_body() {
    let cluster = Cluster::new().await;
    let answer = cluster
        .client()
        .post(
            "/v1.40/containers/create?name=web",
            json!({"Image": "busybox", "Env": ["A=1", "constraint:node==node-2"],
                "HostConfig": {"CpuShares": 2}}),
        )
        .await
        .ok(201)
        .json();
    assert_eq!(answer["Warnings"], json!(["from the engine"]));
    let body = &created(&cluster, 1)[0];
    assert_eq!(body["Env"], json!(["A=1"]));
    assert_eq!(body["HostConfig"]["CpuShares"], 512);
    assert_eq!(body["HostConfig"]["MemorySwappiness"], -1);
    assert_eq!(
        body["Labels"]["com.docker.swarm.constraints"],
        "[\"node==node-2\"]"
    );
    let swarm_id = body["Labels"]["com.docker.swarm.id"].as_str().unwrap();
    assert_eq!(swarm_id.len(), 64);
    let by_swarm_id = cluster
        .client()
        .get(&format!("/containers/{swarm_id}/json"))
        .await
        .ok(200);
    assert_eq!(by_swarm_id.json()["Id"], answer["Id"]);
}

#[tokio::test]
async fn names_are_unique_in_the_cluster() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.create("web", json!({})).await;
    client.create("other", json!({})).await;
    let text = "Conflict: The name web is already assigned. You have to delete (or rename) that \
                container to be able to assign web to a container again.";
    client
        .post("/containers/create?name=web", json!({"Image": "busybox"}))
        .await
        .fails(409, text, "already-exists");
    client
        .post("/containers/other/rename?name=web", Value::Null)
        .await
        .fails(409, text, "already-exists");
}

#[tokio::test]
async fn of_two_creates_of_one_name_exactly_one_wins() {
    let cluster = Cluster::new().await;
    let (one, two) = (cluster.client(), cluster.client());
    let body = json!({"Image": "busybox"});
    let (a, b) = tokio::join!(
        one.post("/containers/create?name=web", body.clone()),
        two.post("/containers/create?name=web", body.clone()),
    );
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test]
async fn s25_a_missing_image_is_pulled_on_the_chosen_node_with_the_user_s_credentials() {
    let cluster = Cluster::new().await;
    for daemon in &cluster.daemons {
        daemon.state().registry.push("app:2".into());
    }
    let request = http::Request::post("/containers/create?name=a")
        .header("x-registry-auth", "c2VjcmV0")
        .body(full_body(json!({"Image": "app:2"}).to_string()))
        .unwrap();
    cluster.client().send(request).await.ok(201);
    let daemon = &cluster.daemons[0];
    assert_eq!(daemon.asked("/images/create?fromImage=app&tag=2"), 1);
    assert_eq!(cluster.daemons[1].asked("/images/create"), 0);
    let state = daemon.state();
    let (_, headers) = state
        .headers
        .iter()
        .find(|(line, _)| line.contains("/images/create"))
        .unwrap();
    assert_eq!(headers["x-registry-auth"], "c2VjcmV0");
}

#[tokio::test]
async fn an_image_that_no_registry_has_is_used_where_it_is() {
    let cluster = Cluster::new().await;
    cluster.daemons[1].give_image("local:1");
    cluster
        .plane
        .refresh_node(&"ID-node-2".parse().unwrap())
        .await
        .unwrap();
    let client = cluster.client();
    client.create("a", json!({"Image": "local:1"})).await;
    assert_eq!(cluster.daemons[1].state().containers.len(), 1);
    // The affinity helped once and is not written down.
    let body = &created(&cluster, 1)[0];
    assert!(body["Labels"].get("com.docker.swarm.affinities").is_none());
    // Pinned elsewhere it fails, as a missing image, so that clients pull.
    let pinned = json!({"Image": "local:1", "Env": ["constraint:node==node-1"]});
    let answer = client.post("/containers/create?name=b", pinned).await;
    answer.fails(
        404,
        "No such image: local:1 (no registry for local:1)",
        "not-found",
    );
}

#[tokio::test]
async fn s22_when_an_engine_refuses_the_next_ranked_one_is_tried() {
    let cluster = Cluster::new().await;
    cluster.daemons[0]
        .state()
        .refusals
        .push((500, "no space left on device".into()));
    let id = cluster.client().create("web", json!({})).await;
    assert!(cluster.daemons[1].state().containers.contains_key(&id));
    // Room on the first node was given back: it takes the next one.
    cluster.client().create("more", json!({})).await;
    assert_eq!(cluster.daemons[0].state().containers.len(), 1);
}

#[tokio::test]
async fn when_all_refuse_the_first_reason_is_told_and_nothing_stays_held() {
    let cluster = Cluster::new().await;
    for (daemon, reason) in cluster.daemons.iter().zip(["first", "second"]) {
        daemon.state().refusals.push((500, reason.into()));
    }
    let client = cluster.client();
    let body = json!({"Image": "busybox"});
    client
        .post("/containers/create?name=web", body.clone())
        .await
        .fails(500, "first", "engine");
    client
        .post("/containers/create?name=web", body)
        .await
        .ok(201);
}

#[tokio::test]
async fn what_would_fail_anywhere_is_not_tried_elsewhere() {
    let cluster = Cluster::new().await;
    cluster.daemons[0]
        .state()
        .refusals
        .push((400, "invalid mode".into()));
    let body = json!({"Image": "busybox"});
    let answer = cluster.client().post("/containers/create", body).await;
    answer.fails(400, "invalid mode", "invalid-input");
    assert_eq!(cluster.daemons[1].asked("/containers/create"), 0);
}

#[tokio::test]
async fn the_swappiness_default_goes_where_it_is_not_accepted() {
    let cluster = Cluster::new().await;
    cluster.daemons[0]
        .state()
        .refusals
        .push((400, "invalid value for memory swappiness: -1".into()));
    cluster.client().create("web", json!({})).await;
    let bodies = created(&cluster, 0);
    assert_eq!(bodies[0]["HostConfig"]["MemorySwappiness"], -1);
    assert!(bodies[1]["HostConfig"].get("MemorySwappiness").is_none());
}

#[tokio::test]
async fn an_image_for_another_system_goes_to_a_node_of_that_system() {
    let cluster = Cluster::new().await;
    cluster.daemons[1]
        .state()
        .info
        .attributes
        .insert("ostype", "windows");
    cluster.daemons[0].state().refusals.push((
        500,
        "image operating system \"windows\" cannot be used on this platform".into(),
    ));
    cluster.daemons[1]
        .state()
        .refusals
        .push((500, "also refused".into()));
    let body = json!({"Image": "busybox"});
    // No node of that system is known: the explanation says so.
    let answer = cluster.client().post("/containers/create", body).await;
    assert_eq!(answer.json()["reason"], "unplaceable");
}

/// Two nodes of different processors, and an image that runs on the second's.
fn two_kinds(number: usize, daemon: &Daemon) {
    let mut state = daemon.state();
    let architecture = ["amd64", "arm64"][number];
    state.info.attributes.insert("architecture", architecture);
    // Attestations are listed like images.
    let platforms = json!([{"architecture": "arm64", "os": "linux", "variant": "v8"},
        {"architecture": "unknown", "os": "unknown"}]);
    state.platforms.insert("h:5000/a/app:2".into(), platforms);
    state.registry.push("h:5000/a/app:2".into());
}

#[tokio::test]
async fn s23_the_platform_of_an_image_is_asked_for_once_and_kept_as_a_note() {
    let cluster = Cluster::with(Setup {
        prepare: two_kinds,
        ..Setup::default()
    })
    .await;
    let asked = || {
        let asked = cluster.daemons.iter().map(|it| it.asked("/distribution/"));
        asked.sum::<usize>()
    };
    for name in ["a", "b"] {
        let target = format!("/containers/create?name={name}");
        let request = http::Request::post(target)
            .header("x-registry-auth", "c2VjcmV0")
            .body(full_body(json!({"Image": "h:5000/a/app:2"}).to_string()))
            .unwrap();
        cluster.client().send(request).await.ok(201);
    }
    assert_eq!(cluster.daemons[1].state().containers.len(), 2);
    assert_eq!(asked(), 1, "a registry is asked once");
    for daemon in &cluster.daemons {
        let state = daemon.state();
        // S25: with the user's credentials.
        let mut asked = state
            .headers
            .iter()
            .filter(|(line, _)| line.contains("/distribution/"));
        assert!(asked.all(|(_, headers)| headers["x-registry-auth"] == "c2VjcmV0"));
    }
    // The user's labels say what he wrote; what was added is with the reason of the placement.
    let labels = &created(&cluster, 1)[0]["Labels"];
    let names: Vec<&String> = labels.as_object().unwrap().keys().collect();
    assert_eq!(names, ["com.docker.swarm.id"]);
    let why = cluster
        .client()
        .get("/longshore/v1/explain?container=a")
        .await
        .ok(200)
        .json();
    let note = "platform linux/arm64: the registry says so of h:5000/a/app:2";
    assert_eq!(why["notes"], json!([note]));
    // Who names the system himself is taken at his word, and an image that no registry knows is not
    // asked for again and again.
    let client = cluster.client();
    client
        .create("c", json!({"Env": ["constraint:ostype==linux"]}))
        .await;
    assert_eq!(asked(), 1);
    client.create("d", json!({})).await;
    client.create("e", json!({})).await;
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn s23_no_registry_is_asked_where_all_nodes_are_alike() {
    let cluster = Cluster::new().await;
    cluster.client().create("a", json!({})).await;
    for daemon in &cluster.daemons {
        assert_eq!(daemon.asked("/distribution/"), 0);
    }
}

#[tokio::test]
async fn s23_the_wish_for_a_network_is_a_note_and_no_label() {
    let cluster = Cluster::with(Setup {
        prepare: |number, daemon| {
            let back = json!({"Name": "back", "Id": "back-id", "Scope": "local",
                "Driver": "macvlan", "Labels": {}, "Containers": {}});
            if number == 1 {
                daemon.state().networks.push(back);
            }
        },
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    client
        .create("a", json!({"HostConfig": {"NetworkMode": "back"}}))
        .await;
    let labels = &created(&cluster, 1)[0]["Labels"];
    assert!(labels.get("com.docker.swarm.constraints").is_none());
    let why = client
        .get("/longshore/v1/explain?container=a")
        .await
        .ok(200)
        .json();
    let note = "constraint node==~node-2: a network that it names is there";
    assert_eq!(why["notes"], json!([note]));
}

#[tokio::test]
async fn s26_a_create_whose_answer_is_lost_is_adopted() {
    let cluster = Cluster::new().await;
    cluster.daemons[0].state().lose_create_answer = true;
    let id = cluster.client().create("web", json!({})).await;
    assert!(cluster.daemons[0].state().containers.contains_key(&id));
    assert_eq!(cluster.daemons[1].state().containers.len(), 0);
}

#[tokio::test]
async fn s26_what_a_lost_create_left_is_removed_when_its_node_tells() {
    let cluster = Cluster::new().await;
    {
        let mut state = cluster.daemons[0].state();
        (state.lose_create_answer, state.hides) = (true, true);
    }
    let id = cluster.client().create("web", json!({})).await;
    // It is nowhere to be seen, so the next node made it; the first one has another.
    let here = |node: usize| -> Vec<String> {
        let state = cluster.daemons[node].state();
        state.containers.keys().cloned().collect()
    };
    assert_eq!((here(0).len(), here(1)), (1, vec![id.clone()]));
    cluster
        .until("the stray is gone", || here(0).is_empty())
        .await;
    assert_eq!(here(1), [id]);
}

#[tokio::test]
async fn a_client_that_leaves_leaves_nothing_half_made() {
    use tokio::io::AsyncWriteExt;
    let cluster = Cluster::new().await;
    let body = json!({"Image": "busybox"}).to_string();
    let mut stream = cluster.raw().await;
    let head = format!(
        "POST /containers/create?name=web HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    drop(stream);
    cluster
        .until("its end is on record", || {
            let records = cluster.audit.records();
            records.iter().any(|record| {
                format!("{:?}", record.event.outcome) == "Done"
                    && record
                        .event
                        .operation
                        .starts_with("POST /containers/create?name=web")
            })
        })
        .await;
    assert!(cluster.plane.container("web").is_ok());
}

#[tokio::test]
async fn dependencies_reach_the_engine_under_names_that_it_knows() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client.create("db", json!({})).await;
    client
        .create(
            "web",
            json!({"Env": ["constraint:node==node-1"], "HostConfig": {
                "Links": ["/node-1/db:database"], "VolumesFrom": ["node-1/db:ro", "db"],
                "NetworkMode": "container:node-1/db"}}),
        )
        .await;
    let body = &created(&cluster, 0)[1];
    assert_eq!(
        body["HostConfig"]["Links"],
        json!([format!("{id}:database")])
    );
    assert_eq!(
        body["HostConfig"]["VolumesFrom"],
        json!([format!("{id}:ro"), "db"])
    );
    assert_eq!(body["HostConfig"]["NetworkMode"], format!("container:{id}"));
}

#[tokio::test]
async fn s24_bad_requests_are_400_and_name_what_is_wrong() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let refuse = async |body: Value, message: &str| {
        client
            .post("/containers/create", body)
            .await
            .fails(400, message, "invalid-input");
    };
    refuse(
        json!({"Image": "busybox", "Env": ["constraint:zone=a"]}),
        "One of operator ==, != is expected",
    )
    .await;
    refuse(
        json!({"Labels": {"com.docker.swarm.whitelists": "node==a"}}),
        "label com.docker.swarm.whitelists is not a JSON array of strings: expected ident at \
         line 1 column 2",
    )
    .await;
    refuse(
        json!({"Env": ["reschedule:sometimes"]}),
        "invalid reschedule policy: sometimes",
    )
    .await;
    refuse(
        Value::Null,
        "Config cannot be empty in order to create a container",
    )
    .await;
    client
        .post("/containers/create?name=-x", json!({"Image": "busybox"}))
        .await
        .fails(
            400,
            "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            "invalid-input",
        );
}

#[tokio::test]
async fn s24_what_can_t_be_placed_says_why_with_500() {
    let cluster = Cluster::with(Setup {
        nodes: 1,
        ..Setup::default()
    })
    .await;
    let body = json!({"Image": "busybox", "Env": ["constraint:node==nowhere"]});
    let answer = cluster.client().post("/containers/create", body).await;
    answer.fails(
        500,
        "Unable to find a node that satisfies the following conditions \n[x]\n2 nodes refused by \
         constraint",
        "unplaceable",
    );
}
