mod api;
mod kind;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    api::ApiDeviceRequest,
    kind::{device_kind, device_of_resource},
};

use crate::{Bytes, Error, Expression, Labels, Result};

/// Which device: its kind, such as `gpu`, and its own name among those of its node, such as a UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId {
    /// `gpu`, `fpga`, …
    pub kind: String,
    /// What tells it from the others of its kind on the node.
    pub name: String,
}

impl DeviceId {
    /// A device of this kind and name.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            name: name.into(),
        }
    }

    /// As [`new`](Self::new), of texts that come from elsewhere.
    ///
    /// # Errors
    /// A kind or a name that is empty, too long, or of other characters than names of devices have.
    pub fn parse(kind: &str, name: &str) -> Result<Self> {
        kind::check(kind)?;
        let begins = name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        let is_of_names = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/=@+".contains(&b);
        if !begins || name.len() > LONGEST_NAME || !name.bytes().all(is_of_names) {
            return Err(Error::invalid(format!(
                "invalid name of a {kind} {:?}: expected up to {LONGEST_NAME} letters, digits and \
                 -_.:/=@+, as in GPU-8a1f or 0000:3b:00.0",
                name.chars().take(80).collect::<String>()
            )));
        }
        Ok(Self::new(kind, name))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// A device of a node that one workload at a time can have, unlike a counted resource, of which any
/// will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Device {
    /// Which.
    pub id: DeviceId,
    /// What it is like: `model`, `memory`, … Amounts are whole numbers, also with a unit (`16GiB`).
    #[serde(default)]
    pub attributes: Labels,
}

impl Device {
    /// A device without attributes.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id: DeviceId::new(kind, name),
            attributes: Labels::new(),
        }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn with(mut self, attribute: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(attribute, value);
        self
    }
}

/// How many devices of a kind a workload needs, and what each of them must be like.
///
/// As text: `gpu`, `2 gpu`, `2 gpu where memory>=16GiB and model==A100*`; `all gpu` are those that a
/// node has, at least one, and none of them in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceRequest {
    kind: String,
    /// Nothing: all.
    count: Option<u32>,
    demands: Vec<DeviceDemand>,
}

/// What a device must be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceDemand {
    /// About an attribute, in Swarm's language: `model==A100*`.
    Attribute(Expression),
    /// About the amount in an attribute: `memory>=16GiB`. A device without it, or where it is no
    /// amount, does not fit.
    Amount {
        /// The attribute.
        attribute: String,
        /// How they are compared.
        comparison: Comparison,
        /// With what.
        amount: Bytes,
        /// The amount as it was written.
        text: String,
    },
}

/// How an amount is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `<`
    Less,
}

impl DeviceRequest {
    /// As many devices of a kind.
    ///
    /// # Errors
    /// None at all, more than [`MAX_COUNT`](Self::MAX_COUNT), or a kind that is no name.
    pub fn new(count: u32, kind: &str) -> Result<Self> {
        kind::check(kind)?;
        if count == 0 || count > Self::MAX_COUNT {
            return Err(Error::invalid(format!(
                "{count} {kind} asked for: expected 1 to {}",
                Self::MAX_COUNT
            )));
        }
        Ok(Self {
            kind: kind.to_owned(),
            count: Some(count),
            demands: Vec::new(),
        })
    }

    /// All devices of a kind that a node has and that are as demanded: at least one, and all of them
    /// free.
    ///
    /// # Errors
    /// A kind that is no name.
    pub fn all(kind: &str) -> Result<Self> {
        kind::check(kind)?;
        Ok(Self {
            kind: kind.to_owned(),
            count: None,
            demands: Vec::new(),
        })
    }

    /// The most devices that one workload can ask for.
    pub const MAX_COUNT: u32 = 32;

    /// The most demands on them.
    pub const MAX_DEMANDS: usize = 16;

    /// Adds a demand on each of them.
    #[must_use]
    pub fn with_demand(mut self, demand: DeviceDemand) -> Self {
        self.demands.push(demand);
        self
    }

    /// `gpu`, …
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// How many; where [all](Self::is_all) are asked for, the least that these can be: 1.
    pub fn count(&self) -> u32 {
        self.count.unwrap_or(1)
    }

    /// Whether all of a node's are asked for.
    pub fn is_all(&self) -> bool {
        self.count.is_none()
    }

    /// What each must be like.
    pub fn demands(&self) -> &[DeviceDemand] {
        &self.demands
    }
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(count) => write!(f, "{count} {}", self.kind)?,
            None => write!(f, "all {}", self.kind)?,
        }
        for (at, demand) in self.demands.iter().enumerate() {
            write!(f, " {} {demand}", if at == 0 { "where" } else { "and" })?;
        }
        Ok(())
    }
}

