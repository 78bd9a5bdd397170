//! Calls about containers and images of our own.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use longshore_core::{
    ClockExt, Error, ErrorKind, Result,
    http::{Body, full_body, read_body},
};
use serde_json::Value;

use super::{Api, Created, LARGEST_ANSWER, PATIENCE, parse, refused, segment};

impl Api {
    /// Unpacks an archive at the root of a container.
    pub(in crate::docker) async fn put_archive(
        &self,
        container: &str,
        archive: Bytes,
    ) -> Result<()> {
        let path = format!("/containers/{}/archive?path=%2F", segment(container));
        self.upload(Method::PUT, &path, archive).await.map(drop)
    }

    pub(in crate::docker) async fn has_image(&self, reference: &str) -> Result<bool> {
        let path = format!("/images/{reference}/json");
        match self.send(Method::GET, &path, None).await? {
            (status, _) if status.is_success() => Ok(true),
            (StatusCode::NOT_FOUND, _) => Ok(false),
            (status, body) => Err(refused(status, &body)),
        }
    }

    /// Makes an image out of a file system.
    pub(in crate::docker) async fn import_image(
        &self,
        repository: &str,
        tag: &str,
        archive: Bytes,
    ) -> Result<()> {
        let path = format!("/images/create?fromSrc=-&repo={repository}&tag={tag}");
        let answer = self.upload(Method::POST, &path, archive).await?;
        // The status comes before the work; a failure is told in the body.
        match answer.windows(ERROR.len()).any(|piece| piece == ERROR) {
            true => Err(
                Error::internal("the engine could not import the stub's image")
                    .with_backend("docker"),
            ),
            false => Ok(()),
        }
    }

    /// Makes a container and gives its id.
    pub(in crate::docker) async fn create_container(
        &self,
        name: &str,
        config: &Value,
    ) -> Result<String> {
        let path = format!("/containers/create?name={}", segment(name));
        let created: Created = self.call(Method::POST, &path, Some(config)).await?;
        Ok(created.id)
    }

    pub(in crate::docker) async fn start_container(&self, id: &str) -> Result<()> {
        let path = format!("/containers/{}/start", segment(id));
        match self.send(Method::POST, &path, None).await? {
            // 304: it runs.
            (status, _) if status.is_success() || status == StatusCode::NOT_MODIFIED => Ok(()),
            (status, body) => Err(refused(status, &body)),
        }
    }

    /// Ends and removes a container, and tells whether it was there.
    pub(in crate::docker) async fn remove_container(&self, id: &str) -> Result<bool> {
        self.remove(&format!("/containers/{}?force=1&v=1", segment(id)))
            .await
    }

    /// Removes a container if it does not run; the engine refuses where it does.
    pub(in crate::docker) async fn remove_container_at_rest(&self, id: &str) -> Result<bool> {
        self.remove(&format!("/containers/{}?v=1", segment(id)))
            .await
    }

    async fn remove(&self, path: &str) -> Result<bool> {
        match self.send(Method::DELETE, path, None).await? {
            (status, _) if status.is_success() => Ok(true),
            (StatusCode::NOT_FOUND, _) => Ok(false),
            // It is being removed, or it runs and is not to be.
            (StatusCode::CONFLICT, _) => Ok(true),
            (status, body) => Err(refused(status, &body)),
        }
    }

    /// The first line of the log of a container on a terminal, waiting for it.
    pub(in crate::docker) async fn first_line(&self, id: &str) -> Result<String> {
        let path = format!("/containers/{}/logs?stdout=1&follow=1", segment(id));
        let reading = async {
            let request = super::request(Method::GET, &path, None)?;
            let response = self.client.send(request).await?;
            let status = response.status();
            let mut body = response.into_body();
            if !status.is_success() {
                return Err(refused(status, &read_body(body, LARGEST_ANSWER).await?));
            }
            let mut text = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| {
                    Error::new(ErrorKind::Unavailable, "the log broke off").with_source(error)
                })?;
                text.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
                if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    text.truncate(end);
                    return Ok(String::from_utf8_lossy(&text).trim().to_owned());
                }
                if text.len() > LONGEST_LINE {
                    break;
                }
            }
            Err(Error::protocol("a helper container did not say its line"))
        };
        self.clock
            .timeout(PATIENCE, "a helper container", reading)
            .await?
    }

    async fn upload(&self, method: Method, path: &str, archive: Bytes) -> Result<Bytes> {
        let request: Request<Body> = Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", "application/x-tar")
            .body(full_body(archive))
            .map_err(|error| Error::internal("invalid request").with_source(error))?;
        let answer = async {
            let response = self.client.send(request).await?;
            let status = response.status();
            let body = read_body(response.into_body(), LARGEST_ANSWER).await?;
            if status.is_success() {
                Ok(body)
            } else {
                Err(refused(status, &body))
            }
        };
        self.clock
            .timeout(PATIENCE, "the upload of the stub", answer)
            .await?
    }

    /// How a container that was told to do one thing ended.
    pub(in crate::docker) async fn wait_for_helper(&self, id: &str) -> Result<i64> {
        let path = format!("/containers/{}/wait", segment(id));
        let waiting = async {
            let request = super::request(Method::POST, &path, None)?;
            let response = self.client.send(request).await?;
            let status = response.status();
            let body = read_body(response.into_body(), LARGEST_ANSWER).await?;
            let ended: super::Ended = parse(status, &body)?;
            Ok(ended.code)
        };
        self.clock
            .timeout(PATIENCE, "a helper container", waiting)
            .await?
    }
}

const ERROR: &[u8] = b"\"errorDetail\"";
const LONGEST_LINE: usize = 256;
