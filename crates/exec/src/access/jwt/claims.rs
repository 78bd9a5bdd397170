use std::time::Duration;

use longshore_core::{Cleanup, Result, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{JwtRules, untrusted};
use crate::access::grants::Grants;

/// What a token says whose signature is good.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    /// What it grants by itself, where the rules let it.
    pub(super) grants: Grants,
    /// From then on it does not count.
    pub(super) until: Timestamp,
}

#[derive(Deserialize)]
struct Written {
    iss: String,
    aud: OneOrMore,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

impl Claims {
    /// Reads and checks a payload (RFC 7519, section 4.1).
    pub(super) fn read(payload: &[u8], rules: &JwtRules, now: Timestamp) -> Result<Self> {
        let written: Written = serde_json::from_slice(payload).map_err(|error| {
            // Without its words: they may quote the token.
            let line = (error.line(), error.column());
            untrusted(format!(
                "the token's claims are not as they should be, at line {} column {}: iss, aud and \
                 exp are needed",
                line.0, line.1
            ))
        })?;
        if written.iss != rules.issuer() {
            return Err(untrusted("the token is another issuer's"));
        }
        let audiences = written.aud.into_vec();
        if !audiences.iter().any(|aud| rules.is_for_us(aud)) {
            return Err(untrusted("the token is for another audience"));
        }
        let until = time(written.exp, "exp")?.after(rules.leeway());
        if now >= until {
            return Err(untrusted("the token has expired"));
        }
        if let Some(from) = written.nbf
            && time(from, "nbf")?.before(rules.leeway()) > now
        {
            return Err(untrusted("the token does not count yet"));
        }
        let mut all = written.rest;
        all.insert("iss".to_owned(), written.iss.into());
        let all = Value::Object(all);
        let user = find(&all, rules.user_claim()).and_then(Value::as_str);
        let user = user
            .filter(|user| (1..=LONGEST_NAME).contains(&user.len()))
            .filter(|user| !user.chars().any(char::is_control))
            .ok_or_else(|| untrusted("the token does not say whose it is"))?
            .to_owned();
        let groups = match find(&all, rules.groups_claim()) {
            None => Vec::new(),
            Some(groups) => OneOrMore::deserialize(groups)
                .map_err(|_| untrusted("the token's groups are not a list of names"))?
                .into_vec(),
        };
        let grants = match rules.grants_claim().and_then(|claim| find(&all, claim)) {
            None => Grants::default(),
            Some(grants) => read_grants(grants)?,
        };
        Ok(Self {
            user,
            groups,
            grants,
            until,
        })
    }
}

#[derive(Deserialize)]
struct WrittenGrants {
    #[serde(default)]
    enter: Vec<String>,
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    least_cleanup: Option<Cleanup>,
}

fn read_grants(value: &Value) -> Result<Grants> {
    let grants = WrittenGrants::deserialize(value).map_err(|_| {
        untrusted("what the token grants is not of the form enter, read, least_cleanup")
    })?;
    // Without its words: they would quote the token.
    let places = Grants::parse(&grants.enter, &grants.read)
        .map_err(|_| untrusted("what the token grants are places of a kind that there is not"))?;
    Ok(places.with_least_cleanup(grants.least_cleanup))
}

/// A claim by its name, or inside of others by a JSON pointer.
fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    match name.starts_with('/') {
        true => claims.pointer(name),
        false => claims.get(name),
    }
}

fn time(seconds: f64, name: &'static str) -> Result<Timestamp> {
    let since = Duration::try_from_secs_f64(seconds)
        .map_err(|_| untrusted(format!("the token's {name} is not a time")))?;
    Ok(Timestamp::ZERO.after(since))
}

const LONGEST_NAME: usize = 256;
