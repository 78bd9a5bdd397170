use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use longshore_core::{
    DeviceRequest, Error, Expression, PlacementRequest, Result, ServiceName, WorkloadName,
    WorkloadSpec,
};
use serde::{Deserialize, Serialize};

use super::labels;

/// A service of a stack: so many instances of one template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceSpec {
    /// Its name within the stack.
    pub name: ServiceName,
    /// What each instance runs. Its name is made up; its labels get the stack's own.
    pub template: WorkloadSpec,
    /// How many instances.
    pub replicas: u32,
    /// Services of the same stack that must be ready first.
    #[serde(default)]
    pub depends_on: Vec<ServiceName>,
    /// Demands on the node.
    #[serde(default)]
    pub constraints: Vec<Expression>,
    /// Demands on what else is on the node.
    #[serde(default)]
    pub affinities: Vec<Expression>,
    /// Devices that each instance has for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRequest>,
    /// The name of the credentials for its image's registry, which the manager's
    /// [`RegistrySource`](crate::RegistrySource) knows. Never a secret: the stack is stored and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_credentials: Option<String>,
    /// Never two live instances, also when it is unknown whether a lost node still runs one. It
    /// then waits for the node, or for an operator to
    /// [declare it dead](crate::ControlPlane::declare_dead). Needs `replicas` of at most 1.
    #[serde(default)]
    pub at_most_one: bool,
}

impl ServiceSpec {
    /// One instance of a template. Every instance finds what it is in its environment:
    /// `LONGSHORE_STACK`, `LONGSHORE_SERVICE`, `LONGSHORE_INSTANCE` (its container's name) and
    /// `LONGSHORE_NODE`.
    pub fn new(name: ServiceName, template: WorkloadSpec) -> Self {
        Self {
            name,
            template,
            replicas: 1,
            depends_on: Vec::new(),
            constraints: Vec::new(),
            affinities: Vec::new(),
            devices: Vec::new(),
            registry_credentials: None,
            at_most_one: false,
        }
    }

    /// Sets how many instances.
    #[must_use]
    pub fn with_replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Adds a service that must be ready first.
    #[must_use]
    pub fn with_dependency(mut self, service: ServiceName) -> Self {
        self.depends_on.push(service);
        self
    }

    /// Adds a demand on the node.
    #[must_use]
    pub fn with_constraint(mut self, expression: Expression) -> Self {
        self.constraints.push(expression);
        self
    }

    /// Adds a demand on what else is on the node.
    #[must_use]
    pub fn with_affinity(mut self, expression: Expression) -> Self {
        self.affinities.push(expression);
        self
    }

    /// Names the credentials for its image's registry.
    #[must_use]
    pub fn with_registry_credentials(mut self, name: impl Into<String>) -> Self {
        self.registry_credentials = Some(name.into());
        self
    }

    /// Adds devices that each instance has for itself.
    #[must_use]
    pub fn with_devices(mut self, devices: DeviceRequest) -> Self {
        self.devices.push(devices);
        self
    }

    /// Never two live instances.
    #[must_use]
    pub fn with_at_most_one(mut self) -> Self {
        self.at_most_one = true;
        self
    }
}

/// Services that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StackSpec {
    /// Its name.
    pub name: ServiceName,
    /// Its services.
    pub services: Vec<ServiceSpec>,
}

impl StackSpec {
    /// A stack of these services.
    pub fn new(name: ServiceName, services: Vec<ServiceSpec>) -> Self {
        Self { name, services }
    }

