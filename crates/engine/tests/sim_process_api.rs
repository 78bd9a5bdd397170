//! Engines without an API of their own lead to one in front of them.
#![cfg(feature = "api")]
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::sync::Arc;

use http::Request;
use longshore_core::{
    Connector, Engine, NodeName, SystemClock,
    http::{HttpClient, empty_body, read_body},
};
use longshore_engine::{SimEngine, SimFault, SimOptions};

async fn get(connector: Arc<dyn Connector>, path: &str) -> longshore_core::Result<(u16, String)> {
    let client = HttpClient::new(connector, Arc::new(SystemClock::new()));
    let request = Request::get(path).body(empty_body()).unwrap();
    let response = client.send(request).await?;
    let status = response.status().as_u16();
    let body = read_body(response.into_body(), 1 << 20).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn sim() -> Arc<SimEngine> {
    let clock = Arc::new(SystemClock::new());
    let name = NodeName::new("sim").unwrap();
    SimEngine::new(name, SimOptions::default(), clock, 1).unwrap()
}

#[cfg(all(feature = "process", target_os = "linux"))]
#[tokio::test]
async fn a_process_engines_connector_leads_to_its_api() {
    use longshore_core::{OsRandom, WorkloadSpec};
    use longshore_engine::{ProcessEngine, ProcessOptions};

    let clock = Arc::new(SystemClock::new());
    let engine = ProcessEngine::new(ProcessOptions::default(), clock, Arc::new(OsRandom)).unwrap();
    let spec = WorkloadSpec::new("host").with_command(["true"]);
    let id = engine.create(&spec).await.unwrap();
    let connector = engine.connector();
    assert!(connector.describe().starts_with("process://"));
    let path = format!("/containers/{id}/json");
    let (status, body) = get(Arc::clone(&connector), &path).await.unwrap();
    assert_eq!(status, 200);
    assert!(body.contains(id.as_str()), "{body}");
    drop(engine);
    // The connector alone does not keep the engine alive.
    let (status, _) = get(connector, "/info").await.unwrap();
    assert_eq!(status, 503);
}

#[tokio::test(start_paused = true)]
async fn a_simulated_engines_connector_is_as_good_as_its_node() {
    let engine = sim();
    let (status, body) = get(engine.connector(), "/_ping").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "OK"));
    engine.set_fault(SimFault::Refuse);
    let error = get(engine.connector(), "/_ping").await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    engine.set_fault(SimFault::None);
    engine.crash();
    assert!(get(engine.connector(), "/_ping").await.is_err());
    engine.recover();
    assert!(get(engine.connector(), "/_ping").await.is_ok());
}
