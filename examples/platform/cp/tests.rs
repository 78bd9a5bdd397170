//! Round trips through a stand-in for an engine, and archives that mean harm.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::symlink,
    path::Path,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Query, State},
    response::Response,
    routing::get,
};
use longshore::{core::Endpoint, engine::TcpConnector};
use tar::{Builder, EntryType, Header};
use tokio::net::TcpListener;

use super::*;

/// A container's folder as an archive, and back, as a Docker engine does it.
async fn engine(root: &Path) -> Arc<dyn Connector> {
    type Asked = Query<std::collections::HashMap<String, String>>;
    let at = |root: &Path, asked: &Asked| root.join(asked["path"].trim_start_matches('/'));
    let read = async move |State(root): State<PathBuf>, asked: Asked| {
        let path = at(&root, &asked);
        let Ok(found) = fs::symlink_metadata(&path) else {
            let body = Body::from(r#"{"message":"Could not find the file"}"#);
            return Response::builder().status(404).body(body).unwrap();
        };
        let target = fs::read_link(&path).unwrap_or_default();
        let mode = match (found.is_dir(), found.is_symlink()) {
            (true, _) => GO_FOLDER,
            (_, true) => GO_LINK,
            _ => 0,
        };
        let stat = serde_json::json!({ "name": "x", "mode": mode, "linkTarget": target });
        let stat = BASE64_STANDARD.encode(stat.to_string());
        let mut archive = Vec::new();
        pack::pack(&path, path.file_name().unwrap(), &mut archive).unwrap();
        let answer = Response::builder().header("X-Docker-Container-Path-Stat", stat);
        answer.body(Body::from(archive)).unwrap()
    };
    let write = async move |State(root): State<PathBuf>, asked: Asked, body: Body| {
        let bytes = to_bytes(body, 1 << 30).await.unwrap();
        tar::Archive::new(&bytes[..])
            .unpack(at(&root, &asked))
            .unwrap();
    };
    let app = Router::new()
        .route("/containers/web/archive", get(read).put(write))
        .route("/containers/web/json", get(async || "{}"))
        .with_state(root.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Endpoint = listener.local_addr().unwrap().into();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Arc::new(TcpConnector::new(address))
}

#[tokio::test]
async fn a_folder_goes_in_and_comes_out_as_it_was() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = engine(there.path()).await;
    let site = here.path().join("site");
    fs::create_dir_all(site.join("deep/empty")).unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 7 / 3) as u8).collect();
    fs::write(site.join("deep/large"), &large).unwrap();
    fs::write(site.join("n".repeat(200)), "long").unwrap();
    symlink("deep/large", site.join("link")).unwrap();
    fs::create_dir(there.path().join("srv")).unwrap();

    let copied = async |source: &str, destination: &str| {
        let copying = Copying::parse(source, destination).unwrap();
        copy(Arc::clone(&engine), copying, Links::Copied).await
    };
    let local = |name: &str| here.path().join(name).display().to_string();
    // Into a folder that is there, and under a new name.
    copied(&local("site"), "web:/srv/").await.unwrap();
    copied(&local("site"), "web:/renamed").await.unwrap();
    copied("web:/srv/site", &local("back")).await.unwrap();
    for copy in [
        there.path().join("srv/site"),
        there.path().join("renamed"),
        here.path().join("back"),
    ] {
        assert!(
            fs::read(copy.join("deep/large")).unwrap() == large,
            "{copy:?}"
        );
        assert_eq!(fs::read(copy.join("n".repeat(200))).unwrap(), b"long");
        assert_eq!(
            fs::read_link(copy.join("link")).unwrap(),
            Path::new("deep/large")
        );
        assert!(copy.join("deep/empty").is_dir());
    }
    // One file, into a folder and over another.
    copied("web:/renamed/deep/large", &local("back"))
        .await
        .unwrap();
    copied("web:/renamed/deep/large", &local("back/deep/large"))
        .await
        .unwrap();
    assert!(fs::read(here.path().join("back/large")).unwrap() == large);

    for (source, destination, words) in [
        ("web:/none".into(), local("x"), "Could not find the file"),
        (local("none"), "web:/srv".into(), "No such file"),
        (local("site"), "web:/none/".into(), "there is no folder"),
        (local("site"), "web:/renamed/deep/large".into(), "is a file"),
        (
            "web:/srv/site".into(),
            local("none/x"),
            "there is no folder",
        ),
        ("web:/srv/site".into(), local("back/large"), "in the way"),
        ("web:/".into(), local("x"), "below /"),
    ] {
        let failure = copied(&source, &destination).await.unwrap_err();
        assert!(
            failure.message.contains(words),
            "{source} {destination}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn a_source_that_is_a_link_is_followed_if_that_is_asked_for() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = engine(there.path()).await;
    let copied = async |links: Links, source: &str, destination: &str| {
        let copying = Copying::parse(source, destination).unwrap();
        copy(Arc::clone(&engine), copying, links).await
    };
    let local = |name: &str| here.path().join(name).display().to_string();
    fs::create_dir_all(there.path().join("usr/zone")).unwrap();
    fs::write(there.path().join("usr/zone/eu"), "CET").unwrap();
    // From link to link, one of them absolute.
    symlink("/first", there.path().join("usr/time")).unwrap();
    symlink("usr/zone/eu", there.path().join("first")).unwrap();
    symlink("loop", there.path().join("loop")).unwrap();

    let told = copied(Links::Copied, "web:/usr/time", &local("a")).await;
    let told = told.unwrap_err().message;
    assert!(
        told.contains("leads outside") && told.contains("-L copies"),
        "{told}"
    );
    let followed = copied(Links::Followed, "web:/usr/time", &local("")).await;
    followed.unwrap();
    let copy = here.path().join("time");
    assert!(!copy.is_symlink(), "under its name, and no link");
    assert_eq!(fs::read(copy).unwrap(), b"CET");
    let told = copied(Links::Followed, "web:/loop", &local("b")).await;
    assert!(told.unwrap_err().message.contains("too many symlinks"));

    symlink("time", here.path().join("mine")).unwrap();
    copied(Links::Copied, &local("mine"), "web:/link")
        .await
        .unwrap();
    assert!(there.path().join("link").is_symlink());
    copied(Links::Followed, &local("mine"), "web:/usr/")
        .await
        .unwrap();
    assert!(!there.path().join("usr/mine").is_symlink());
    assert_eq!(fs::read(there.path().join("usr/mine")).unwrap(), b"CET");
    // A destination is followed always.
    symlink("usr/zone", there.path().join("into")).unwrap();
    copied(Links::Copied, &local("time"), "web:/into")
        .await
        .unwrap();
    assert_eq!(
        fs::read(there.path().join("usr/zone/time")).unwrap(),
        b"CET"
    );
}

#[tokio::test]
async fn archives_pass_as_they_are() {
    let there = tempfile::tempdir().unwrap();
    let endpoint = Archives(client::http(engine(there.path()).await));
    fs::create_dir_all(there.path().join("etc/deep")).unwrap();
    let large = vec![b'x'; 300_000];
    fs::write(there.path().join("etc/deep/large"), &large).unwrap();
    fs::create_dir(there.path().join("srv")).unwrap();
    let inside = |path: &str| Inside {
        container: "web".to_owned(),
        path: path.to_owned(),
    };
    let mut archive = Vec::new();
    endpoint
        .read_out(&inside("/etc"), &mut archive)
        .await
        .unwrap();
    let names: Vec<_> = tar::Archive::new(&archive[..])
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["etc", "etc/deep", "etc/deep/large"]);
    let from = std::io::Cursor::new(archive.clone());
    endpoint.read_in(from, &inside("/srv")).await.unwrap();
    assert!(fs::read(there.path().join("srv/etc/deep/large")).unwrap() == large);
    for path in ["/none", "/etc/deep/large"] {
        let from = std::io::Cursor::new(archive.clone());
        let told = endpoint.read_in(from, &inside(path)).await.unwrap_err();
        assert!(told.message.contains("there is no folder"), "{told:?}");
    }
    let mut none = Vec::new();
    let told = endpoint.read_out(&inside("/none"), &mut none).await;
    assert!(told.unwrap_err().message.contains("Could not find"));
    assert!(none.is_empty());
}

