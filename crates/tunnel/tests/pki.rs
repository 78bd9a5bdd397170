//! Certificates and the files that they are kept in.
#![cfg(all(feature = "tls", unix))]
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use longshore_core::{Clock, ErrorKind, NodeId, OsRandom, Random, SystemClock};
use longshore_tunnel::pki::{Authority, NodeKey, Profile, Role, TlsIdentity, TlsTrust};

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("longshore-pki-{}", OsRandom.hex(8)));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn authority() -> Authority {
    Authority::generate("test", SystemClock::new().now(), &OsRandom).unwrap()
}

fn profile(node: &str) -> Profile {
    Profile::new(NodeId::new(node).unwrap())
}

fn identity(authority: &Authority, node: &str) -> TlsIdentity {
    authority
        .issue(&profile(node), SystemClock::new().now(), &OsRandom)
        .unwrap()
}

#[track_caller]
fn load_error(certificate: &Path, key: &Path, reason: &str) {
    let error = TlsIdentity::load(certificate, key).unwrap_err();
    let (certificate, key) = (certificate.display(), key.display());
    assert_eq!(
        error.message(),
        format!("Couldn't load X509 key pair ({certificate}, {key}): {reason}. Key encrypted?")
    );
}

#[track_caller]
fn ca_error(path: &Path, reason: &str) {
    let error = TlsTrust::load(path).unwrap_err();
    assert_eq!(
        error.message(),
        format!("Couldn't read CA certificate: {reason}")
    );
}

