use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::{Authorizer, Error, ErrorKind, Result, Target};

use super::{AccessControl, AccessRequest, Admission};

/// Asks core's [`Authorizer`] about who the server around the gateway has proven: by a client
/// certificate, a unix socket, a login of its own.
#[derive(Clone, Debug)]
pub struct ByIdentity(Arc<dyn Authorizer>);

impl ByIdentity {
    /// Asks this one.
    pub fn new(authorizer: Arc<dyn Authorizer>) -> Self {
        Self(authorizer)
    }
}

#[async_trait]
impl AccessControl for ByIdentity {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let Some(who) = request.credentials.identity.clone() else {
            return Err(Error::new(
                ErrorKind::Unauthenticated,
                "the server in front of the gateway has proven nobody",
            ));
        };
        let target = Target::new(request.place.kind(), request.place.to_string());
        let access = self.0.authorize(&who, request.action, &target).await?;
        Ok(Admission::new(who).with_access(access))
    }
}
