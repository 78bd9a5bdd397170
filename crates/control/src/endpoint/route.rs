use http::Method;
use longshore_core::{Action, Target};
use percent_encoding::percent_decode_str;

/// What a request asks for: the whole route table, as data.
///
/// Container, image, network and volume names may hold slashes (`node/name`,
/// `registry/repository`), so routes are told apart by their first and last segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Info,
    Version,
    Events,
    Auth,
    ImageSearch,
    DiskUsage,
    Containers,
    ContainerCreate,
    Container(String, ContainerOp),
    ExecInspect(String),
    ExecStart(String),
    ExecResize(String),
    Commit,
    Images,
    ImageCreate,
    ImageLoad,
    ImageSaveMany,
    ImageViz,
    Image(String, ImageOp),
    Networks,
    NetworkCreate,
    Network(String, NetworkOp),
    Volumes,
    VolumeCreate,
    Volume(String, VolumeOp),
    Prune(Kind),
    Build,
    BuildPrune,
    Explain,
    ExplainRequest,
    Nodes,
    Stacks,
    Stack(String, StackOp),
    Pending,
    PendingEnqueue,
    PendingCancel(String),
}

/// What is done with one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerOp {
    Inspect,
    Start,
    Stop,
    Restart,
    Kill,
    Pause,
    Unpause,
    Update,
    Rename,
    Remove,
    Wait,
    Top,
    Logs,
    Stats,
    Changes,
    Export,
    ArchiveRead,
    ArchiveStat,
    ArchiveWrite,
    Copy,
    Resize,
    Attach,
    AttachWebSocket,
    ExecCreate,
}

/// What is done with one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImageOp {
    Inspect,
    History,
    Save,
    Tag,
    Push,
    Remove,
}

/// What is done with one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkOp {
    Inspect,
    Connect,
    Disconnect,
    Remove,
}

/// What is done with one volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VolumeOp {
    Inspect,
    Remove,
}

/// What is done with one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StackOp {
    Deploy,
    Remove,
}

/// A kind of thing that engines keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    /// The word in paths.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Container => "containers",
            Self::Image => "images",
            Self::Network => "networks",
            Self::Volume => "volumes",
        }
    }

    /// The word for an authorizer.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
}

impl ContainerOp {
    /// The last path segment at the engine.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Inspect => "json",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Update => "update",
            Self::Rename => "rename",
            Self::Remove => "",
            Self::Wait => "wait",
            Self::Top => "top",
            Self::Logs => "logs",
            Self::Stats => "stats",
            Self::Changes => "changes",
            Self::Export => "export",
            Self::ArchiveRead | Self::ArchiveStat | Self::ArchiveWrite => "archive",
            Self::Copy => "copy",
            Self::Resize => "resize",
            Self::Attach => "attach",
            Self::AttachWebSocket => "attach/ws",
            Self::ExecCreate => "exec",
        }
    }

    fn parse(method: &Method, word: &str) -> Option<Self> {
        let (get, post) = (method == Method::GET, method == Method::POST);
        Some(match word {
            "json" if get => Self::Inspect,
            "start" if post => Self::Start,
            "stop" if post => Self::Stop,
            "restart" if post => Self::Restart,
            "kill" if post => Self::Kill,
            "pause" if post => Self::Pause,
            "unpause" if post => Self::Unpause,
            "update" if post => Self::Update,
            "rename" if post => Self::Rename,
            "wait" if post => Self::Wait,
            "top" if get => Self::Top,
            "logs" if get => Self::Logs,
            "stats" if get => Self::Stats,
            "changes" if get => Self::Changes,
            "export" if get => Self::Export,
            "archive" if get => Self::ArchiveRead,
            "archive" if method == Method::HEAD => Self::ArchiveStat,
            "archive" if method == Method::PUT => Self::ArchiveWrite,
            "copy" if post => Self::Copy,
            "resize" if post => Self::Resize,
            "attach" if post => Self::Attach,
            "exec" if post => Self::ExecCreate,
            _ => return None,
        })
    }

    fn action(self) -> Action {
        match self {
            Self::Inspect | Self::Top | Self::Logs | Self::Stats | Self::Changes | Self::Wait => {
                Action::Read
            }
            Self::Export
            | Self::ArchiveRead
            | Self::ArchiveStat
            | Self::ArchiveWrite
            | Self::Copy
            | Self::Resize
            | Self::Attach
            | Self::AttachWebSocket
            | Self::ExecCreate => Action::Enter,
            _ => Action::Write,
        }
    }
}

