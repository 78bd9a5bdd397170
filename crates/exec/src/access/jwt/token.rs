use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use longshore_core::{Result, printable};
use serde::Deserialize;

use super::{JwtAlgorithm, JwtKeys, untrusted};

/// A token in its compact form (RFC 7515, section 7.1), of which nothing is believed yet.
pub(super) struct Token<'a> {
    /// What is signed.
    signed: &'a [u8],
    payload: Vec<u8>,
    signature: Vec<u8>,
    header: Header,
}

/// What counts of a header. Keys in it, and addresses of keys, are somebody's claims and are not
/// read. A name that comes twice is an error.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        if text.len() > LONGEST {
            return Err(untrusted(format!(
                "the token is longer than {LONGEST} bytes"
            )));
        }
        let malformed = || untrusted("the token is not of the form header.payload.signature");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        // A further dot is no letter of base64.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| untrusted("the token's header is not the JSON that it should be"))?;
        if header.crit.is_some() {
            return Err(untrusted(
                "the token wants extensions to be understood, and none are",
            ));
        }
        let is_token = |typ: &String| {
            let typ = typ.to_ascii_lowercase();
            let typ = typ.strip_prefix("application/").unwrap_or(&typ);
            matches!(typ, "jwt" | "at+jwt")
        };
        if let Some(typ) = header.typ.as_ref().filter(|typ| !is_token(typ)) {
            let typ = printable(typ, 40);
            return Err(untrusted(format!(
                "the token is a {typ:?}, for another use"
            )));
        }
        Ok(Self {
            signed: signed.as_bytes(),
            payload: decode(payload)?,
            signature: decode(signature)?,
            header,
        })
    }

    /// The payload, if a key has signed it with one of these algorithms.
    pub(super) fn verify(self, keys: &JwtKeys, algorithms: &[JwtAlgorithm]) -> Result<Vec<u8>> {
        let named = JwtAlgorithm::parse(&self.header.alg).ok();
        let algorithm = named.filter(|algorithm| algorithms.contains(algorithm));
        let Some(algorithm) = algorithm else {
            let name = printable(&self.header.alg, 40);
            return Err(untrusted(format!(
                "the token is signed with {name:?}, which is not allowed"
            )));
        };
        let mut candidates = keys
            .candidates(algorithm, self.header.kid.as_deref())
            .peekable();
        if candidates.peek().is_none() {
            return Err(untrusted("the token is signed by a key that is not known"));
        }
        match candidates.any(|key| key.has_signed(algorithm, self.signed, &self.signature)) {
            true => Ok(self.payload),
            false => Err(untrusted("the token's signature is wrong")),
        }
    }
}

const LONGEST: usize = 16 << 10;
