use std::net::IpAddr;

use http::{HeaderMap, Uri, header};
use longshore_core::Identity;

use super::{Hello, history::HistoryRoute, live::LiveRoute, sign_on::SignOnRoute};
use crate::{
    access::{Credentials, Place},
    protocol::{kubernetes, native, ttyd},
};

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Native,
    Lain(LainRoute),
    Kubernetes(kubernetes::PodRequest),
    /// With the target.
    Ttyd(Option<String>),
    TtydToken,
    History(HistoryRoute),
    Live(LiveRoute),
    SignOn(SignOnRoute),
    /// A file of the web terminal; `None`: its folder, without the slash.
    Page(Option<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LainRoute {
    Enter {
        is_web: bool,
    },
    Attach {
        is_web: bool,
    },
    /// The recording of a session.
    Replay(ReplayRequest),
}

/// How somebody wants a recording. Whether it can be had so is not known yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReplayRequest {
    pub(super) session: String,
    /// How many times as fast as it was.
    pub(super) speed: Option<String>,
    /// How many seconds a pause has at most.
    pub(super) idle: Option<String>,
    /// `asciicast`: all at once, in that form.
    pub(super) format: Option<String>,
}

impl Route {
    pub(super) fn parse(uri: &Uri) -> Option<Self> {
        let query = uri.query().unwrap_or_default();
        let value = |name: &str| {
            let mut pairs = pairs(query);
            pairs.find_map(|(key, value)| (key == name).then_some(value))
        };
        let is_web = value("method").as_deref() == Some("web");
        let path = uri.path();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        Some(match parts.as_slice() {
            ["v1", "exec"] => Self::Native,
            ["v1", "sessions"] => Self::Live(LiveRoute::List),
            ["v1", "sessions", id] => Self::Live(LiveRoute::End((*id).to_owned(), value("why"))),
            ["v1", "sessions", id, "signal"] => {
                Self::Live(LiveRoute::Signal((*id).to_owned(), value("signal")))
            }
            ["enter"] => Self::Lain(LainRoute::Enter { is_web }),
            ["attach"] => Self::Lain(LainRoute::Attach { is_web }),
            ["api", "ping"] => Self::History(HistoryRoute::Ping),
            ["api", "sessions"] => Self::History(HistoryRoute::Sessions(pairs(query).collect())),
            ["api", "commands"] => Self::History(HistoryRoute::Commands(pairs(query).collect())),
            ["api", "config"] => Self::SignOn(SignOnRoute::Config),
            ["api", "authorize"] => {
                Self::SignOn(SignOnRoute::Authorize(value("code").unwrap_or_default()))
            }
            ["api", "logout"] => Self::SignOn(SignOnRoute::Logout),
            ["api", "sessions", id, "replay"] => Self::Lain(LainRoute::Replay(ReplayRequest {
                session: (*id).to_owned(),
                speed: value("speed"),
                idle: value("idle"),
                format: value("format"),
            })),
            ["ws"] => Self::Ttyd(value("target")),
            ["token"] => Self::TtydToken,
            ["terminal"] => Self::Page(None),
            ["terminal", file] => Self::Page(Some((*file).to_owned())),
            [
                "api",
                "v1",
                "namespaces",
                namespace,
                "pods",
                pod,
                verb @ ("exec" | "attach"),
            ] => {
                let is_attach = *verb == "attach";
                Self::Kubernetes(kubernetes::PodRequest::new(
                    namespace,
                    pod,
                    is_attach,
                    pairs(query),
                ))
            }
            _ => return None,
        })
    }

    pub(super) fn hello(
        self,
        headers: &HeaderMap,
        known: Option<Identity>,
        source: Option<IpAddr>,
    ) -> Hello {
        let token = match &self {
            Self::Lain(LainRoute::Replay(_)) | Self::History(_) => cookie(headers, "access_token"),
            Self::Lain(_) => text(headers, "access-token"),
            _ => None,
        };
        let bearer = || {
            let given = text(headers, header::AUTHORIZATION.as_str())?;
            let (scheme, token) = given.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then(|| token.trim().to_owned())
        };
        let token = token.or_else(bearer);
        let token = token.filter(|token| token.len() <= LONGEST_TOKEN);
        let name = |name: &str| {
            let name = text(headers, name).unwrap_or_default();
            // What is longer is no name; empty is none, either.
            if name.len() > LONGEST_NAME {
                return String::new();
            }
            name
        };
        let lain = matches!(
            self,
            Self::Lain(LainRoute::Enter { .. } | LainRoute::Attach { .. })
        );
        // Headers lie in one piece of memory, so only what is needed of them is kept, and copied.
        Hello {
            credentials: Credentials::new(token)
                .with_identity(known)
                .with_source(source),
            subprotocol: self.subprotocol(headers),
            lain: lain.then(|| {
                let place = Place::Lain {
                    app: name("app-name"),
                    proc: name("proc-name"),
                    instance: name("instance-no"),
                };
                let term = Some(name("term-type")).filter(|term| !term.is_empty());
                (place, term)
            }),
            route: self,
        }
    }

