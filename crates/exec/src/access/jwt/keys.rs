use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use longshore_core::{Error, Result};
use ring::{hmac, signature};
use serde::Deserialize;

use super::{JwtAlgorithm, JwtRules};

/// The keys that tokens are checked with: a JSON Web Key Set (RFC 7517), or keys one by one.
#[derive(Clone, Debug, Default)]
pub struct JwtKeys {
    keys: Vec<Key>,
}

/// A key and the algorithms that it is for: those of its kind, so that a public key is never a
/// secret for HMAC.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    only: Option<JwtAlgorithm>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Secret(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// Uncompressed points.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    used_for: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    k: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    d: Option<serde::de::IgnoredAny>,
}

impl JwtKeys {
    /// Reads a key set, as issuers publish it. Keys for other uses, or of kinds that are not known,
    /// are left out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput), naming the key: it is
    /// malformed, too weak, or private. So does a text without a usable key, and one of more than 64
    /// keys or 1 MiB.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > LARGEST_SET {
            return Err(wrong(format!("is larger than {LARGEST_SET} bytes")));
        }
        let set: Set = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if set.keys.len() > MOST_KEYS {
            return Err(wrong(format!(
                "has {} keys, {MOST_KEYS} are read",
                set.keys.len()
            )));
        }
        let mut keys = Vec::new();
        for (number, key) in set.keys.into_iter().enumerate() {
            let read = serde_json::from_value::<Written>(key)
                .map_err(|error| error.to_string())
                .and_then(Written::read);
            let key = read.map_err(|text| wrong(format!("has a bad key, number {number}: {text}")));
            keys.extend(key?);
        }
        if keys.is_empty() {
            return Err(wrong("has no key that signatures can be checked with"));
        }
        Ok(Self { keys })
    }

    /// A single secret for HMAC, shared with the issuer; `id` is the tokens' `kid`, if they have one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput): it has less than 32
    /// bytes.
    pub fn secret(id: Option<&str>, secret: &[u8]) -> Result<Self> {
        if secret.len() < LEAST_SECRET {
            return Err(Error::invalid(format!(
                "a secret for tokens has {} bytes; {LEAST_SECRET} random ones are the least",
                secret.len()
            )));
        }
        let key = Key {
            id: id.map(str::to_owned),
            only: None,
            material: Material::Secret(secret.to_vec()),
        };
        Ok(Self { keys: vec![key] })
    }

    /// Those of both.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self
    }

    pub(super) fn check(&self, rules: &JwtRules) -> Result<()> {
        let fits = |algorithm: &JwtAlgorithm| self.keys.iter().any(|key| key.fits(*algorithm));
        if rules.algorithms().iter().any(fits) {
            return Ok(());
        }
        Err(wrong(
            "has no key for any of the algorithms that are listed",
        ))
    }

    /// Those that may have signed a token of this algorithm and key id. A key without an id may
    /// have signed any.
    pub(super) fn candidates(
        &self,
        algorithm: JwtAlgorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| {
            let named = match (&key.id, id) {
                (Some(own), Some(id)) => own == id,
                _ => true,
            };
            named && key.fits(algorithm)
        })
    }
}

