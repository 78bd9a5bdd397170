//! What a browser may be made to send on behalf of a page that has no business here.

use axum::body::Body as AxumBody;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Version, header, uri::Authority};
use hyper::body::Body as _;

use super::{
    call::Call,
    error::{ApiError, ApiResult},
    listen::Hosts,
    route::{ContainerOp, NetworkOp, Route},
};

/// Refuses a request that a page of another site made, and on plain TCP one under a name that is
/// not this machine's: a page whose own name was turned to this address sends such ones.
pub(super) fn check(request: &Request<AxumBody>, cors: bool) -> ApiResult<()> {
    let headers = request.headers();
    if let Some(hosts) = request.extensions().get::<Hosts>() {
        check_host(request, hosts)?;
    }
    if cors {
        return Ok(());
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("?");
        if !is_own(origin, headers) {
            return Err(forbidden(format!(
                "refused: the request comes from a web page of {origin:?}, and pages of other \
                 sites may not call unless cross-origin calls are allowed (CORS)"
            )));
        }
    }
    if let Some(site) = headers.get(&SEC_FETCH_SITE)
        && matches!(site.as_bytes(), b"cross-site" | b"same-site")
    {
        return Err(forbidden(
            "refused: the request comes from a web page of another site, which may not call \
             unless cross-origin calls are allowed (CORS)",
        ));
    }
    Ok(())
}

fn check_host(request: &Request<AxumBody>, hosts: &Hosts) -> ApiResult<()> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let bad = |message: &str| ApiError::new(StatusCode::BAD_REQUEST, "protocol", message);
    let (host, more) = (named.next(), named.next());
    if more.is_some() {
        return Err(bad("the request has more than one Host header"));
    }
    if host.is_none() && request.version() > Version::HTTP_10 {
        return Err(bad("the request has no Host header"));
    }
    let host = host.map(|host| {
        let text = host.to_str().ok();
        text.and_then(|text| text.parse::<Authority>().ok())
            .ok_or_else(|| bad("the Host header is malformed"))
    });
    for host in [host.transpose()?.as_ref(), request.uri().authority()] {
        if let Some(host) = host.filter(|host| !hosts.has(host)) {
            return Err(forbidden(format!(
                "refused: {host} is not a name of this endpoint. Call it by the address that it \
                 listens at, or allow the name (ListenOptions::with_allowed_host)"
            )));
        }
    }
    Ok(())
}

/// Whether an origin is the very place that the request names.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return false;
    };
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let place = |text: &str| {
        let authority: Authority = text.parse().ok()?;
        let place = (
            authority.host().to_ascii_lowercase(),
            authority.port_u16().unwrap_or(port),
        );
        (!authority.as_str().contains('@')).then_some(place)
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let own = host.and_then(place);
    own.is_some() && own == place(rest)
}

/// Refuses a JSON body that says it is text or a form: these are the types that a page may send to
/// any site without asking. As the engine, and for the same reason.
pub(super) fn check_type(route: &Route, call: &mut Call) -> ApiResult<()> {
    // `docker` says text/plain of every call without a body.
    if !takes_json(route, &call.method) || !call.has_body() {
        return Ok(());
    }
    let Some(kind) = call.headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or("?");
    let bare = kind.split(';').next().unwrap_or_default().trim();
    if FORMS.iter().any(|form| bare.eq_ignore_ascii_case(form)) {
        return Err(ApiError::bad_request(format!(
            "unsupported Content-Type header ({kind}): must be 'application/json'"
        )));
    }
    Ok(())
}

fn takes_json(route: &Route, method: &Method) -> bool {
    *method == Method::POST
        && matches!(
            route,
            Route::Auth
                | Route::ContainerCreate
                | Route::Container(
                    _,
                    ContainerOp::Update | ContainerOp::ExecCreate | ContainerOp::Copy
                )
                | Route::ExecStart(_)
                | Route::Commit
                | Route::NetworkCreate
                | Route::Network(_, NetworkOp::Connect | NetworkOp::Disconnect)
                | Route::VolumeCreate
                | Route::ExplainRequest
                | Route::PendingEnqueue
        )
}

impl Call {
    fn has_body(&mut self) -> bool {
        let body = self.body.get_mut();
        let body = body.unwrap_or_else(std::sync::PoisonError::into_inner);
        !body.is_end_stream()
    }
}

fn forbidden(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "permission-denied", message)
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORMS: [&str; 3] = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
];
