//! `platform cert`

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use longshore::{
    Clock,
    core::{NodeId, OsRandom, SystemClock},
    tunnel::pki::{Authority, Profile, Role, write_private_file},
};

use crate::{
    Failure, check,
    cli::{Cert, CertRole},
    say::note,
};

pub fn run(args: Cert) -> Result<(), Failure> {
    match args {
        Cert::Init { dir } => init(Path::new(&dir)),
        Cert::Issue {
            ca,
            name,
            role,
            san,
            validity,
            out,
            force,
        } => {
            let lasts = check::positive("--validity", &validity).map_err(Failure::new)?;
            let mut profile = Profile::new(NodeId::new(name).map_err(longshore::Error::from)?)
                .with_validity(lasts)
                .with_role(match role {
                    CertRole::Node => Role::Node,
                    CertRole::Manager => Role::Manager,
                    CertRole::Client => Role::Client,
                });
            for host in &san {
                profile = profile.with_host(host)?;
            }
            let out = Path::new(&out);
            if !force {
                refuse_existing(out)?;
            }
            issue(Path::new(&ca), &profile, out, &validity)
        }
    }
}

fn init(directory: &Path) -> Result<(), Failure> {
    let (certificate, key) = authority_files(directory);
    for file in [&certificate, &key] {
        if file.exists() {
            return Err(Failure::new(format!(
                "{} exists already; an authority is never overwritten",
                file.display()
            )));
        }
    }
    make(directory)?;
    let now = SystemClock::new().now();
    Authority::generate("longshore cluster", now, &OsRandom)?.save(&certificate, &key)?;
    note(format_args!(
        "made a certificate authority in {}; keep {} to yourself",
        directory.display(),
        key.display()
    ));
    Ok(())
}

/// A key that is replaced by mistake is lost.
fn refuse_existing(out: &Path) -> Result<(), Failure> {
    for name in ["key.pem", "cert.pem"] {
        let file = out.join(name);
        if file.exists() {
            return Err(Failure::new(format!(
                "{} exists already: give another --out, or renew it with --force",
                file.display()
            )));
        }
    }
    Ok(())
}

fn issue(ca: &Path, profile: &Profile, out: &Path, validity: &str) -> Result<(), Failure> {
    let (certificate, key) = authority_files(ca);
    if !certificate.exists() {
        return Err(Failure::new(format!(
            "there is no authority in {0}; make one: platform cert init {0}",
            ca.display()
        )));
    }
    let authority = Authority::load(&certificate, &key)?;
    let now = SystemClock::new().now();
    let identity = authority.issue(profile, now, &OsRandom).map_err(|error| {
        Failure::new(format!(
            "can't issue a certificate for {} with --validity {validity:?}: {}",
            profile.node,
            error.chain()
        ))
    })?;
    make(out)?;
    identity.save(&out.join("cert.pem"), &out.join("key.pem"))?;
    write_private_file(&out.join("ca.pem"), authority.certificate_pem().as_bytes())?;
    note(format_args!(
        "issued a certificate for {} in {}, valid until {}",
        profile.node,
        out.display(),
        identity.expires()
    ));
    if profile.role == Role::Manager && profile.dns_names.is_empty() && profile.addresses.is_empty()
    {
        note(
            "warning: it names no host, so whoever dials this manager refuses it: add --san HOST for \
             each name and address that it is dialled by",
        );
    }
    Ok(())
}

fn authority_files(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join("ca.pem"), directory.join("ca-key.pem"))
}

fn make(directory: &Path) -> Result<(), Failure> {
    match fs::create_dir_all(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::new(format!(
            "{} is not a folder",
            directory.display()
        ))),
        Err(error) => Err(Failure::new(format!("{}: {error}", directory.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue_to(ca: &Path, out: &Path, validity: &str, force: bool) -> Result<(), Failure> {
        run(Cert::Issue {
            ca: ca.display().to_string(),
            name: "n".to_owned(),
            role: CertRole::Node,
            san: Vec::new(),
            validity: validity.to_owned(),
            out: out.display().to_string(),
            force,
        })
    }

    #[test]
    fn a_key_is_replaced_only_on_demand() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, out) = (folder.path().join("ca"), folder.path().join("n"));
        init(&ca).unwrap();
        issue_to(&ca, &out, "1h", false).unwrap();
        let key = || fs::read(out.join("key.pem")).unwrap();
        let first = key();
        let failure = issue_to(&ca, &out, "1h", false).unwrap_err();
        assert_eq!(
            failure.message,
            format!(
                "{} exists already: give another --out, or renew it with --force",
                out.join("key.pem").display()
            )
        );
        assert_eq!(key(), first);
        issue_to(&ca, &out, "1h", true).unwrap();
        assert_ne!(key(), first);
    }

    #[test]
    fn an_authority_that_is_missing_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        let failure = issue_to(&ca, &folder.path().join("n"), "1h", false).unwrap_err();
        assert_eq!(
            failure.message,
            format!(
                "there is no authority in {0}; make one: platform cert init {0}",
                ca.display()
            )
        );
    }

    #[test]
    fn a_validity_that_is_too_long_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        init(&ca).unwrap();
        let failure = issue_to(&ca, &folder.path().join("n"), "99999y", false).unwrap_err();
        assert_eq!(
            failure.message,
            "can't issue a certificate for n with --validity \"99999y\": the certificate's validity \
             is out of range"
        );
    }
}
