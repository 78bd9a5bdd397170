//! The files of a web terminal.

use std::{collections::BTreeMap, sync::Arc};

use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use longshore_exec::{
    access::StaticDirectory,
    gateway::GatewayOptions,
    web::{Asset, Assets, CONTENT_SECURITY_POLICY},
};

use crate::server::Server;

#[derive(Debug)]
struct Files(BTreeMap<&'static str, &'static str>);

impl Assets for Files {
    fn find(&self, name: &str) -> Option<Asset> {
        let text = *self.0.get(name)?;
        Some(Asset::new(
            text,
            "text/html; charset=utf-8",
            format!("v{}", text.len()),
        ))
    }
}

async fn ask(method: Method, path: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
    let files = Files([("index.html", "<p>page"), ("x.css", "p { }")].into());
    let server = Server::new(
        StaticDirectory::new(),
        GatewayOptions::default(),
        |gateway| gateway.with_page(Arc::new(files)),
    );
    answer(server.gateway.handle(request(method, path, headers)).await).await
}

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn answer(response: Response<Full<bytes::Bytes>>) -> (Response<()>, String) {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(parts, ()),
        String::from_utf8(bytes.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn files_come_with_everything_that_browsers_need_to_be_strict() {
    for path in [
        "/terminal/",
        "/terminal/index.html",
        "/terminal/nothing",
        "/terminal",
    ] {
        let (response, _) = ask(Method::GET, path, &[]).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-security-policy"), CONTENT_SECURITY_POLICY);
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
    }
    assert!(CONTENT_SECURITY_POLICY.contains("frame-ancestors 'none'"));
    assert!(
        !CONTENT_SECURITY_POLICY.contains("script-src"),
        "scripts are the page's own"
    );
}

#[tokio::test]
async fn a_file_is_found_by_its_name_only() {
    let (response, body) = ask(Method::GET, "/terminal/?target=web", &[]).await;
    assert_eq!(
        (response.status().as_u16(), body.as_str()),
        (200, "<p>page")
    );
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/html; charset=utf-8"
    );
    let (response, body) = ask(Method::HEAD, "/terminal/x.css", &[]).await;
    assert_eq!((response.status().as_u16(), body.as_str()), (200, ""));
    assert_eq!(response.headers()[header::CONTENT_LENGTH], "5");
    for path in [
        "/terminal/../x.css",
        "/terminal/%2e%2e/x.css",
        "/terminal/a/x.css",
        "/terminal/X.css",
    ] {
        assert_eq!(ask(Method::GET, path, &[]).await.0.status(), 404, "{path}");
    }
    assert_eq!(
        ask(Method::POST, "/terminal/x.css", &[]).await.0.status(),
        405
    );
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let (first, _) = ask(Method::GET, "/terminal/x.css", &[]).await;
    let tag = first.headers()[header::ETAG].to_str().unwrap();
    let (again, body) = ask(Method::GET, "/terminal/x.css", &[("if-none-match", tag)]).await;
    assert_eq!((again.status().as_u16(), body.as_str()), (304, ""));
    let (other, _) = ask(
        Method::GET,
        "/terminal/x.css",
        &[("if-none-match", "\"v4\"")],
    )
    .await;
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn the_folder_is_found_from_its_name_below_any_path() {
    let (response, _) = ask(Method::GET, "/terminal?target=a%20b", &[]).await;
    assert_eq!(response.status(), 308);
    assert_eq!(
        response.headers()[header::LOCATION],
        "terminal/?target=a%20b"
    );
}

#[tokio::test]
async fn links_of_other_sites_lead_to_the_page_and_to_no_session() {
    let other = [("sec-fetch-site", "cross-site")];
    assert_eq!(ask(Method::GET, "/terminal/", &other).await.0.status(), 200);
    assert_eq!(ask(Method::GET, "/v1/exec", &other).await.0.status(), 403);
}

#[tokio::test]
async fn a_gateway_without_a_page_has_none() {
    let server = Server::new(
        StaticDirectory::new(),
        GatewayOptions::default(),
        |gateway| gateway,
    );
    let asked = server
        .gateway
        .handle(request(Method::GET, "/terminal/", &[]))
        .await;
    let (response, text) = answer(asked).await;
    assert_eq!(response.status(), 404);
    assert!(text.contains("--features web"), "{text}");
}