#[test]
fn a_dash_is_a_stream_and_a_path_to_it_is_a_file() {
    let parse = |source, destination| Copying::parse(source, destination).unwrap();
    assert!(matches!(parse("web:/x", "-"), Copying::OutStream { .. }));
    assert!(matches!(parse("-", "n/web:/x"), Copying::InStream { .. }));
    assert!(matches!(parse("web:/x", "./-"), Copying::Out { .. }));
    assert!(matches!(parse("./-", "web:/x"), Copying::In { .. }));
    assert!(Copying::parse("-", "-").is_err());
}

#[test]
fn a_container_that_is_not_there_is_told_with_what_to_do() {
    for told in ["No such container: web", "No such container web"] {
        let expected = "No such container: web; 'docker ps -a' shows what there is";
        assert_eq!(hinted(told), expected);
    }
    assert_eq!(hinted("Could not find it"), "Could not find it");
}

#[test]
fn one_side_is_in_a_container() {
    let parse = |source, destination| Copying::parse(source, destination).map_err(|e| e.message);
    assert!(parse("./a:b", "web:/x").is_ok() && parse("/a:b", "n/web:/x").is_ok());
    for (source, destination, words) in [
        ("a", "b", "neither"),
        ("a:/x", "b:/y", "both sides"),
        ("a:x", "b", "must begin with /"),
        ("a?b:/x", "b", "no name of a container"),
    ] {
        let told = parse(source, destination).unwrap_err();
        assert!(told.contains(words), "{told}");
    }
}

/// An entry of an archive, with a name that no decent library would write.
fn entry(kind: EntryType, name: &str, link: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o4777);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, bytes).unwrap();
    let mut archive = builder.into_inner().unwrap();
    // Without the two blocks of its end.
    archive.truncate(archive.len() - 1024);
    archive
}

fn file(name: &str) -> Vec<u8> {
    entry(EntryType::Regular, name, "", b"evil")
}