impl Route {
    /// Finds the route of a path without version prefix. `None` is a 404.
    pub(super) fn parse(method: &Method, path: &str) -> Option<Self> {
        let (get, post) = (method == Method::GET, method == Method::POST);
        let head = method == Method::HEAD;
        let delete = method == Method::DELETE;
        let (first, rest) = path
            .strip_prefix('/')?
            .split_once('/')
            .unwrap_or((path.strip_prefix('/')?, ""));
        Some(match (first, rest) {
            ("_ping", "") if get || head => Self::Ping,
            ("info", "") if get => Self::Info,
            ("version", "") if get => Self::Version,
            ("events", "") if get => Self::Events,
            ("auth", "") if post => Self::Auth,
            ("commit", "") if post => Self::Commit,
            ("build", "") if post => Self::Build,
            ("build", "prune") if post => Self::BuildPrune,
            ("system", "df") if get => Self::DiskUsage,
            ("containers" | "images" | "networks" | "volumes", "prune") if post => {
                Self::Prune(match first {
                    "containers" => Kind::Container,
                    "images" => Kind::Image,
                    "networks" => Kind::Network,
                    _ => Kind::Volume,
                })
            }
            ("containers", "json" | "ps") if get => Self::Containers,
            ("containers", "create") if post => Self::ContainerCreate,
            ("containers", name) if delete => Self::Container(decode(name)?, ContainerOp::Remove),
            ("containers", rest) => {
                if let Some(name) = rest.strip_suffix("/attach/ws").filter(|_| get) {
                    return Some(Self::Container(decode(name)?, ContainerOp::AttachWebSocket));
                }
                let (name, word) = rest.rsplit_once('/')?;
                Self::Container(decode(name)?, ContainerOp::parse(method, word)?)
            }
            ("exec", rest) => {
                let (id, word) = rest.rsplit_once('/')?;
                let id = decode(id)?;
                match word {
                    "json" if get => Self::ExecInspect(id),
                    "start" if post => Self::ExecStart(id),
                    "resize" if post => Self::ExecResize(id),
                    _ => return None,
                }
            }
            ("images", "json") if get => Self::Images,
            ("images", "create") if post => Self::ImageCreate,
            ("images", "load") if post => Self::ImageLoad,
            ("images", "get") if get => Self::ImageSaveMany,
            ("images", "search") if get => Self::ImageSearch,
            ("images", "viz") if get => Self::ImageViz,
            ("images", name) if delete => Self::Image(decode(name)?, ImageOp::Remove),
            ("images", rest) => {
                let (name, word) = rest.rsplit_once('/')?;
                let op = match word {
                    "json" if get => ImageOp::Inspect,
                    "history" if get => ImageOp::History,
                    "get" if get => ImageOp::Save,
                    "tag" if post => ImageOp::Tag,
                    "push" if post => ImageOp::Push,
                    _ => return None,
                };
                Self::Image(decode(name)?, op)
            }
            ("networks", "") if get => Self::Networks,
            ("networks", "create") if post => Self::NetworkCreate,
            ("networks", name) if delete => Self::Network(decode(name)?, NetworkOp::Remove),
            ("networks", name) if get => Self::Network(decode(name)?, NetworkOp::Inspect),
            ("networks", rest) => {
                let (name, word) = rest.rsplit_once('/')?;
                let op = match word {
                    "connect" if post => NetworkOp::Connect,
                    "disconnect" if post => NetworkOp::Disconnect,
                    _ => return None,
                };
                Self::Network(decode(name)?, op)
            }
            ("volumes", "") if get => Self::Volumes,
            ("volumes", "create") if post => Self::VolumeCreate,
            ("volumes", name) if delete => Self::Volume(decode(name)?, VolumeOp::Remove),
            ("volumes", name) if get => Self::Volume(decode(name)?, VolumeOp::Inspect),
            ("longshore", "v1/explain") if get => Self::Explain,
            ("longshore", "v1/explain") if post => Self::ExplainRequest,
            ("longshore", "v1/nodes") if get => Self::Nodes,
            ("longshore", "v1/stacks") if get => Self::Stacks,
            ("longshore", "v1/pending") if get => Self::Pending,
            ("longshore", "v1/pending") if post => Self::PendingEnqueue,
            ("longshore", rest) => {
                if let Some(work) = rest.strip_prefix("v1/pending/").filter(|_| delete) {
                    return Some(Self::PendingCancel(decode(work)?));
                }
                let name = decode(rest.strip_prefix("v1/stacks/")?)?;
                let op = match *method {
                    Method::PUT => StackOp::Deploy,
                    Method::DELETE => StackOp::Remove,
                    _ => return None,
                };
                Self::Stack(name, op)
            }
            _ => return None,
        })
    }

