use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::{Action, Error, ErrorKind, Result};

use super::{AccessControl, AccessRequest, Admission};

/// Lets only listed commands through to another access control.
///
/// A program is compared as it was written; its arguments are free. Environment, folder and user
/// must be the container's own, because they decide what a name stands for. Who may run a shell may
/// run anything, so a login is allowed by name: [`with_login`](Self::with_login).
#[derive(Clone, Debug)]
pub struct OnlyCommands {
    inner: Arc<dyn AccessControl>,
    programs: Vec<String>,
    login: bool,
}

impl OnlyCommands {
    /// Only these programs.
    pub fn new<I, S>(inner: Arc<dyn AccessControl>, programs: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self {
            inner,
            programs: programs.into_iter().map(Into::into).collect(),
            login: false,
        }
    }

    /// And a shell, when no command is named.
    #[must_use]
    pub fn with_login(mut self) -> Self {
        self.login = true;
        self
    }
}

#[async_trait]
impl AccessControl for OnlyCommands {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let allowed = match request.command.first() {
            Some(program) => self.programs.contains(program),
            None => self.login || request.action == Action::Read,
        };
        let own = request.env.is_empty() && request.dir.is_empty() && request.user.is_empty();
        if !allowed || !own {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "this command is not on the list of those that may be run",
            ));
        }
        self.inner.admit(request).await
    }
}
