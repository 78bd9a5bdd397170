//! longshore's own routes for stacks.

use http::Method;
use serde_json::{Value, json};

use crate::cluster::Cluster;

const SHOP: &str = "/longshore/v1/stacks/shop";

fn shop(replicas: u32) -> Value {
    let template = json!({"image": "busybox", "env": ["A=b"], "labels": {"any": "label"}});
    let web = json!({"name": "web", "template": template, "replicas": replicas});
    json!({"name": "shop", "services": [web]})
}

#[tokio::test]
async fn a_stack_is_deployed_listed_and_removed() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.call(Method::PUT, SHOP, Some(shop(2))).await.ok(204);
    let stacks = client.get("/longshore/v1/stacks").await.ok(200).json();
    assert_eq!(stacks[0]["name"], "shop");
    assert_eq!(stacks[0]["services"][0]["replicas"], 2);
    client.call(Method::PUT, SHOP, Some(shop(1))).await.ok(204);
    let stacks = client.get("/longshore/v1/stacks").await.ok(200).json();
    assert_eq!(stacks[0]["services"][0]["replicas"], 1);
    client.delete(SHOP).await.ok(204);
    client
        .delete("/longshore/v1/stacks/none")
        .await
        .fails(404, "No such stack: none", "not-found");
    let records = cluster.audit.records();
    let targets: Vec<_> = records.iter().map(|it| &it.event.target.kind).collect();
    assert!(targets.iter().filter(|kind| **kind == "stack").count() >= 8);
}

#[tokio::test]
async fn what_is_no_stack_is_refused_and_named() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let with = |change: fn(&mut Value)| {
        let mut stack = shop(1);
        change(&mut stack);
        stack
    };
    for (stack, words) in [
        (json!({}), "missing field `name`"),
        (
            with(|stack| stack["name"] = json!("other")),
            "it is called other, and the path says shop",
        ),
        (
            with(|stack| stack["services"][0]["template"]["imgae"] = json!("nginx")),
            "unknown field services[0].template.imgae",
        ),
        (
            with(|stack| stack["services"][0]["template"]["image"] = json!("")),
            "service web has no image",
        ),
        (
            with(|stack| stack["services"][0]["depends_on"] = json!(["db"])),
            "db",
        ),
    ] {
        let refused = client.call(Method::PUT, SHOP, Some(stack)).await.ok(400);
        assert!(refused.text.contains(words), "{words}: {}", refused.text);
    }
    let stacks = client.get("/longshore/v1/stacks").await.ok(200).json();
    assert_eq!(stacks, json!([]));
}
