//! Whatever a peer sends, a carrier stays bounded and does not panic.
//!
//! The first byte chooses whether the peer has said hello, and in which pieces its bytes come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longshore_core::Timestamp;
use longshore_tunnel::{Mux, MuxOptions, Side};

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let now = Timestamp::from_secs(1_000);
    let options = MuxOptions::default();
    let mut mux = Mux::new(Side::Listener, options, now);
    if first & 1 == 1 {
        let mut peer = Mux::new(Side::Dialer, options, now);
        while let Some(hello) = peer.poll_output(now) {
            mux.handle_input(&hello, now);
        }
    }
    let mut buffer = [0; 4096];
    for piece in bytes.chunks(usize::from(first >> 1) + 1) {
        mux.handle_input(piece, now);
        while let Some((id, _)) = mux.accept() {
            // A user who reads a little, answers, and sometimes leaves.
            let _ = mux.read(id, &mut &mut buffer[..]);
            let _ = mux.write(id, b"answer");
            if id % 3 == 0 {
                mux.release(id);
            }
        }
        while mux.poll_output(now).is_some() {}
        while mux.poll_event().is_some() {}
        assert!(mux.unread_bytes() <= options.carrier_credit as usize);
        assert!(mux.open_streams() <= options.max_streams as usize);
    }
});
