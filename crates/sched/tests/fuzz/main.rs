//! The fuzz targets' bodies for a bounded number of seeded inputs: `fuzz/` runs them for longer,
//! guided by coverage, where nightly and cargo-fuzz are at hand.

#[path = "bodies.rs"]
mod bodies;

/// Inputs that are the same on every machine.
fn inputs(seed: u64, length: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = seed;
    let mut roll = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    std::iter::from_fn(move || {
        let length = usize::from(roll()) * length / 255;
        Some((0..length).map(|_| roll()).collect())
    })
}

#[test]
fn expressions_never_panic() {
    // Letters that mean something are worth more than bytes that never do.
    const LETTERS: &[u8] = b"ab.*~=!/|()[]{}?+^$\\-_ \xc3\xa9\x00k1==!=";
    for bytes in inputs(1, 24).take(20_000) {
        let text: Vec<u8> = bytes
            .iter()
            .map(|byte| LETTERS[usize::from(*byte) % LETTERS.len()])
            .collect();
        bodies::expression(&text);
        bodies::expression(&[b"key==", &text[..]].concat());
        bodies::expression(&[b"key!=/", &text[..], b"/"].concat());
        bodies::expression(&bytes);
    }
}

#[test]
fn changes_never_break_the_index() {
    for bytes in inputs(2, 160).take(5_000) {
        bodies::changes(&bytes);
    }
}
