//! Rancher's scheduling labels, `io.rancher.scheduler.*`, as expressions.
//!
//! Rancher compares in lower case, so values become regular expressions that ignore case; keys are
//! those of labels and stay as they are. Soft rules keep their order, the heavier ones
//! (`…_soft#10`) before the lighter, and their weights: of two nodes the one is better whose rules
//! weigh more in all; of equals the first declared is dropped last.

use longshore_core::{Error, Expression, Labels, Operator, PlacementRequest, Result};

use crate::filter::{NodeFilter, NodeView};

/// What Rancher's macros stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RancherNames<'n> {
    /// `${stack_name}`, and what a bare service name is completed with.
    pub stack: &'n str,
    /// `${service_name}`.
    pub service: &'n str,
    /// `${project_name}`.
    pub project: &'n str,
}

impl<'n> RancherNames<'n> {
    /// A service of a stack; the project has the stack's name.
    pub fn new(stack: &'n str, service: &'n str) -> Self {
        Self {
            stack,
            service,
            project: stack,
        }
    }
}

/// Adds what a container's labels ask for in Rancher's language to a request. Says whether the
/// service is global (`io.rancher.scheduler.global=true`).
///
/// # Errors
/// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput), naming the label and what
/// is wrong with its value. The request is then unchanged.
///
/// ```
/// use longshore_core::{Labels, PlacementRequest};
/// use longshore_sched::{RancherNames, add_rancher_labels};
///
/// # fn main() -> longshore_core::Result<()> {
/// let labels = Labels::new()
///     .with("io.rancher.scheduler.affinity:host_label", "zone=eu,disk=ssd")
///     .with("io.rancher.scheduler.affinity:container_label_ne",
///           "io.rancher.stack_service.name=$${stack_name}/$${service_name}");
/// let mut request = PlacementRequest::new("nginx");
/// let is_global = add_rancher_labels(&mut request, &labels, RancherNames::new("shop", "web"))?;
/// assert!(!is_global);
/// assert_eq!(request.constraints[0].to_string(), "zone==/(?i)^eu$/");
/// assert_eq!(
///     request.affinities[0].to_string(),
///     "io.rancher.stack_service.name!=/(?i)^shop/web$/",
/// );
/// # Ok(())
/// # }
/// ```
pub fn add_rancher_labels(
    request: &mut PlacementRequest,
    labels: &Labels,
    names: RancherNames<'_>,
) -> Result<bool> {
    let (mut constraints, mut affinities) = (Vec::new(), Vec::new());
    for (label, value) in labels.iter() {
        let Some(rest) = label.strip_prefix(AFFINITY) else {
            continue;
        };
        let rule = Rule::parse(label, rest)?;
        for part in value
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let expression = rule.expression(part, names).map_err(|reason| {
                Error::invalid(format!(
                    "invalid value {value:?} of label {label}: {reason}"
                ))
            })?;
            match rule.about {
                About::HostLabel => constraints.push((rule.weight, expression)),
                About::ContainerLabel | About::Container => {
                    affinities.push((rule.weight, expression));
                }
            }
        }
    }
    for (mut new, known) in [
        (constraints, &mut request.constraints),
        (affinities, &mut request.affinities),
    ] {
        // Stable: of equal weight the first declared stays first.
        new.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        known.extend(new.into_iter().map(|(_, expression)| expression));
    }
    Ok(labels.get("io.rancher.scheduler.global") == Some("true"))
}

/// Rancher's `io.rancher.scheduler.require_any` on a node: only containers with one of the listed
/// labels (`key` or `key=value`, separated by commas) may go there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequireAny;

impl NodeFilter for RequireAny {
    fn name(&self) -> &str {
        "require-any"
    }

    fn check(&self, request: &PlacementRequest, node: &NodeView<'_>) -> Result<(), String> {
        let Some(list) = node.label(REQUIRE_ANY) else {
            return Ok(());
        };
        let carries = |wanted: &str| match wanted.split_once('=') {
            Some((key, value)) => request
                .labels
                .get(key)
                .is_some_and(|had| had.eq_ignore_ascii_case(value)),
            None => request.labels.get(wanted).is_some(),
        };
        let mut wanted = list
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .peekable();
        if wanted.peek().is_none() || wanted.any(carries) {
            return Ok(());
        }
        Err(format!(
            "the node takes only containers with one of the labels {list}"
        ))
    }
}

#[derive(Clone, Copy, Debug)]
enum About {
    HostLabel,
    ContainerLabel,
    Container,
}

/// What a label's name says.
#[derive(Clone, Copy, Debug)]
struct Rule {
    about: About,
    operator: Operator,
    soft: bool,
    weight: u32,
}

