use std::fmt;

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
}

impl Place {
    /// The kind, as an [`Authorizer`](longshore_core::Authorizer)'s target has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            _ => "container",
        }
    }

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

/// The names, with slashes between them.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) | Self::Session(name) => f.write_str(name),
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