impl Key {
    fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        use JwtAlgorithm as A;
        let kind = match algorithm {
            A::Hs256 => matches!(&self.material, Material::Secret(secret) if secret.len() >= 32),
            A::Hs384 => matches!(&self.material, Material::Secret(secret) if secret.len() >= 48),
            A::Hs512 => matches!(&self.material, Material::Secret(secret) if secret.len() >= 64),
            A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512 => {
                matches!(self.material, Material::Rsa { .. })
            }
            A::Es256 => matches!(self.material, Material::P256(_)),
            A::Es384 => matches!(self.material, Material::P384(_)),
            A::EdDsa => matches!(self.material, Material::Ed25519(_)),
        };
        kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether it signed this.
    pub(super) fn has_signed(
        &self,
        algorithm: JwtAlgorithm,
        message: &[u8],
        signed: &[u8],
    ) -> bool {
        use JwtAlgorithm as A;
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Secret(secret) => {
                let hash = match algorithm {
                    A::Hs384 => hmac::HMAC_SHA384,
                    A::Hs512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::verify(&hmac::Key::new(hash, secret), message, signed).is_ok()
            }
            Material::Rsa { modulus, exponent } => {
                let scheme = match algorithm {
                    A::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    A::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    A::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    A::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    A::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                let (n, e) = (modulus, exponent);
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(scheme, message, signed).is_ok()
            }
            Material::P256(point) => {
                verify(&signature::ECDSA_P256_SHA256_FIXED, point, message, signed)
            }
            Material::P384(point) => {
                verify(&signature::ECDSA_P384_SHA384_FIXED, point, message, signed)
            }
            Material::Ed25519(key) => verify(&signature::ED25519, key, message, signed),
        }
    }
}

fn verify(
    scheme: &'static dyn signature::VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signed: &[u8],
) -> bool {
    let key = signature::UnparsedPublicKey::new(scheme, key);
    key.verify(message, signed).is_ok()
}

/// Shows no secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

impl Written {
    /// The key; `None` where it is for something else.
    fn read(self) -> Result<Option<Key>, String> {
        let signs = self.used_for.as_deref().is_none_or(|used| used == "sig");
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if !signs || !self.key_ops.as_ref().is_none_or(verifies) {
            return Ok(None);
        }
        let only = match self.alg.as_deref() {
            None => None,
            Some(name) => match JwtAlgorithm::parse(name) {
                Ok(algorithm) => Some(algorithm),
                Err(_) => return Ok(None),
            },
        };
        if self.kty != "oct" && self.d.is_some() {
            return Err("it is a private key, which must not be here: give its public half".into());
        }
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => Material::Secret(bytes("k", self.k.as_deref(), LEAST_SECRET..=1024)?),
            ("RSA", _) => {
                let modulus = bytes("n", self.n.as_deref(), 1..=1025)?;
                let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
                let modulus = modulus[zeros..].to_vec();
                if !(LEAST_RSA..=MOST_RSA).contains(&modulus.len()) {
                    return Err("an RSA key has from 2048 to 8192 bits".into());
                }
                let exponent = bytes("e", self.e.as_deref(), 1..=8)?;
                Material::Rsa { modulus, exponent }
            }
            ("EC", Some("P-256")) => Material::P256(self.point(32)?),
            ("EC", Some("P-384")) => Material::P384(self.point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x", self.x.as_deref(), 32..=32)?),
            _ => return Ok(None),
        };
        let key = Key {
            id: self.kid,
            only,
            material,
        };
        match only {
            Some(only) if !key.fits(only) => Err(format!("a key of its kind is not for {only}")),
            _ => Ok(Some(key)),
        }
    }

    fn point(&self, length: usize) -> Result<Vec<u8>, String> {
        let mut point = vec![4];
        point.extend(bytes("x", self.x.as_deref(), length..=length)?);
        point.extend(bytes("y", self.y.as_deref(), length..=length)?);
        Ok(point)
    }
}

fn bytes(
    name: &str,
    text: Option<&str>,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("{name} is missing"))?;
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| format!("{name} is not base64url without padding"))?;
    if !lengths.contains(&bytes.len()) {
        let (least, most) = lengths.into_inner();
        let length = bytes.len();
        return Err(format!(
            "{name} has {length} bytes, and has to have from {least} to {most}"
        ));
    }
    Ok(bytes)
}

fn wrong(text: impl fmt::Display) -> Error {
    Error::invalid(format!("the key set for tokens {text}"))
}

const MOST_KEYS: usize = 64;
const LARGEST_SET: usize = 1 << 20;
/// As many as SHA-256 has (RFC 7518, section 3.2).
const LEAST_SECRET: usize = 32;
const LEAST_RSA: usize = 256;
const MOST_RSA: usize = 1024;