    /// The best subprotocol that the client offers.
    fn subprotocol(&self, headers: &HeaderMap) -> Option<&'static str> {
        let known: &[&'static str] = match self {
            Self::Native => &[native::SUBPROTOCOL],
            Self::Kubernetes(_) => &kubernetes::SUBPROTOCOLS,
            Self::Ttyd(_) => &[ttyd::SUBPROTOCOL],
            // LAIN's clients offer none.
            _ => &[],
        };
        let offers: Vec<&str> = headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|offer| offer.to_str().ok())
            .flat_map(|offer| offer.split(',').map(str::trim))
            .collect();
        known.iter().copied().find(|known| offers.contains(known))
    }
}

const LONGEST_TOKEN: usize = 16 << 10;
const LONGEST_NAME: usize = 256;

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'));
    cookies.find_map(|cookie| {
        let (key, value) = cookie.trim().split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

/// The pairs of a query, decoded.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let parse = |text: &str| Route::parse(&text.parse().unwrap());
        assert_eq!(parse("/v1/exec"), Some(Route::Native));
        assert_eq!(
            parse("/enter"),
            Some(Route::Lain(LainRoute::Enter { is_web: false }))
        );
        assert_eq!(
            parse("/attach?method=web"),
            Some(Route::Lain(LainRoute::Attach { is_web: true }))
        );
        assert_eq!(
            parse("/api/sessions/7/replay"),
            Some(Route::Lain(LainRoute::Replay(ReplayRequest {
                session: "7".into(),
                ..ReplayRequest::default()
            })))
        );
        let query = ReplayRequest {
            session: "7".into(),
            speed: Some("2".into()),
            idle: Some("1.5".into()),
            format: Some("asciicast".into()),
        };
        assert_eq!(
            parse("/api/sessions/7/replay?speed=2&idle=1.5&format=asciicast"),
            Some(Route::Lain(LainRoute::Replay(query)))
        );
        assert_eq!(
            parse("/ws?target=w%65b"),
            Some(Route::Ttyd(Some("web".into())))
        );
        assert_eq!(parse("/token"), Some(Route::TtydToken));
        assert_eq!(parse("/api/ping"), Some(Route::History(HistoryRoute::Ping)));
        let pairs = vec![("user".to_owned(), "a%".to_owned())];
        let sessions = HistoryRoute::Sessions(pairs);
        assert_eq!(
            parse("/api/sessions?user=a%25"),
            Some(Route::History(sessions))
        );
        let live = |route| Some(Route::Live(route));
        assert_eq!(parse("/v1/sessions"), live(LiveRoute::List));
        let signal = LiveRoute::Signal("e8".into(), Some("TERM".into()));
        assert_eq!(parse("/v1/sessions/e8/signal?signal=TERM"), live(signal));
        let end = LiveRoute::End("e8".into(), None);
        assert_eq!(parse("/v1/sessions/e8"), live(end));
        assert_eq!(parse("/v1/sessions/e8/else"), None);
        assert_eq!(parse("/terminal?target=a"), Some(Route::Page(None)));
        assert_eq!(
            parse("/terminal/x.css?1"),
            Some(Route::Page(Some("x.css".into())))
        );
        assert_eq!((parse("/"), parse("/enter/x")), (None, None));
        let Some(Route::Kubernetes(pod)) = parse(
            "/api/v1/namespaces/a/pods/b/exec?command=sh&command=-c&command=echo+%E2%82%AC%2&stdin=true&container=c",
        ) else {
            panic!("it is a pod");
        };
        assert_eq!(pod.command, ["sh", "-c", "echo €%2"]);
        assert!(pod.stdin && !pod.tty && pod.container.as_deref() == Some("c"));
    }
}
