//! A client that shows answers whole.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode};
use longshore_core::{
    Connector, SystemClock,
    http::{HttpClient, full_body, read_body},
};
use serde_json::Value;

#[derive(Clone)]
pub(crate) struct Client(pub(crate) HttpClient);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// Checks an error: status, message, reason.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, message: &str, reason: &str) {
        let json = self.json();
        assert_eq!(
            (
                self.status.as_u16(),
                json["message"].as_str().unwrap(),
                json["reason"].as_str().unwrap()
            ),
            (status, message, reason)
        );
    }
}

impl Client {
    pub(crate) fn new(connector: Arc<dyn Connector>) -> Self {
        Self(HttpClient::new(connector, Arc::new(SystemClock::new())))
    }

    pub(crate) async fn send(&self, request: Request<longshore_core::http::Body>) -> Answer {
        let response = self.0.send(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = read_body(body, 64 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(full_body(text))
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        let body = (!body.is_null()).then_some(body);
        self.call(Method::POST, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// Makes a container of the image that all nodes have; gives its id.
    pub(crate) async fn create(&self, name: &str, mut body: Value) -> String {
        if body["Image"].is_null() {
            body["Image"] = "busybox".into();
        }
        let answer = self
            .post(&format!("/containers/create?name={name}"), body)
            .await
            .ok(201);
        answer.json()["Id"].as_str().unwrap().to_owned()
    }
}
