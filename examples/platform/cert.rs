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
        } => {
            let validity = check::positive("--validity", &validity).map_err(Failure::new)?;
            let mut profile = Profile::new(NodeId::new(name).map_err(longshore::Error::from)?)
                .with_validity(validity)
                .with_role(match role {
                    CertRole::Node => Role::Node,
                    CertRole::Manager => Role::Manager,
                    CertRole::Client => Role::Client,
                });
            for host in &san {
                profile = profile.with_host(host)?;
            }
            issue(Path::new(&ca), &profile, Path::new(&out))
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
    eprintln!(
        "made a certificate authority in {}; keep {} to yourself",
        directory.display(),
        key.display()
    );
    Ok(())
}

fn issue(ca: &Path, profile: &Profile, out: &Path) -> Result<(), Failure> {
    let (certificate, key) = authority_files(ca);
    let authority = Authority::load(&certificate, &key)?;
    let identity = authority.issue(profile, SystemClock::new().now(), &OsRandom)?;
    make(out)?;
    identity.save(&out.join("cert.pem"), &out.join("key.pem"))?;
    write_private_file(&out.join("ca.pem"), authority.certificate_pem().as_bytes())?;
    eprintln!(
        "issued a certificate for {} in {}, valid until {}",
        profile.node,
        out.display(),
        identity.expires()
    );
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