    /// What an authorizer is asked. `None`: open to everyone who can connect.
    pub(super) fn action(&self) -> Option<Action> {
        Some(match self {
            Self::Ping | Self::Version => return None,
            Self::Container(_, op) => op.action(),
            Self::ExecStart(_) | Self::ExecResize(_) => Action::Enter,
            Self::ContainerCreate
            | Self::Commit
            | Self::ImageCreate
            | Self::ImageLoad
            | Self::NetworkCreate
            | Self::VolumeCreate
            | Self::Prune(_)
            | Self::Build
            | Self::BuildPrune
            | Self::Auth
            | Self::Image(_, ImageOp::Tag | ImageOp::Push | ImageOp::Remove)
            | Self::Network(_, NetworkOp::Connect | NetworkOp::Disconnect | NetworkOp::Remove)
            | Self::Volume(_, VolumeOp::Remove)
            | Self::PendingEnqueue
            | Self::PendingCancel(_)
            | Self::Stack(..) => Action::Write,
            Self::Image(..)
            | Self::Network(..)
            | Self::Volume(..)
            | Self::Info
            | Self::Events
            | Self::ImageSearch
            | Self::DiskUsage
            | Self::Containers
            | Self::ExecInspect(_)
            | Self::Images
            | Self::ImageSaveMany
            | Self::ImageViz
            | Self::Networks
            | Self::Volumes
            | Self::Explain
            | Self::ExplainRequest
            | Self::Nodes
            | Self::Pending
            | Self::Stacks => Action::Read,
        })
    }

    /// On what. Labels are added where the thing is known.
    pub(super) fn target(&self) -> Target {
        match self {
            Self::Containers | Self::ContainerCreate | Self::Commit | Self::PendingEnqueue => {
                Target::new("container", "")
            }
            Self::Container(name, _) => Target::new("container", name),
            Self::ExecInspect(id) | Self::ExecStart(id) | Self::ExecResize(id) => {
                Target::new("exec", id)
            }
            Self::Images
            | Self::ImageCreate
            | Self::ImageLoad
            | Self::ImageSaveMany
            | Self::ImageSearch
            | Self::ImageViz
            | Self::Build
            | Self::BuildPrune => Target::new("image", ""),
            Self::Image(name, _) => Target::new("image", name),
            Self::Networks | Self::NetworkCreate => Target::new("network", ""),
            Self::Network(name, _) => Target::new("network", name),
            Self::Volumes | Self::VolumeCreate => Target::new("volume", ""),
            Self::Volume(name, _) => Target::new("volume", name),
            Self::Prune(kind) => Target::new(kind.word(), ""),
            Self::Nodes => Target::new("node", ""),
            Self::Stack(name, _) => Target::new("stack", name),
            Self::Pending => Target::new("pending", ""),
            Self::PendingCancel(work) => Target::new("pending", work),
            _ => Target::new("cluster", ""),
        }
    }
}

/// A name from a path; an empty one or one that is not UTF-8 matches no route.
fn decode(text: &str) -> Option<String> {
    let name = percent_decode_str(text).decode_utf8().ok()?;
    let name = name.trim_matches('/');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
