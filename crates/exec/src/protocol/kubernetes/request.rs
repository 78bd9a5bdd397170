/// What a request for a pod asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodRequest {
    /// The namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// Attach, not exec.
    pub is_attach: bool,
    /// The container; `None`: the pod's first.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Which streams are wanted.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Error output.
    pub stderr: bool,
    /// With a terminal.
    pub tty: bool,
}

impl PodRequest {
    /// From path and query, whose pairs are decoded.
    pub fn new(
        namespace: &str,
        pod: &str,
        is_attach: bool,
        query: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut request = Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            is_attach,
            ..Self::default()
        };
        for (key, value) in query {
            let is_true = value == "true" || value == "1";
            match key.as_str() {
                "command" => request.command.push(value),
                "container" => request.container = Some(value),
                "stdin" => request.stdin = is_true,
                "stdout" => request.stdout = is_true,
                "stderr" => request.stderr = is_true,
                "tty" => request.tty = is_true,
                _ => {}
            }
        }
        request
    }
}