impl FromStr for DeviceRequest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (what, demands) = match text.split_once(" where ") {
            Some((what, demands)) => (what, Some(demands)),
            None => (text, None),
        };
        let words: Vec<&str> = what.split_whitespace().collect();
        let mut request = match words[..] {
            [kind] => Self::new(1, kind)?,
            ["all", kind] => Self::all(kind)?,
            [count, kind] => match count.parse() {
                Ok(count) => Self::new(count, kind)?,
                Err(_) => return Err(unreadable(text)),
            },
            _ => return Err(unreadable(text)),
        };
        for demand in demands.into_iter().flat_map(|all| all.split(" and ")) {
            request.demands.push(demand.trim().parse()?);
        }
        if request.demands.len() > Self::MAX_DEMANDS {
            return Err(Error::invalid(format!(
                "a device can have at most {} demands, {} has {}",
                Self::MAX_DEMANDS,
                request.kind,
                request.demands.len()
            )));
        }
        Ok(request)
    }
}

impl TryFrom<String> for DeviceRequest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<DeviceRequest> for String {
    fn from(request: DeviceRequest) -> Self {
        request.to_string()
    }
}

impl fmt::Display for DeviceDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(expression) => write!(f, "{expression}"),
            Self::Amount {
                attribute,
                comparison,
                text,
                ..
            } => write!(f, "{attribute}{}{text}", comparison.as_str()),
        }
    }
}

impl FromStr for DeviceDemand {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let operator = text.find(['=', '!', '<', '>']);
        let Some((attribute, rest)) = operator
            .filter(|at| matches!(text.as_bytes()[*at], b'<' | b'>'))
            .map(|at| text.split_at(at))
        else {
            let expression: Expression = text.parse()?;
            if expression.is_soft() {
                return Err(Error::invalid(format!(
                    "a demand on a device can't be a wish: {text}"
                )));
            }
            return Ok(Self::Attribute(expression));
        };
        let (comparison, amount) = Comparison::ALL
            .into_iter()
            .find_map(|comparison| Some((comparison, rest.strip_prefix(comparison.as_str())?)))
            .ok_or_else(|| unreadable(text))?;
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if attribute.is_empty() || !attribute.bytes().all(is_name) {
            return Err(unreadable(text));
        }
        Ok(Self::Amount {
            attribute: attribute.to_owned(),
            comparison,
            amount: amount.parse().map_err(Error::from)?,
            text: amount.trim().to_owned(),
        })
    }
}

impl Comparison {
    /// The longer operators first, which begin with the shorter ones.
    const ALL: [Self; 4] = [Self::AtLeast, Self::AtMost, Self::More, Self::Less];

    /// `>=`, `<=`, `>` or `<`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::Less => "<",
        }
    }

    /// Whether it holds of an amount and what it is compared with.
    pub fn holds(self, amount: Bytes, other: Bytes) -> bool {
        match self {
            Self::AtLeast => amount >= other,
            Self::AtMost => amount <= other,
            Self::More => amount > other,
            Self::Less => amount < other,
        }
    }
}

/// More of a device's name is none.
const LONGEST_NAME: usize = 128;

fn unreadable(text: &str) -> Error {
    Error::invalid(format!(
        "invalid devices {:?}: expected for example 2 gpu where memory>=16GiB and model==A100*",
        text.chars().take(80).collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, as_text: &str) {
        let request: DeviceRequest = text.parse().unwrap();
        assert_eq!(request.to_string(), as_text);
        assert_eq!(as_text.parse::<DeviceRequest>().unwrap(), request);
    }

    #[test]
    fn requests_read_back() {
        reads("gpu", "1 gpu");
        reads(" 2  gpu", "2 gpu");
        reads(
            "2 gpu where memory>=16GiB and model==A100*",
            "2 gpu where memory>=16GiB and model==A100*",
        );
        reads("nic where numa<2", "1 nic where numa<2");
        reads("all gpu where memory>8", "all gpu where memory>8");
        assert!("all gpu".parse::<DeviceRequest>().unwrap().is_all());
    }

    #[test]
    fn what_is_no_request_is_named() {
        for text in [
            "",
            "0 gpu",
            "33 gpu",
            "x gpu",
            "1 2 gpu",
            "gpu where",
            "gpu where memory",
            "gpu where memory>=lots",
            "gpu where >=2",
            "gpu where model==~A100",
            "all 2 gpu",
            "-1 gpu",
        ] {
            assert!(text.parse::<DeviceRequest>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_from_elsewhere_is_checked() {
        for name in [
            "GPU-8a1f",
            "0",
            "0000:3b:00.0",
            "MIG-GPU-1/0/0",
            "nvidia.com/gpu=0",
        ] {
            assert_eq!(DeviceId::parse("gpu", name).unwrap().name, name);
        }
        let long = "x".repeat(129);
        for name in ["", " ", "~a", "-a", "a,b", "a*", "a b", "a\nb", &long] {
            assert!(DeviceId::parse("gpu", name).is_err(), "{name:?}");
        }
        assert!(DeviceId::parse("where", "0").is_err());
    }
}
