use crate::cli::TlsArgs;

/// What TLS files were given, when the combination is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: Option<String>,
    pub cert: String,
    pub key: String,
    pub verify: bool,
}

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
    let (Some(cert), Some(key)) = (&args.tlscert, &args.tlskey) else {
        return Err("--tlscert and --tlskey must be provided when using --tls".into());
    };
    if args.tlsverify && args.tlscacert.is_none() {
        return Err("--tlscacert must be provided when using --tlsverify".into());
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
