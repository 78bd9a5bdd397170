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

#[cfg(test)]
mod tests {
    use longshore_core::{Access, Action, Identity};

    use super::*;
    use crate::access::{Credentials, Place};

    /// Lets everybody into one container.
    #[derive(Debug)]
    struct OneContainer;

    #[async_trait]
    impl Authorizer for OneContainer {
        async fn authorize(&self, _: &Identity, _: Action, target: &Target) -> Result<Access> {
            match (target.kind.as_str(), target.name.as_str()) {
                ("container", "shop/web/1") => Ok(Access::default()),
                _ => Err(Error::new(ErrorKind::PermissionDenied, "no")),
            }
        }
    }

    #[tokio::test]
    async fn an_authorizer_is_told_the_kind_of_the_place() {
        let [shop, web, one] = ["shop", "web", "1"].map(str::to_owned);
        let container = Place::Container("shop/web/1".into());
        let lain = Place::Lain {
            app: shop.clone(),
            proc: web.clone(),
            instance: one.clone(),
        };
        let pod = Place::Pod {
            namespace: shop,
            pod: web,
            container: Some(one),
        };
        for (place, allowed) in [(container, true), (lain, false), (pod, false)] {
            let credentials =
                Credentials::new(None).with_identity(Some(Identity::new("ann", "tls")));
            let request = AccessRequest::new(credentials, Action::Enter, place);
            let admitted = ByIdentity::new(Arc::new(OneContainer))
                .admit(&request)
                .await;
            assert_eq!(admitted.is_ok(), allowed, "{:?}", request.place);
        }
    }
}