    /// Checks the stack, and gives its services in an order in which each comes behind those it
    /// depends on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput), naming the service:
    /// a name used twice, an unknown dependency, a circle, too many instances, a name that becomes
    /// too long.
    pub fn ordered(&self) -> Result<Vec<&ServiceSpec>> {
        let mut by_name: BTreeMap<&ServiceName, &ServiceSpec> = BTreeMap::new();
        let bad = |service: &ServiceSpec, reason: String| {
            Err(Error::invalid(format!(
                "service {} of stack {}: {reason}",
                service.name, self.name
            )))
        };
        if self.services.len() > MAX_SERVICES {
            return Err(Error::invalid(format!(
                "stack {}: {} services are more than the {MAX_SERVICES} allowed",
                self.name,
                self.services.len()
            )));
        }
        let all: u64 = self
            .services
            .iter()
            .map(|one| u64::from(one.replicas))
            .sum();
        if all > MAX_INSTANCES {
            return Err(Error::invalid(format!(
                "stack {}: {all} instances of all its services are more than the {MAX_INSTANCES} \
                 allowed",
                self.name
            )));
        }
        for service in &self.services {
            if by_name.insert(&service.name, service).is_some() {
                return bad(service, "it is there twice".to_owned());
            }
            if service.at_most_one && service.replicas > 1 {
                let replicas = service.replicas;
                return bad(service, format!("at most one instance, not {replicas}"));
            }
            if !service.template.devices.is_empty() {
                let reason = "its template names devices; ask for them under its own devices, \
                              and they are chosen where it is placed";
                return bad(service, reason.to_owned());
            }
            if let Some(name) = &service.registry_credentials
                && !is_credentials_name(name)
            {
                let reason = "its registry credentials are named by up to 64 letters, digits and \
                              -_. (the name of a source that the managers have, not a secret)";
                return bad(service, reason.to_owned());
            }
            let devices = service
                .devices
                .iter()
                .map(|wanted| u64::from(wanted.count()));
            if devices.sum::<u64>() > u64::from(DeviceRequest::MAX_COUNT) {
                let reason = format!(
                    "each instance asks for more than {} devices",
                    DeviceRequest::MAX_COUNT
                );
                return bad(service, reason);
            }
            if service.replicas > MAX_REPLICAS {
                let replicas = service.replicas;
                return bad(
                    service,
                    format!("{replicas} instances are more than the {MAX_REPLICAS} allowed"),
                );
            }
            let last = Slot::new(&self.name, service, service.replicas.max(1));
            if let Err(error) = last.instance_name(u64::MAX) {
                return bad(service, error.message().to_owned());
            }
        }
        for service in &self.services {
            for dependency in &service.depends_on {
                if !by_name.contains_key(dependency) {
                    return bad(
                        service,
                        format!("it depends on {dependency}, which is not there"),
                    );
                }
            }
        }
        let mut ordered: Vec<&ServiceSpec> = Vec::new();
        let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
        while ordered.len() < by_name.len() {
            let before = ordered.len();
            for service in &self.services {
                let ready = service.depends_on.iter().all(|name| done.contains(name));
                if ready && done.insert(&service.name) {
                    ordered.push(service);
                }
            }
            if ordered.len() == before {
                let circle: Vec<&str> = self
                    .services
                    .iter()
                    .map(|service| &service.name)
                    .filter(|name| !done.contains(name))
                    .map(ServiceName::as_str)
                    .collect();
                return Err(Error::invalid(format!(
                    "stack {}: these services depend on each other in a circle: {}",
                    self.name,
                    circle.join(", ")
                )));
            }
        }
        Ok(ordered)
    }
}

/// The place of one instance: it keeps its place when it moves to another node, under a higher
/// epoch.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The stack.
    pub stack: ServiceName,
    /// The service.
    pub service: ServiceName,
    /// From 1.
    pub index: u32,
}

impl Slot {
    pub(super) fn new(stack: &ServiceName, service: &ServiceSpec, index: u32) -> Self {
        Self {
            stack: stack.clone(),
            service: service.name.clone(),
            index,
        }
    }

    /// The container's name under an epoch: later ones have another, because the earlier container
    /// may still be there.
    pub(super) fn instance_name(&self, epoch: u64) -> Result<WorkloadName> {
        let name = match epoch {
            0 | 1 => self.to_string(),
            later => format!("{self}.{later}"),
        };
        Ok(WorkloadName::new(name)?)
    }
}

/// `stack-service-1`.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.stack, self.service, self.index)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({self})")
    }
}

impl ServiceSpec {
    /// What an engine is asked to make.
    pub(super) fn workload(&self, slot: &Slot, epoch: u64) -> Result<WorkloadSpec> {
        let mut spec = self.template.clone();
        let name = slot.instance_name(epoch)?;
        // What it is, for the program inside. What the template says itself stands behind and wins.
        let itself = [
            format!("LONGSHORE_STACK={}", slot.stack),
            format!("LONGSHORE_SERVICE={}", slot.service),
            format!("LONGSHORE_INSTANCE={name}"),
        ];
        spec.env.splice(0..0, itself);
        spec.name = Some(name);
        labels::mark(&mut spec.labels, slot, epoch, &labels::fingerprint(self));
        Ok(spec)
    }

    /// Whether its instances are what the other's are, however many there are.
    pub(super) fn makes_the_same(&self, other: &Self) -> bool {
        (&self.template, &self.constraints, &self.affinities)
            == (&other.template, &other.constraints, &other.affinities)
            && (&self.devices, &self.registry_credentials)
                == (&other.devices, &other.registry_credentials)
    }

    /// What a scheduler is asked to place.
    pub(super) fn request(&self, slot: &Slot, spec: &WorkloadSpec) -> PlacementRequest {
        let mut request =
            PlacementRequest::new(spec.image.as_str()).with_resources(spec.resources.clone());
        if let Some(name) = &spec.name {
            name.as_str().clone_into(&mut request.name);
        }
        request.service = ServiceName::new(format!("{}.{}", slot.stack, slot.service)).ok();
        request.labels = spec.labels.clone();
        request.ports = spec
            .ports
            .iter()
            .filter_map(|port| port.host.clone())
            .filter(|port| port.port != 0)
            .collect();
        request.constraints.clone_from(&self.constraints);
        request.affinities.clone_from(&self.affinities);
        request.devices.clone_from(&self.devices);
        request
    }
}

