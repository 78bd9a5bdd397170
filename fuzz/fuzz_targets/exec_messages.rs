//! Whatever a client sends in whichever protocol: a command or a refusal, and every event of the
//! session can be told.
//!
//! The first byte chooses the protocol.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore_exec::{
    protocol::{
        Decoder, Encoder, Incoming, Outgoing,
        kubernetes::{KubernetesDecoder, KubernetesEncoder, PodRequest},
        lain::{LainDecoder, LainEncoder, LainFraming, Visit, WebHello},
        native::{ClientFrame, NativeDecoder, NativeEncoder, ServerFrame},
        ttyd::{TtydDecoder, TtydEncoder, TtydHello},
    },
    session::ViewerEvent,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let pod = PodRequest::new("a", "b", false, [("stdin".into(), "true".into()), ("stdout".into(), "true".into())].into_iter());
    let (mut decoder, mut encoder): (Box<dyn Decoder>, Box<dyn Encoder>) = match first % 6 {
        0 => (Box::new(NativeDecoder), Box::new(NativeEncoder::new(0))),
        1 => (Box::new(LainDecoder::new(LainFraming::Protobuf)), Box::new(LainEncoder::new(LainFraming::Protobuf, Visit::Enter))),
        2 => (Box::new(LainDecoder::new(LainFraming::Json)), Box::new(LainEncoder::new(LainFraming::Json, Visit::Attach))),
        3 => (Box::new(KubernetesDecoder::new(true, &pod)), Box::new(KubernetesEncoder::new(&pod))),
        4 => (Box::new(KubernetesDecoder::new(false, &pod)), Box::new(KubernetesEncoder::new(&pod))),
        _ => (Box::new(TtydDecoder), Box::new(TtydEncoder)),
    };
    let message = Incoming { bytes: bytes.to_vec().into(), is_text: first & 64 != 0 };
    let mut out = Outgoing::default();
    if let Err(refusal) = decoder.decode(message) {
        encoder.refuse(&refusal, &mut out);
        assert!(out.closing.is_some());
    }
    if !bytes.is_empty() {
        let kind = longshore_core::OutputKind::Stdout;
        encoder.event(ViewerEvent::Output { offset: 0, kind, bytes: bytes.to_vec().into() }, &mut out);
        encoder.flush(&mut out);
    }
    let _ = ClientFrame::decode(bytes.to_vec().into());
    let _ = ServerFrame::decode(bytes.to_vec().into());
    let _ = (WebHello::parse(bytes), TtydHello::parse(bytes));
});
