use std::fmt;

use crate::session::SessionOrigin;

/// Where somebody wants to get in, in the words of the protocol that was used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Place {
    /// By a container's name or id, or whatever the directory understands.
    Container(String),
    /// An instance of a process of a LAIN application.
    Lain {
        /// The application.
        app: String,
        /// The process.
        proc: String,
        /// The instance's number, as text.
        instance: String,
    },
    /// A container of a Kubernetes pod.
    Pod {
        /// The namespace.
        namespace: String,
        /// The pod.
        pod: String,
        /// The container; `None`: its first.
        container: Option<String>,
    },
    /// Another session, to look on.
    Session(String),
    /// The records of all sessions.
    Records,
}

impl Place {
    /// The kind: `container`, `lain`, `pod`, `session` or `records`, as grants name it and as an
    /// [`Authorizer`](longshore_core::Authorizer)'s target and the audit log have it. Two places of
    /// different kinds may be written in the same way, so a name without its kind is no place.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Container(_) => Self::CONTAINER,
            Self::Lain { .. } => Self::LAIN,
            Self::Pod { .. } => Self::POD,
            Self::Session(_) => Self::SESSION,
            Self::Records => Self::RECORDS,
        }
    }

    pub(super) const CONTAINER: &'static str = "container";
    pub(super) const RECORDS: &'static str = "records";
    const LAIN: &'static str = "lain";
    const POD: &'static str = "pod";
    const SESSION: &'static str = "session";
    pub(super) const KINDS: [&'static str; 5] = [
        Self::CONTAINER,
        Self::LAIN,
        Self::POD,
        Self::SESSION,
        Self::RECORDS,
    ];

    /// Whether all its names are of sane length and characters.
    pub(crate) fn is_sane(&self) -> bool {
        let sane = |name: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
            (1..=256).contains(&name.len()) && name.bytes().all(known)
        };
        // A LAIN name stands in a path of the console.
        let bare =
            |name: &str| sane(name) && !name.contains(['/', ':']) && name != ".." && name != ".";
        match self {
            Self::Container(name) | Self::Session(name) => sane(name),
            Self::Records => true,
            Self::Lain {
                app,
                proc,
                instance,
            } => bare(app) && bare(proc) && bare(instance),
            Self::Pod {
                namespace,
                pod,
                container,
            } => bare(namespace) && bare(pod) && container.as_deref().is_none_or(bare),
        }
    }
}

/// The names, with slashes between them, without the kind.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) | Self::Session(name) => f.write_str(name),
            Self::Records => f.write_str("records"),
            Self::Lain {
                app,
                proc,
                instance,
            } => write!(f, "{app}/{proc}/{instance}"),
            Self::Pod {
                namespace,
                pod,
                container,
            } => match container {
                Some(container) => write!(f, "{namespace}/{pod}/{container}"),
                None => write!(f, "{namespace}/{pod}"),
            },
        }
    }
}

impl Place {
    /// What a session's record says of it.
    pub(crate) fn origin(&self) -> SessionOrigin {
        let origin = SessionOrigin::new().with_place(self.to_string());
        match self {
            Self::Lain {
                app,
                proc,
                instance,
            } => origin.with_instance(app, proc, instance),
            Self::Pod {
                namespace,
                pod,
                container,
            } => origin.with_instance(namespace, pod, container.clone().unwrap_or_default()),
            Self::Container(_) | Self::Session(_) | Self::Records => origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(place: &Place, asked: &str, app: &str) {
        let origin = place.origin();
        assert_eq!((origin.place.as_str(), origin.app.as_str()), (asked, app));
    }

    #[test]
    fn a_record_names_what_was_asked_for() {
        check(&Place::Container("web".into()), "web", "");
        let lain = Place::Lain {
            app: "shop".into(),
            proc: "web".into(),
            instance: "1".into(),
        };
        check(&lain, "shop/web/1", "shop");
        let pod = Place::Pod {
            namespace: "default".into(),
            pod: "web".into(),
            container: None,
        };
        check(&pod, "default/web", "default");
    }
}
