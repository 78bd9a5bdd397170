use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Error, Result};

/// Leads nowhere: the engine has no API of its own, and this build has none to offer for it.
#[derive(Debug)]
pub(crate) struct NoApi(pub(crate) String);

#[async_trait]
impl Connector for NoApi {
    async fn connect(&self) -> Result<BoxByteStream> {
        Err(Error::unsupported(format!(
            "{} serves no API: longshore-engine was built without its feature \"api\"",
            self.0
        )))
    }

    fn describe(&self) -> String {
        self.0.clone()
    }
}
