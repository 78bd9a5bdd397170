//! The exec gateway over a control plane: what it takes to join the two crates.

mod backends;
mod reaping;
mod records;
mod terminal;

use std::sync::Arc;

use async_trait::async_trait;
use axum::{Router, body::Body, extract::Request};
use longshore::{
    Error, ErrorKind, Result,
    control::{
        ContainerView, ControlPlane,
        endpoint::{EndpointOptions, EndpointService, ListenAddress, ListenOptions},
    },
    core::{Identity, Leader, Shutdown, Target, printable},
    exec::{
        access::{
            AccessControl, AccessRequest, Admission, Directory, Located, NameProven, OriginCheck,
            Place,
        },
        gateway::{Gateway, GatewayOptions},
        session::SessionHub,
    },
};

use self::{backends::Backends, records::NotRecorded};
pub use self::{backends::Sessions, records::open as records};

/// The plane's endpoint and, at the paths of its protocols, the exec gateway. Docker's API has none
/// of these paths, so stock clients of both find what they look for.
pub fn app(
    plane: &ControlPlane,
    endpoint: EndpointOptions,
    addresses: &[ListenAddress],
    listen: &ListenOptions,
    sessions: Sessions,
    shutdown: &Shutdown,
) -> Router {
    let gateway = gateway(plane, addresses, listen, sessions, shutdown);
    // All TCP has TLS, or none.
    let has_tls = listen.tls.is_some();
    let enter = axum::routing::any(move |mut request: Request| {
        let gateway = gateway.clone();
        async move {
            if proves_name(has_tls, &request) {
                request.extensions_mut().insert(NameProven);
            }
            gateway.handle(request).await.map(Body::new)
        }
    });
    let mut paths = Router::new();
    for path in PATHS {
        paths = paths.route(path, enter.clone());
    }
    paths.fallback_service(EndpointService::new(plane.clone(), endpoint))
}

/// Native, sessions that go on, LAIN, Kubernetes, ttyd, the web terminal.
const PATHS: [&str; 16] = [
    "/v1/exec",
    "/v1/sessions",
    "/v1/sessions/{id}",
    "/v1/sessions/{id}/signal",
    "/enter",
    "/attach",
    "/api/sessions/{id}/replay",
    "/api/ping",
    "/api/sessions",
    "/api/commands",
    "/api/v1/namespaces/{namespace}/pods/{pod}/{verb}",
    "/ws",
    "/token",
    "/terminal",
    "/terminal/",
    "/terminal/{file}",
];

/// Whether no web page of another name can have sent it: it came over TLS, or over a unix socket, to
/// which no browser connects.
fn proves_name(has_tls: bool, request: &Request) -> bool {
    let who = request.extensions().get::<Identity>();
    has_tls || who.is_some_and(|who| who.proof == "unix")
}

/// The names that this server is called by where nothing proves them.
fn origin(addresses: &[ListenAddress], listen: &ListenOptions) -> OriginCheck {
    let listened = addresses.iter().filter_map(|address| match address {
        ListenAddress::Tcp(endpoint) => Some(endpoint.host()),
        _ => None,
    });
    let allowed = listen.allowed_hosts.iter().map(String::as_str);
    let names = allowed.chain(listened).filter(|name| !name.is_empty());
    names.fold(OriginCheck::new(), OriginCheck::with_host)
}

fn gateway(
    plane: &ControlPlane,
    addresses: &[ListenAddress],
    listen: &ListenOptions,
    sessions: Sessions,
    shutdown: &Shutdown,
) -> Gateway {
    let clock = plane.clock().clone();
    let hub = SessionHub::new(clock.clone(), plane.random().clone(), shutdown.clone());
    let mut hub = hub.with_limits(sessions.limits);
    let records = sessions.records.clone();
    if let Some(records) = &records {
        hub = hub.with_recorder(records.clone());
    }
    let options = GatewayOptions::default()
        .with_session(sessions.options)
        .with_least_cleanup(sessions.least_cleanup);
    let is_known_again = sessions.gateway.is_some();
    let backends = Arc::new(Backends::new(plane.clone(), sessions));
    if is_known_again {
        let [there, life, reap] = [(); 3].map(|()| backends.clone());
        shutdown.spawn_until(reaping::run(
            clock.clone(),
            move || there.there(),
            move || life.unsettled(),
            move |node| {
                let backends = reap.clone();
                async move { backends.reap(&node).await }
            },
        ));
    }
    let cluster = Arc::new(Cluster {
        backends,
        plane: plane.clone(),
    });
    let gateway = Gateway::new(hub, cluster.clone(), clock, shutdown.clone())
        .with_options(options)
        .with_access(cluster)
        .with_audit(plane.audit().clone())
        .with_origin(origin(addresses, listen));
    terminal::with_page(match records {
        Some(records) => gateway.with_records(records),
        None => gateway.with_recordings(Arc::new(NotRecorded)),
    })
}