fn link(kind: EntryType, name: &str, to: &str) -> Vec<u8> {
    entry(kind, name, to, b"")
}

/// Unpacks in a folder of its own, beside which nothing may change.
fn unpacked(entries: &[Vec<u8>]) -> (tempfile::TempDir, io::Result<Report>) {
    let outer = tempfile::tempdir().unwrap();
    fs::write(outer.path().join("secret"), "mine").unwrap();
    fs::create_dir(outer.path().join("inner")).unwrap();
    fs::create_dir(outer.path().join("beside")).unwrap();
    let landing = Landing {
        folder: outer.path().join("inner"),
        name: "copy".into(),
    };
    let archive = entries.concat();
    let report = unpack::unpack(&archive[..], &landing);
    assert_eq!(
        fs::read(outer.path().join("secret")).unwrap(),
        b"mine",
        "{report:?}"
    );
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 3, "{report:?}");
    assert_eq!(
        fs::read_dir(outer.path().join("beside")).unwrap().count(),
        0,
        "{report:?}"
    );
    let inner = fs::read_dir(outer.path().join("inner")).unwrap();
    assert!(
        inner.flatten().all(|entry| entry.file_name() == "copy"),
        "{report:?}"
    );
    (outer, report)
}

#[test]
fn an_archive_that_means_harm_reaches_nothing_outside() {
    use EntryType::{Link, Symlink};
    let refused = [
        vec![file("../secret")],
        vec![file("a"), file("a/../../secret")],
        vec![file("/etc/evil")],
        vec![file("a/x"), file("b")],
        vec![file("a"), link(Link, "a/l", "../secret")],
        vec![file("a/x"), link(Link, "a/l", "a/../../../secret")],
        vec![file("a/x"), file("a/x/y")],
        vec![],
        vec![
            entry(EntryType::GNULongName, "x", "", &[b'a'; 70_000]),
            file("a"),
        ],
        vec![
            entry(EntryType::XHeader, "x", "", b"19 path=../../evil\n"),
            file("a"),
        ],
        vec![
            entry(EntryType::XHeader, "x", "", b"15 size=100000\n"),
            file("a"),
        ],
        vec![file("a")[..700].to_vec()],
    ];
    for entries in &refused {
        let (_keep, report) = unpacked(entries);
        assert!(report.is_err(), "{report:?}");
    }
    // A symlink of the archive is not there yet when something is written through it.
    for target in ["..", "../..", "../../beside", "/"] {
        let (keep, report) = unpacked(&[
            file("a/x"),
            link(Symlink, "a/out", target),
            file("a/out/secret"),
            link(Symlink, "a/hard", "../../secret"),
            link(Link, "a/second", "a/x"),
        ]);
        let report = report.unwrap();
        assert!(
            report.skipped.iter().any(|text| text.contains("copy/hard")),
            "{report:?}"
        );
        assert!(!keep.path().join("inner/copy/hard").exists());
        assert_eq!(
            fs::read(keep.path().join("inner/copy/second")).unwrap(),
            b"evil"
        );
    }
}

#[test]
fn links_within_stay_and_modes_are_tame() {
    use std::os::unix::fs::PermissionsExt;
    let (keep, report) = unpacked(&[
        file("a/deep/x"),
        link(EntryType::Symlink, "a/deep/up", "../other/../x"),
        link(EntryType::Symlink, "a/deep/fine", "../deep/x"),
        link(EntryType::Symlink, "a/up", "../copy/deep"),
        entry(EntryType::Fifo, "a/pipe", "", b""),
        entry(EntryType::Char, "a/null", "", b""),
    ]);
    let copy = keep.path().join("inner/copy");
    let mut fine = String::new();
    fs::File::open(copy.join("deep/fine"))
        .unwrap()
        .read_to_string(&mut fine)
        .unwrap();
    assert_eq!(fine, "evil");
    assert_eq!(report.unwrap().skipped.len(), 4);
    let mode = fs::metadata(copy.join("deep/x"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7000, 0, "{mode:o}");
}

#[test]
fn a_folder_with_nothing_but_what_is_left_out_is_a_copy() {
    let outside = link(EntryType::Symlink, "a/out", "/etc/passwd");
    let (keep, report) = unpacked(&[entry(EntryType::Directory, "a/", "", b""), outside]);
    let report = report.unwrap();
    assert!(keep.path().join("inner/copy").is_dir());
    assert_eq!((report.skipped.len(), report.is_nothing), (1, false));
    let (_, report) = unpacked(&[link(EntryType::Symlink, "a", "/etc/passwd")]);
    assert!(report.unwrap().is_nothing);
}

#[test]
fn a_symlink_that_is_there_already_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "mine").unwrap();
    fs::create_dir(folder.path().join("copy")).unwrap();
    symlink(outside.path(), folder.path().join("copy/d")).unwrap();
    symlink(outside.path().join("f"), folder.path().join("copy/f")).unwrap();
    for name in ["a/d/new", "a/f"] {
        let landing = Landing {
            folder: folder.path().to_owned(),
            name: "copy".into(),
        };
        unpack::unpack(&file(name)[..], &landing).unwrap_err();
    }
    assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}
