//! What the live suites share: started once, and told to the tests by their environment.
//!
//! nextest gives each test a process of its own, and a ZooKeeper takes seconds to start.

use longshore_lab::{Lab, Store, StoreKind, StoreSpec};

use crate::workspace;

/// A Docker engine with an image, a store of each kind, and the program for exec sessions.
pub(super) struct Servers {
    lab: Option<Lab>,
    /// Running until this is dropped.
    _stores: Vec<Store>,
    environment: Vec<(String, String)>,
}

impl Servers {
    /// Starts what this machine has the programs for. The suites say themselves what they miss.
    ///
    /// # Errors
    /// When something does not start that should.
    pub(super) fn start() -> Result<Self, String> {
        let (mut stores, mut environment) = (Vec::new(), Vec::new());
        for (kind, members) in STORES {
            if kind.available().is_ok() {
                let store = Store::start(kind, members, &StoreSpec::default())
                    .map_err(|error| format!("{} did not start: {error}", kind.as_str()))?;
                environment.push(store.shared_as());
                stores.push(store);
            }
        }
        let lab = Lab::builder().hosts(1).start_or_skip("live Docker engine");
        if let Some(lab) = &lab {
            lab.import_busybox(IMAGE)
                .and_then(|()| lab.import_bash(BASH_IMAGE))
                .map_err(|error| error.to_string())?;
            let stub = longshore_lab::build_stub(&workspace::root())?;
            let variables = [
                ("LONGSHORE_TEST_DOCKER", lab.host(0).docker_host()),
                ("LONGSHORE_TEST_IMAGE", IMAGE.to_owned()),
                ("LONGSHORE_TEST_BASH_IMAGE", BASH_IMAGE.to_owned()),
                (longshore_lab::STUB, stub.display().to_string()),
            ];
            environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(Self {
            lab,
            _stores: stores,
            environment,
        })
    }

    /// What tests find in their environment.
    pub(super) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Ends them.
    ///
    /// # Errors
    /// When something is left of the engine.
    pub(super) fn stop(self) -> Result<(), String> {
        self.lab
            .map_or(Ok(()), Lab::stop)
            .map_err(|error| error.to_string())
    }
}

/// As the suites ask for them.
const STORES: [(StoreKind, usize); 4] = [
    (StoreKind::Etcd, 1),
    (StoreKind::Etcd, 3),
    (StoreKind::Consul, 1),
    (StoreKind::ZooKeeper, 1),
];

const IMAGE: &str = "busybox:lab";
const BASH_IMAGE: &str = "bash:lab";