/// The name is not told where it is none: it may be a secret that was put into the wrong place.
fn is_credentials_name(name: &str) -> bool {
    let is_of_names = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(is_of_names)
}

/// More instances of one service are a typing error.
const MAX_REPLICAS: u32 = 10_000;
/// Each is gone over with every comparison.
const MAX_SERVICES: usize = 1_000;
/// Of all services of a stack: what every manager keeps a place for, whoever wrote the stack into
/// the store that they share.
const MAX_INSTANCES: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, needs: &[&str]) -> ServiceSpec {
        let mut spec = ServiceSpec::new(name.parse().unwrap(), WorkloadSpec::new("host"));
        for need in needs {
            spec = spec.with_dependency(need.parse().unwrap());
        }
        spec
    }

    fn stack(services: Vec<ServiceSpec>) -> StackSpec {
        StackSpec::new("shop".parse().unwrap(), services)
    }

    #[track_caller]
    fn refuse(services: Vec<ServiceSpec>, message: &str) {
        assert_eq!(stack(services).ordered().unwrap_err().message(), message);
    }

    #[test]
    fn services_come_behind_what_they_depend_on() {
        let stack = stack(vec![
            service("web", &["api", "cache"]),
            service("api", &["db"]),
            service("cache", &[]),
            service("db", &[]),
        ]);
        let order: Vec<_> = stack
            .ordered()
            .unwrap()
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        assert_eq!(order, ["cache", "db", "api", "web"]);
    }

    #[test]
    fn a_wrong_stack_is_refused_and_the_service_named() {
        refuse(
            vec![
                service("a", &["b"]),
                service("b", &["a"]),
                service("c", &[]),
            ],
            "stack shop: these services depend on each other in a circle: a, b",
        );
        refuse(
            vec![service("a", &["x"])],
            "service a of stack shop: it depends on x, which is not there",
        );
        refuse(
            vec![service("a", &[]), service("a", &[])],
            "service a of stack shop: it is there twice",
        );
        refuse(
            vec![service("a", &[]).with_at_most_one().with_replicas(2)],
            "service a of stack shop: at most one instance, not 2",
        );
        refuse(
            vec![service("a", &[]).with_replicas(20_000)],
            "service a of stack shop: 20000 instances are more than the 10000 allowed",
        );
    }

    #[test]
    fn what_an_instance_asks_for_of_all_devices_is_summed_up() {
        let with = |devices: &[&str]| {
            let devices = devices.iter().map(|text| text.parse().unwrap());
            stack(vec![
                devices.fold(service("a", &[]), ServiceSpec::with_devices),
                service("b", &[]).with_devices("32 gpu".parse().unwrap()),
            ])
        };
        assert!(with(&["16 gpu", "16 tpu"]).ordered().is_ok());
        let error = with(&["16 gpu", "16 tpu", "fpga"]).ordered().unwrap_err();
        assert_eq!(
            error.message(),
            "service a of stack shop: each instance asks for more than 32 devices"
        );
    }

    #[test]
    fn s25_credentials_are_named_and_a_secret_in_their_place_is_not_told() {
        let with = |name: &str| stack(vec![service("a", &[]).with_registry_credentials(name)]);
        assert!(with("ours.prod-1").ordered().is_ok());
        for name in ["", "alice:secret", "a/b", "eyJ1c2VybmFtZSI6ImFsaWNlIn0="] {
            let error = with(name).ordered().unwrap_err();
            assert!(name.is_empty() || !error.chain().contains(name), "{error}");
        }
    }

    #[test]
    fn a_stack_beyond_all_bounds_is_refused_before_it_is_gone_over() {
        let many = |count: usize, replicas| {
            let name = |number| format!("s{number}");
            (0..count)
                .map(|number| service(&name(number), &[]).with_replicas(replicas))
                .collect::<Vec<_>>()
        };
        assert!(stack(many(1_000, 100)).ordered().is_ok());
        refuse(
            many(1_001, 1),
            "stack shop: 1001 services are more than the 1000 allowed",
        );
        refuse(
            many(20, 10_000),
            "stack shop: 200000 instances of all its services are more than the 100000 allowed",
        );
    }

    #[test]
    fn later_epochs_have_other_names() {
        let stack = stack(vec![service("web", &[])]);
        let slot = Slot::new(&stack.name, &stack.services[0], 2);
        assert_eq!(slot.instance_name(1).unwrap().as_str(), "shop-web-2");
        assert_eq!(slot.instance_name(3).unwrap().as_str(), "shop-web-2.3");
    }
}
