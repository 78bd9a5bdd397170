use crate::cli::TlsArgs;

/// What TLS files were given, when the combination is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: Option<String>,
    pub cert: String,
    pub key: String,
    pub verify: bool,
}

/// The problems are told one a line.
pub fn tls(args: &TlsArgs) -> Result<Option<TlsFiles>, String> {
    if !args.tls && !args.tlsverify {
        if args.tlscacert.is_some() || args.tlscert.is_some() || args.tlskey.is_some() {
            return Err(
                "--tlscert, --tlskey and --tlscacert require the use of either --tls or \
                        --tlsverify"
                    .into(),
            );
        }
        return Ok(None);
    }
    let no_ca = (args.tlsverify && args.tlscacert.is_none())
        .then_some("--tlscacert must be provided when using --tlsverify");
    let (Some(cert), Some(key)) = (&args.tlscert, &args.tlskey) else {
        let no_pair = "--tlscert and --tlskey must be provided when using --tls";
        let problems: Vec<&str> = [no_pair].into_iter().chain(no_ca).collect();
        return Err(problems.join("\n"));
    };
    if let Some(problem) = no_ca {
        return Err(problem.into());
    }
    Ok(Some(TlsFiles {
        ca: args.tlscacert.clone(),
        cert: cert.clone(),
        key: key.clone(),
        verify: args.tlsverify,
    }))
}

/// The three files of a tunnel: all of them are needed.
pub(super) fn tunnel_tls(args: &TlsArgs) -> Result<TlsFiles, String> {
    match (&args.tlscacert, &args.tlscert, &args.tlskey) {
        (Some(ca), Some(cert), Some(key)) => Ok(TlsFiles {
            ca: Some(ca.clone()),
            cert: cert.clone(),
            key: key.clone(),
            verify: true,
        }),
        _ => Err(
            "--tunnel needs --tlscacert, --tlscert and --tlskey: tunnels are always mutual \
                  TLS. Make them with 'platform cert'."
                .into(),
        ),
    }
}