/// Where containers are, and who may get in, as the plane knows it.
#[derive(Debug)]
struct Cluster {
    plane: ControlPlane,
    backends: Arc<Backends>,
}

#[async_trait]
impl Directory for Cluster {
    async fn find(&self, place: &Place) -> Result<Located> {
        self.refuse_while_another_leads()?;
        let container = self.container(place)?;
        let name = container.node_name.as_str();
        let node = self.plane.node(container.node.as_str());
        // Over the node's pooled connections, and through its tunnel where it has one.
        let backend = node.as_ref().and_then(|node| self.backends.of(node));
        let backend = backend.ok_or_else(|| {
            Error::unavailable(format!(
                "node {name} of container {place} is not reachable now"
            ))
        })?;
        let located = Located::new(Arc::new(backend), container.workload.id.clone());
        Ok(located.with_node(name))
    }
}

#[async_trait]
impl AccessControl for Cluster {
    /// Who asks is proven by the connection: the user of the unix socket, the certificate's name,
    /// loopback. What that name may do is the authorizer's word, as for the endpoint's own exec.
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let place = &request.place;
        let who = request.credentials.identity.clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Unauthenticated,
                "the connection does not say who asks",
            )
        })?;
        let mut target = Target::new(place.kind(), place.to_string());
        if let Ok(container) = self.container(place) {
            target = target.with_labels(container.workload.labels.clone());
        }
        let authorizer = self.plane.authorizer();
        let access = authorizer.authorize(&who, request.action, &target).await?;
        Ok(Admission::new(who).with_access(access))
    }
}

impl Cluster {
    /// LAIN's application, process and instance are a stack, its service and the number in it; a pod
    /// is a container by its name, in the namespace of its stack or in `default`.
    fn container(&self, place: &Place) -> Result<Arc<ContainerView>> {
        let missing = || Error::not_found(format!("No such container: {place}"));
        match place {
            Place::Container(name) => self.plane.container(name).map_err(|error| {
                let named = name.split_once('/').map(|(node, _)| node);
                match named.filter(|node| {
                    error.kind() == ErrorKind::NotFound && self.plane.node(node).is_none()
                }) {
                    Some(node) => {
                        let node = printable(node, 100);
                        Error::not_found(format!("{}: there is no node {node}", error.message()))
                    }
                    None => error,
                }
            }),
            Place::Lain {
                app,
                proc,
                instance,
            } => {
                let wanted = [(STACK, app), (SERVICE, proc), (INSTANCE, instance)];
                let is_it = |view: &ContainerView| {
                    let labels = &view.workload.labels;
                    wanted
                        .iter()
                        .all(|(label, value)| labels.get(label) == Some(value.as_str()))
                };
                let containers = self.plane.containers();
                containers
                    .iter()
                    .find(|view| is_it(view))
                    .cloned()
                    .ok_or_else(missing)
            }
            Place::Pod { namespace, pod, .. } => {
                let container = self.plane.container(pod)?;
                let stack = container.workload.labels.get(STACK);
                let here = namespace == "default" || stack == Some(namespace.as_str());
                here.then_some(container).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    /// Sessions live where they were opened, so they are opened at the manager that leads.
    fn refuse_while_another_leads(&self) -> Result<()> {
        if self.plane.leads() {
            return Ok(());
        }
        let leader = self.plane.election().map(|election| election.leader());
        let text = match leader {
            Some(Leader::Elsewhere(address)) => {
                format!("this manager does not lead: ask the one at {address}")
            }
            _ => "no manager leads at the moment: try again".to_owned(),
        };
        Err(Error::unavailable(text))
    }
}

/// The labels by which a plane marks the instances of its stacks.
const STACK: &str = "longshore.stack";
const SERVICE: &str = "longshore.service";
const INSTANCE: &str = "longshore.instance";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_under_a_foreign_name_gets_in_nowhere() {
        let listen = ListenOptions::default().with_allowed_host("cluster.example");
        let addresses = ["unix:///run/x.sock", "tcp://docker-1.lan:2375", ":2376"];
        let addresses = addresses.map(|address| address.parse().expect("an address"));
        let origin = origin(&addresses, &listen);
        let may = |host: &str, proof: &str, has_tls: bool| {
            let mut request = Request::get("/api/sessions/1/replay")
                .header("host", host)
                .body(Body::empty())
                .expect("a request");
            let extensions = request.extensions_mut();
            extensions.insert(Identity::new("somebody", proof));
            if proves_name(has_tls, &request) {
                request.extensions_mut().insert(NameProven);
            }
            origin.check(&request).is_ok()
        };
        for own in [
            "localhost:2375",
            "127.0.0.1",
            "docker-1.lan:2375",
            "cluster.example",
        ] {
            assert!(may(own, "local", false), "{own}");
        }
        assert!(!may("evil.example", "local", false));
        assert!(!may("evil.example", "none", false));
        // The names of a certificate are its own business, and a unix socket has none.
        assert!(may("manager.example", "tls", true));
        assert!(may("manager.example", "none", true));
        assert!(may("docker", "unix", false));
    }
}
