use longshore_core::ExecRequest;

use crate::{
    cleanup::Cleanup,
    docker::{api::ContainerState, context::Context},
    session::HELPER_SHELL,
};

/// What the engine is asked for, and what the stub is told.
pub(super) struct Wrapped {
    /// As whom the stub is started.
    pub(super) user: String,
    /// The stub's arguments.
    pub(super) words: Vec<String>,
}

/// How a session is asked for.
pub(super) fn wrap(
    context: &Context,
    request: &ExecRequest,
    container: &ContainerState,
) -> Wrapped {
    let mut wrapped = Wrapped {
        user: request.user.clone(),
        words: vec!["session".to_owned()],
    };
    let mut flag = |words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned());
        wrapped.words.extend(words);
    };
    if request.tty {
        let size = request.size.unwrap_or_default();
        flag(&["--tty", &format!("{}x{}", size.columns, size.rows)]);
    }
    if !request.stdin {
        flag(&["--no-input"]);
    }
    flag(keeping(context.settings.cleanup));
    let user = match request.user.as_str() {
        "" => container.config.user.as_str(),
        user => user,
    };
    // As root it reaches what changed its user, and the file of a helper container.
    if !is_root(user) && may_become_others(container) {
        flag(&["--user", user]);
        wrapped.user = "0:0".to_owned();
    }
    wrapped.words.push("--".to_owned());
    if request.command == [HELPER_SHELL] {
        // By this name it finds itself also where its file is another container's.
        let helper = ["/proc/self/exe", "shell"].map(str::to_owned);
        wrapped.words.extend(helper);
    } else {
        wrapped.words.extend(request.command.iter().cloned());
    }
    wrapped
}

/// What a stub is told of what it is to leave, for a session with this cleanup: all that is in the
/// background, or nothing. One that leaves everything has no stub.
fn keeping(cleanup: Cleanup) -> &'static [&'static str] {
    match cleanup {
        Cleanup::Tree => &[],
        _ => &["--keep"],
    }
}

fn is_root(user: &str) -> bool {
    matches!(
        user,
        "" | "0" | "root" | "0:0" | "root:root" | "0:root" | "root:0"
    )
}

/// Without these capabilities root can't become anybody.
fn may_become_others(container: &ContainerState) -> bool {
    let dropped = container.host_config.cap_drop.iter().flatten();
    !dropped.into_iter().any(|name| {
        let name = name.to_ascii_uppercase();
        matches!(name.trim_start_matches("CAP_"), "ALL" | "SETUID" | "SETGID")
    })
}
