//! `platform cp`: files and folders into a container and out of it, over the endpoint's archives.

mod pack;
mod pipe;
mod place;
mod stream;
#[cfg(test)]
mod tests;
mod unpack;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use longshore::{
    Connector,
    core::http::{Body, HttpClient, empty_body, read_body, stream_body},
};

use self::{
    pipe::Pipe,
    place::{Copying, Inside, ready_to_receive},
};
use crate::{Failure, cli::Cp, client, progress::Step, say::note};

pub async fn run(args: Cp) -> Result<(), Failure> {
    let copying = Copying::parse(&args.source, &args.destination)?;
    match copying {
        Copying::OutStream { .. } => stream::refuse_terminal(true)?,
        Copying::InStream { .. } => stream::refuse_terminal(false)?,
        _ => {}
    }
    let connector = client::connector(&args.host)?;
    copy(connector, copying, args.links()).await
}

async fn copy(
    connector: Arc<dyn Connector>,
    copying: Copying,
    links: Links,
) -> Result<(), Failure> {
    let endpoint = Archives(client::http(connector));
    match copying {
        Copying::Out { from, to } => {
            let source = endpoint.source(&from, links).await?;
            endpoint.copy_out(&from, &source, &to).await
        }
        Copying::In { from, to } => endpoint.copy_in(&from, &to, links).await,
        Copying::OutStream { from } => {
            let source = endpoint.source(&from, links).await?;
            endpoint.read_out(&source, &mut tokio::io::stdout()).await
        }
        Copying::InStream { to } => endpoint.read_in(tokio::io::stdin(), &to).await,
    }
}

/// What becomes of a source that is itself a symlink. Those within it stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    Copied,
    Followed,
}

impl Cp {
    fn links(&self) -> Links {
        match self.follow_link {
            true => Links::Followed,
            false => Links::Copied,
        }
    }
}

/// The endpoint's archive routes.
struct Archives(HttpClient);

impl Archives {
    /// Where a source really is.
    async fn source(&self, from: &Inside, links: Links) -> Result<Inside, Failure> {
        match links {
            Links::Copied => Ok(from.clone()),
            Links::Followed => Ok(self.follow(from).await?.0),
        }
    }

    /// Under the name that was said, wherever that led.
    async fn copy_out(&self, named: &Inside, from: &Inside, to: &Path) -> Result<(), Failure> {
        let into = ready_to_receive(to, named.name())?;
        let step = Step::start(format!("copying {from} to {}", to.display()));
        let request = self.request(Method::GET, from, &from.path, "", empty_body())?;
        let response = self.answer(request).await?;
        let response = successful(response, from).await?;
        let (pipe, mut reader) = Pipe::new();
        let moved = Arc::clone(&pipe.moved);
        let unpacking = tokio::task::spawn_blocking(move || {
            let report = unpack::unpack(&mut reader, &into);
            // What stands behind the archive's end is part of the answer, too.
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
            report
        });
        let mut body = response.into_body();
        let feeding = async {
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data()
                    && !pipe.send(data).await
                {
                    break;
                }
            }
            drop(pipe);
            Ok::<_, longshore::Error>(())
        };
        // Whatever the unpacking says of an answer that broke off, why it did is the better word.
        let fed = shown(&step, &moved, feeding).await;
        let report = unpacking
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        fed?;
        let report = report.map_err(|error| Failure::new(format!("{from}: {error}")))?;
        if report.is_nothing
            && let [only] = report.skipped.as_slice()
        {
            let hint = match only.contains("a symlink") {
                true => "; -L copies what it leads to",
                false => "",
            };
            return Err(Failure::new(format!("nothing was copied: {only}{hint}")));
        }
        for skipped in &report.skipped {
            note(format_args!("warning: left out: {skipped}"));
        }
        step.done(&format!("{} files, {} bytes", report.files, report.bytes));
        Ok(())
    }

    async fn copy_in(&self, from: &Path, to: &Inside, links: Links) -> Result<(), Failure> {
        let failed = |error| Failure::new(format!("{}: {error}", from.display()));
        let source = match links {
            Links::Copied => from.to_owned(),
            Links::Followed => from.canonicalize().map_err(failed)?,
        };
        let found = std::fs::symlink_metadata(&source).map_err(failed)?;
        // As with docker cp: a copy goes where a link leads, and does not replace it.
        let (to, stat) = self.follow(to).await?;
        let to = &to;
        let (folder, name) = match stat {
            Some(stat) if stat.is_folder => (to.path.clone(), place::name_of(from)?),
            Some(_) if found.is_dir() => {
                return Err(Failure::new(format!(
                    "{to} is a file, and {} a folder",
                    from.display()
                )));
            }
            None if to.path.ends_with('/') => {
                return Err(Failure::new(format!(
                    "there is no folder {to}; make it first"
                )));
            }
            _ => to.split()?,
        };
        let step = Step::start(format!("copying {} to {to}", from.display()));
        let (pipe, reader) = Pipe::new();
        let moved = Arc::clone(&pipe.moved);
        let packing =
            tokio::task::spawn_blocking(move || pack::pack(&source, &name, pipe.writer()));
        let body = stream_body(reader.stream());
        let sent = self.call(Method::PUT, to, &folder, "&noOverwriteDirNonDir=true", body);
        let sent = shown(&step, &moved, sent).await;
        let packed = packing
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        match (sent, packed) {
            // Our side broke off, and the other only heard of it.
            (_, Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("{}: {error}", from.display())))
            }
            (Err(failure), _) => Err(failure),
            (Ok(response), packed) => {
                read_body(response.into_body(), 64 << 10).await?;
                let report = packed?;
                step.done(&format!("{} files, {} bytes", report.files, report.bytes));
                Ok(())
            }
        }
    }

    /// Where a path inside leads by symlinks, if it is one, and what is there.
    async fn follow(&self, place: &Inside) -> Result<(Inside, Option<Stat>), Failure> {
        let mut place = place.clone();
        for _ in 0..MOST_LINKS {
            let stat = self.stat(&place).await?;
            match stat.as_ref().and_then(|stat| stat.leads_to.as_deref()) {
                Some(target) => place = place.leads_to(target),
                None => return Ok((place, stat)),
            }
        }
        Err(Failure::new(format!("{place}: too many symlinks")))
    }

    /// What a path inside is; `None`: nothing.
    async fn stat(&self, place: &Inside) -> Result<Option<Stat>, Failure> {
        let asked = self.request(Method::HEAD, place, &place.path, "", empty_body())?;
        let response = self.answer(asked).await?;
        match response.status() {
            StatusCode::NOT_FOUND => {
                // There is no such path, or no such container: the answer to HEAD has no words.
                let request = Request::get(format!("/containers/{}/json", place.container));
                let request = request
                    .body(bytes::Bytes::new())
                    .map_err(|_| place.malformed())?;
                let found = client::json(self.0.connector().clone(), request).await;
                found.map_err(|error| match error.context("status") {
                    Some("404") => Failure::new(hinted(error.message())),
                    _ => error.into(),
                })?;
                Ok(None)
            }
            status if status.is_success() => {
                let header = response.headers().get("x-docker-container-path-stat");
                let stat = header.and_then(|header| Stat::parse(header.as_bytes()));
                stat.map(Some).ok_or_else(|| {
                    Failure::new(format!(
                        "the endpoint's answer does not say what {place} is"
                    ))
                })
            }
            _ => {
                // Why, is told only where an answer has a body.
                let told = self
                    .call(Method::GET, place, &place.path, "", empty_body())
                    .await;
                let contradicts =
                    || Failure::new(format!("{place}: the endpoint contradicts itself"));
                Err(told.err().unwrap_or_else(contradicts))
            }
        }
    }

    fn request(
        &self,
        method: Method,
        place: &Inside,
        path: &str,
        more: &str,
        body: Body,
    ) -> Result<Request<Body>, Failure> {
        let path = place::percent_encoded(path);
        let target = format!("/containers/{}/archive?path={path}{more}", place.container);
        let request = Request::builder().method(method).uri(target);
        let request = request.header(http::header::CONTENT_TYPE, "application/x-tar");
        request.body(body).map_err(|_| place.malformed())
    }

    async fn call(
        &self,
        method: Method,
        place: &Inside,
        path: &str,
        more: &str,
        body: Body,
    ) -> Result<Response<Body>, Failure> {
        let request = self.request(method, place, path, more, body)?;
        successful(self.0.send(request).await?, place).await
    }

    /// For what is answered at once, unlike an upload.
    async fn answer(&self, request: Request<Body>) -> longshore::Result<Response<Body>> {
        client::answer(&**self.0.connector(), self.0.send(request)).await
    }
}