#[test]
fn files_are_private_and_read_back() {
    let (dir, authority) = (Dir::new(), authority());
    let identity = identity(&authority, "node");
    let (certificate, key) = (dir.0.join("cert.pem"), dir.0.join("key.pem"));
    // What stood there before, with any mode, is replaced.
    fs::write(&key, "old").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    identity.save(&certificate, &key).unwrap();
    for path in [&certificate, &key] {
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    assert_eq!(
        fs::read_dir(&dir.0).unwrap().count(),
        2,
        "no temporary file is left"
    );
    let again = TlsIdentity::load(&certificate, &key).unwrap();
    assert_eq!(again.node().unwrap(), identity.node().unwrap());
    assert_eq!(again.expires(), identity.expires());
}

#[test]
fn an_authority_survives_a_restart() {
    let (dir, first) = (Dir::new(), authority());
    let (certificate, key) = (dir.0.join("ca.pem"), dir.0.join("ca-key.pem"));
    first.save(&certificate, &key).unwrap();
    let second = Authority::load(&certificate, &key).unwrap();
    assert_eq!(first.certificate_pem(), second.certificate_pem());
    identity(&second, "node");
}

#[test]
fn an_authority_needs_its_own_key() {
    let (dir, one, other) = (Dir::new(), authority(), authority());
    let paths = |name: &str| {
        (
            dir.0.join(format!("{name}.pem")),
            dir.0.join(format!("{name}.key")),
        )
    };
    let (one_paths, other_paths) = (paths("one"), paths("other"));
    one.save(&one_paths.0, &one_paths.1).unwrap();
    other.save(&other_paths.0, &other_paths.1).unwrap();
    let error = Authority::load(&one_paths.0, &other_paths.1).unwrap_err();
    assert_eq!(
        error.message(),
        "the private key does not belong to the CA certificate"
    );
    let node = identity(&one, "node");
    let error = Authority::from_pem(node.chain_pem(), node.key_pem()).unwrap_err();
    assert_eq!(error.message(), "the certificate is not a CA's");
}

#[test]
fn a_ca_file_that_trusts_nobody_is_refused() {
    let dir = Dir::new();
    let empty = dir.file("empty.pem", "");
    ca_error(
        &empty,
        &format!("{}: it holds no certificate in PEM form", empty.display()),
    );
    let text = dir.file("text.pem", "no PEM here\n");
    ca_error(
        &text,
        &format!("{}: it holds no certificate in PEM form", text.display()),
    );
    let key_only = dir.file("key.pem", &NodeKey::generate().unwrap().to_pem());
    ca_error(
        &key_only,
        &format!(
            "{}: it holds no certificate in PEM form",
            key_only.display()
        ),
    );
    let missing = dir.0.join("missing.pem");
    ca_error(
        &missing,
        &format!("open {}: no such file or directory", missing.display()),
    );
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = dir.file("cut.pem", cut);
    assert!(
        TlsTrust::load(&cut)
            .unwrap_err()
            .message()
            .contains("certificate 1 is no usable CA")
    );
}

#[test]
fn a_pair_that_can_not_be_used_is_refused_at_once() {
    let (dir, authority) = (Dir::new(), authority());
    let (one, other) = (identity(&authority, "one"), identity(&authority, "other"));
    let certificate = dir.file("cert.pem", one.chain_pem());
    let wrong = dir.file("wrong.pem", other.key_pem());
    load_error(
        &certificate,
        &wrong,
        "the private key does not belong to the certificate",
    );
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIF\n-----END ENCRYPTED PRIVATE KEY-----";
    let encrypted = dir.file("encrypted.pem", encrypted);
    load_error(
        &certificate,
        &encrypted,
        "it is encrypted: decrypt it first (openssl pkey -in key.pem -out plain.pem)",
    );
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIF\n-----END RSA PRIVATE KEY-----";
    let legacy = dir.file("legacy.pem", legacy);
    load_error(
        &certificate,
        &legacy,
        "it is encrypted: decrypt it first (openssl pkey -in key.pem -out plain.pem)",
    );
    let empty = dir.file("empty.pem", "");
    load_error(&certificate, &empty, "it holds no private key in PEM form");
    load_error(&empty, &wrong, "it holds no certificate in PEM form");
    let missing = dir.0.join("missing.pem");
    load_error(
        &missing,
        &wrong,
        &format!("open {}: no such file or directory", missing.display()),
    );
    let huge = dir.file("huge.pem", &"x".repeat(2 << 20));
    load_error(
        &huge,
        &wrong,
        &format!("{} is larger than 1 MiB", huge.display()),
    );
}

/// A request can't choose whose certificate it becomes.
#[test]
fn a_request_for_another_node_gets_only_what_the_authority_says() {
    let authority = authority();
    let key = NodeKey::generate().unwrap();
    let request = key.request(&NodeId::new("somebody-else").unwrap()).unwrap();
    let now = SystemClock::new().now();
    let chain = authority
        .sign(&request, &profile("me"), now, &OsRandom)
        .unwrap();
    assert_eq!(
        key.into_identity(&chain).unwrap().node().unwrap().as_str(),
        "me"
    );
}

#[test]
fn a_request_that_was_changed_is_refused() {
    let authority = authority();
    let request = NodeKey::generate()
        .unwrap()
        .request(&NodeId::new("node").unwrap())
        .unwrap();
    let now = SystemClock::new().now();
    let middle = request.len() / 2;
    let swapped = if request.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    let mut changed = request;
    changed.replace_range(middle..=middle, swapped);
    for bad in [changed.as_str(), "", "garbage", &"x".repeat(100_000)] {
        let error = authority
            .sign(bad, &profile("node"), now, &OsRandom)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_certificate_of_another_key_is_not_taken() {
    let authority = authority();
    let other = identity(&authority, "node");
    let key = NodeKey::generate().unwrap();
    assert!(key.into_identity(other.chain_pem()).is_err());
}

/// Endpoints and tunnels tell nodes, managers and clients apart by these names.
#[test]
fn a_certificate_says_as_what_its_holder_comes() {
    let authority = authority();
    let now = SystemClock::new().now();
    for (role, names) in [
        (Role::Node, &["longshore://node/x"][..]),
        (
            Role::Manager,
            &["longshore://node/x", "longshore://manager/x"],
        ),
        (Role::Client, &["longshore://client/x"]),
    ] {
        let profile = profile("x").with_role(role);
        let identity = authority.issue(&profile, now, &OsRandom).unwrap();
        let chain = longshore_core::tls::certificates(identity.chain_pem().as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&chain[0]).into_owned();
        let found = text.matches("longshore://").count();
        assert_eq!(found, names.len(), "{role:?}");
        for name in names {
            assert!(text.contains(name), "{role:?}: {name}");
        }
        // A client is nobody to a tunnel.
        assert_eq!(identity.node().is_ok(), role != Role::Client);
        assert_eq!(identity.is_manager(), role == Role::Manager);
    }
}

#[test]
fn debug_shows_no_key() {
    let authority = authority();
    let identity = identity(&authority, "node");
    let key = NodeKey::generate().unwrap();
    let shown = format!("{identity:?} {key:?} {authority:?}");
    assert!(shown.contains("node"));
    for secret in [identity.key_pem(), &key.to_pem()] {
        let body: String = secret.lines().skip(1).take(1).collect();
        assert!(body.len() > 40 && !shown.contains(&body));
    }
    assert!(!shown.contains("PRIVATE"));
}

#[test]
fn hosts_are_names_or_addresses() {
    let profile = profile("node")
        .with_host("::1")
        .unwrap()
        .with_host("a.example")
        .unwrap();
    assert_eq!((profile.addresses.len(), profile.dns_names.len()), (1, 1));
    assert!(profile.with_host("not a name").is_err());
}
