use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::Full;
use longshore_core::{Error, ErrorKind, ExecRequest, Result, TerminalSize};

use super::{
    Hello, Shared, Stranger,
    admit::{Wish, action},
    pump::Pump,
    refill::Refills,
    route::Route,
    socket::Socket,
};
use crate::{
    access::{AccessRequest, Credentials, Place},
    protocol::{
        Closing, Outgoing,
        ttyd::{TtydDecoder, TtydEncoder, TtydHello},
    },
    session::{Attachment, Launch},
};

/// `GET /token`: the page's own credentials, as the browser's basic authentication gave them, for
/// its first message.
pub(super) fn token(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|given| given.to_str().ok());
    let basic = given.and_then(|given| given.split_once(' '));
    let token = basic
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .map_or("", |(_, token)| token.trim());
    let body = serde_json::json!({ "token": token }).to_string();
    let mut response = Response::new(Full::from(body));
    let json = HeaderValue::from_static("application/json;charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

impl Shared {
    pub(super) async fn serve_ttyd(&self, hello: Hello, mut socket: Socket, stranger: Stranger) {
        let first = match self.first_message(&mut socket, &stranger).await {
            Ok(Some(message)) => TtydHello::parse(&message.into_data()),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let Route::Ttyd(target) = hello.route else {
            return;
        };
        let title = target.clone().unwrap_or_default();
        let opened = match first {
            Ok(first) => {
                let opening = self.open_ttyd(target, first, hello.credentials);
                stranger.is_asked_about(opening).await
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok(attachment) => {
                stranger.let_in();
                let pump = Pump {
                    shared: self,
                    attachment: &attachment,
                    pings: true,
                    onlooker: None,
                    refills: Refills::Never,
                };
                let first = TtydEncoder::first(&title);
                pump.run(socket, Box::new(TtydDecoder), Box::new(TtydEncoder), first)
                    .await;
            }
            Err(error) => {
                let code = match error.kind() {
                    ErrorKind::PermissionDenied => 1008,
                    _ => 4100,
                };
                let out = Outgoing {
                    messages: Vec::new(),
                    closing: Some(Closing::new(code, error.to_string())),
                };
                self.say_last(socket, out).await;
            }
        }
    }

    async fn open_ttyd(
        &self,
        target: Option<String>,
        first: TtydHello,
        known: Credentials,
    ) -> Result<Attachment> {
        let target =
            target.ok_or_else(|| Error::invalid("the page's address names no ?target="))?;
        let token = Some(first.token).filter(|token| !token.is_empty());
        let credentials = Credentials::new(token.or(known.token))
            .with_identity(known.identity)
            .with_source(known.source);
        let size = match (first.columns, first.rows) {
            (0, _) | (_, 0) => TerminalSize::default(),
            (columns, rows) => TerminalSize::new(columns, rows),
        };
        self.open(Wish {
            request: AccessRequest::new(credentials, action(true), Place::Container(target)),
            operation: "exec.open",
            options: self.options.session.with_grace(Duration::ZERO),
            launch: Box::new(move |workload| {
                let request = ExecRequest::new(workload, [""; 0]).with_tty(size);
                Launch::shell(request.with_env("TERM=xterm-256color"))
            }),
        })
        .await
    }
}
