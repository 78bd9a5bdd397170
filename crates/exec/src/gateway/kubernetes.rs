use std::time::Duration;

use longshore_core::{AttachRequest, ErrorKind, ExecRequest, TerminalSize};

use super::{
    Hello, Shared, Stranger,
    admit::{Wish, action},
    pump::Pump,
    refill::Refills,
    route::Route,
    socket::Socket,
};
use crate::{
    access::{AccessRequest, Place},
    protocol::{
        Outgoing,
        kubernetes::{KubernetesDecoder, KubernetesEncoder, SUBPROTOCOLS},
    },
    session::Launch,
};

impl Shared {
    pub(super) async fn serve_kubernetes(&self, hello: Hello, socket: Socket, stranger: Stranger) {
        let v5 = hello.subprotocol == Some(SUBPROTOCOLS[0]);
        let Route::Kubernetes(request) = hello.route else {
            return;
        };
        let place = Place::Pod {
            namespace: request.namespace.clone(),
            pod: request.pod.clone(),
            container: request.container.clone(),
        };
        let sends = request.stdin || !request.is_attach;
        let access = AccessRequest::new(hello.credentials, action(sends), place)
            .with_command(request.command.clone());
        let asked = request.clone();
        let opened = self.open(Wish {
            request: access,
            operation: if request.is_attach {
                "exec.attach"
            } else {
                "exec.open"
            },
            options: self.options.session.with_grace(Duration::ZERO),
            launch: Box::new(move |workload| {
                if asked.is_attach {
                    let mut attach = AttachRequest::new(workload);
                    attach.stdin = asked.stdin;
                    return Launch::Attach(attach);
                }
                let mut exec = ExecRequest::new(workload, asked.command);
                if asked.tty {
                    exec = exec.with_tty(TerminalSize::default());
                }
                exec.stdin = asked.stdin;
                Launch::Exec(exec)
            }),
        });
        let opened = stranger.is_asked_about(opened).await;
        match opened {
            Ok(attachment) => {
                stranger.let_in();
                let encoder = KubernetesEncoder::new(&request);
                let ready = vec![encoder.ready()];
                let pump = Pump {
                    shared: self,
                    attachment: &attachment,
                    pings: true,
                    onlooker: None,
                    refills: Refills::Never,
                };
                let decoder = Box::new(KubernetesDecoder::new(v5, &request));
                pump.run(socket, decoder, Box::new(encoder), ready).await;
            }
            Err(error) => {
                let (code, reason) = match error.kind() {
                    ErrorKind::PermissionDenied => (403, "Forbidden"),
                    ErrorKind::NotFound => (404, "NotFound"),
                    ErrorKind::ResourceExhausted => (429, "TooManyRequests"),
                    _ => (500, "InternalError"),
                };
                let mut out = Outgoing::default();
                KubernetesEncoder::refused(code, reason, &error.to_string(), &mut out);
                self.say_last(socket, out).await;
            }
        }
    }
}