impl Rule {
    fn parse(label: &str, rest: &str) -> Result<Self> {
        let unknown = || {
            Error::invalid(format!(
                "unknown label {label}: expected {AFFINITY}host_label, container_label or \
                 container, and behind it _ne, _soft, _soft_ne or nothing"
            ))
        };
        let (rest, weight) = match rest.split_once('#') {
            Some((rest, weight)) => (rest, weight.parse().map_err(|_| unknown())?),
            None => (rest, 1),
        };
        let (rest, operator) = match rest.strip_suffix("_ne") {
            Some(rest) => (rest, Operator::NotEqual),
            None => (rest, Operator::Equal),
        };
        let (rest, soft) = match rest.strip_suffix("_soft") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let about = match rest {
            "host_label" => About::HostLabel,
            "container_label" => About::ContainerLabel,
            "container" => About::Container,
            _ => return Err(unknown()),
        };
        Ok(Self {
            about,
            operator,
            soft,
            weight,
        })
    }

    fn expression(&self, part: &str, names: RancherNames<'_>) -> Result<Expression, String> {
        let part = expand(part, names);
        let (key, value) = match self.about {
            About::Container => ("container", part.as_str()),
            // A second `=` belongs to the value, where Rancher lost it.
            _ => part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not key=value"))?,
        };
        let value = match key == SERVICE_NAME && !value.contains('/') && !names.stack.is_empty() {
            true => format!("{}/{value}", names.stack),
            false => value.to_owned(),
        };
        let pattern = format!("/(?i)^{}$/", regex::escape(&value).replace("\\~", r"\x7e"));
        let expression = Expression::new(key, self.operator, &pattern);
        let expression = expression.map_err(|error| format!("{part:?}: {error}"))?;
        Ok(if self.soft {
            expression.weighing(self.weight)
        } else {
            expression
        })
    }
}

fn expand(text: &str, names: RancherNames<'_>) -> String {
    let mut text = text.replace("$$", "$");
    for (name, value) in [
        ("${stack_name}", names.stack),
        ("${service_name}", names.service),
        ("${project_name}", names.project),
    ] {
        text = text.replace(name, value);
    }
    text
}

const AFFINITY: &str = "io.rancher.scheduler.affinity:";
const REQUIRE_ANY: &str = "io.rancher.scheduler.require_any";
const SERVICE_NAME: &str = "io.rancher.stack_service.name";

#[cfg(test)]
mod tests {
    use super::*;

    fn added(label: &str, value: &str) -> Result<Vec<String>> {
        let mut request = PlacementRequest::new("image");
        let labels = Labels::new().with(format!("{AFFINITY}{label}"), value);
        add_rancher_labels(&mut request, &labels, RancherNames::new("stack", "web"))?;
        let all = request.constraints.iter().chain(&request.affinities);
        Ok(all.map(ToString::to_string).collect())
    }

    #[track_caller]
    fn check(label: &str, value: &str, expected: &[&str]) {
        assert_eq!(added(label, value).unwrap(), expected, "{label}={value}");
    }

    #[test]
    fn every_suffix_and_subject_is_understood() {
        check("host_label", "zone=eu", &["zone==/(?i)^eu$/"]);
        check("host_label_ne", "zone=eu", &["zone!=/(?i)^eu$/"]);
        check(
            "host_label_soft",
            "a=b, c=d",
            &["a==~/(?i)^b$/", "c==~/(?i)^d$/"],
        );
        check("container_label_soft_ne", "a=b", &["a!=~/(?i)^b$/"]);
        check("container", "db-1", &["container==/(?i)^db\\-1$/"]);
        check("host_label_soft#10", "a=b", &["a==~/(?i)^b$/"]);
        // The fix: a second `=` is part of the value, an empty value is one.
        check("host_label", "a=b=c", &["a==/(?i)^b=c$/"]);
        check("host_label", "a=", &["a==/(?i)^$/"]);
        let service = "io.rancher.stack_service.name";
        check(
            "container_label",
            &format!("{service}=db"),
            &[&format!("{service}==/(?i)^stack/db$/")],
        );
    }

    #[test]
    fn a_wrong_label_is_named() {
        for (label, value) in [
            ("host", "a=b"),
            ("host_label_soft#x", "a=b"),
            ("host_label", "zone"),
        ] {
            let error = added(label, value).unwrap_err().to_string();
            assert!(error.contains(&format!("{AFFINITY}{label}")), "{error}");
        }
    }

    #[test]
    fn heavier_wishes_come_first() {
        let mut request = PlacementRequest::new("image");
        let labels = Labels::new()
            .with(format!("{AFFINITY}host_label_soft"), "light=1")
            .with(format!("{AFFINITY}host_label_soft#10"), "heavy=1")
            .with("io.rancher.scheduler.global", "true");
        assert!(add_rancher_labels(&mut request, &labels, RancherNames::default()).unwrap());
        let found = request.constraints.iter();
        let found: Vec<_> = found.map(|term| (term.key(), term.weight())).collect();
        assert_eq!(found, [("heavy", 10), ("light", 1)]);
    }
}
