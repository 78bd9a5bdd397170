use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Cert {
    /// Make a certificate authority: ca.pem and ca-key.pem in DIR.
    Init {
        /// The folder; it is made if missing.
        dir: String,
    },
    /// Issue cert.pem and key.pem, with ca.pem beside them, for a plane, a node or a client.
    Issue {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: String,
        /// The identity, such as `plane`, `node-1` or `alice`.
        #[arg(long)]
        name: String,
        /// As what its holder comes: a node dials a plane's tunnel and may not call endpoints, a
        /// manager serves both and may call other managers, a client may only call endpoints.
        #[arg(long, default_value = "node", value_name = "node|manager|client")]
        role: CertRole,
        /// Host name or address that others dial it at; may be given several times.
        #[arg(long, value_name = "HOST")]
        san: Vec<String>,
        /// How long it is valid, such as 24h or 90d.
        #[arg(long, default_value = "24h", value_name = "DURATION")]
        validity: String,
        /// Folder to write to.
        #[arg(long, value_name = "DIR")]
        out: String,
        /// Replace a certificate and key that are there: how they are renewed. Whoever uses them is
        /// never without: each file is replaced as a whole.
        #[arg(long)]
        force: bool,
    },
}

/// As what the holder of a certificate comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CertRole {
    Node,
    Manager,
    Client,
}
