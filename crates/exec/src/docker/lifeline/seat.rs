use std::sync::Arc;

use longshore_core::{BoxByteStream, ExecRequest, Result};

use super::{Key, SCRIPT, helper::Helper};
use crate::{cleanup::Group, docker::api::Api};

/// Where the shell of a lifeline runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Seat {
    /// In the container, as this user, whose processes it sees.
    Inside(String),
    /// In a helper container of this image. It sees the processes of all users.
    Beside(String),
}

impl Seat {
    /// Starts the shell. Its stream comes before its first word.
    pub(super) async fn start(
        api: &Arc<Api>,
        key: &Key,
        group: &Group,
    ) -> Result<(BoxByteStream, Option<Helper>)> {
        let policy = if key.tree { "tree" } else { "foreground" };
        let command = [
            "sh",
            "-c",
            SCRIPT,
            "longshore-lifeline",
            group.prefix(),
            policy,
        ];
        match &key.seat {
            Self::Inside(user) => {
                let mut request = ExecRequest::new(key.workload.clone(), command).with_stdin();
                user.clone_into(&mut request.user);
                let id = api.create_exec(&request, &[]).await?;
                Ok((api.start_exec(&id, false, None).await?, None))
            }
            Self::Beside(image) => {
                let (stream, helper) = Helper::start(api, key, image, &command).await?;
                Ok((stream, Some(helper)))
            }
        }
    }

    /// What it means that no shell said its word.
    pub(super) fn complaint(&self) -> &'static str {
        match self {
            Self::Inside(_) => "the container has no usable shell for a lifeline",
            Self::Beside(_) => "the helper's image has no usable shell for a lifeline",
        }
    }
}