/// An error status becomes an error with the endpoint's words.
async fn successful(response: Response<Body>, place: &Inside) -> Result<Response<Body>, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = read_body(response.into_body(), 64 << 10).await?;
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let told = told["message"].as_str().map(str::to_owned);
    Err(Failure::new(match told {
        Some(told) => hinted(&told),
        None => format!("{place}: the endpoint answers {status}"),
    }))
}

/// With what to do, where there is no such container.
fn hinted(told: &str) -> String {
    match told.strip_prefix("No such container") {
        Some(name) => {
            let name = name.trim_start_matches([':', ' ']);
            format!("No such container: {name}; 'docker ps -a' shows what there is")
        }
        None => told.to_owned(),
    }
}

/// As the engine tells it in a header.
struct Stat {
    is_folder: bool,
    /// Of a symlink, if the engine says.
    leads_to: Option<String>,
}

impl Stat {
    fn parse(header: &[u8]) -> Option<Self> {
        let json = BASE64_STANDARD.decode(header).ok()?;
        let stat: serde_json::Value = serde_json::from_slice(&json).ok()?;
        let mode = stat["mode"].as_u64()?;
        let target = stat["linkTarget"].as_str().filter(|to| !to.is_empty());
        Some(Self {
            is_folder: mode & GO_FOLDER != 0,
            leads_to: target.filter(|_| mode & GO_LINK != 0).map(str::to_owned),
        })
    }
}

/// Says how far it is while something goes on.
async fn shown<T>(step: &Step, moved: &AtomicU64, work: impl Future<Output = T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                let bytes = moved.load(Ordering::Relaxed);
                step.update(&format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)));
            }
        }
    }
}

/// What was copied.
#[derive(Debug, Default)]
struct Report {
    files: u64,
    bytes: u64,
    /// What was not, and why.
    skipped: Vec<String>,
    /// Whether that was all that was to be copied.
    is_nothing: bool,
}

/// Where to unpack: below a folder, under a name.
#[derive(Debug)]
struct Landing {
    folder: PathBuf,
    name: std::ffi::OsString,
}

/// Go's `os.ModeDir`.
const GO_FOLDER: u64 = 1 << 31;
/// Go's `os.ModeSymlink`.
const GO_LINK: u64 = 1 << 27;
/// An engine leads to the end of a path at once; others, one link a time.
const MOST_LINKS: usize = 40;
