//! Helper containers in which lifelines live, as an engine makes, attaches and starts them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use longshore_core::{OutputKind, Signal};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    task::AbortHandle,
};

use super::{Daemon, Request, answer, framed, refusal, switch};

/// The helpers that there are, and what goes wrong with them.
#[derive(Default)]
pub(crate) struct Helpers {
    /// Images that the engine has.
    pub(crate) images: Mutex<Vec<String>>,
    pub(crate) fault: Mutex<Fault>,
    /// Containers that do not run.
    stopped: Mutex<Vec<String>>,
    there: Mutex<BTreeMap<String, Helper>>,
    /// What was removed without being asked whether it runs.
    pub(crate) forced: Mutex<Vec<String>>,
}

/// What the engine does wrong, or does not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    Nothing,
    /// It makes a helper so many seconds after it was asked, and never says so.
    SilentCreation(u64),
    RefusesAttach,
    RefusesStart,
    /// What runs in it says nothing.
    SilentShell,
    /// It is stopped behind its first word.
    StoppedShell,
    /// It takes so many seconds to remove one.
    SlowRemoval(u64),
}

/// One that was made.
struct Helper {
    config: Value,
    /// In seconds since 1970.
    made: Option<i64>,
    attached: Option<DuplexStream>,
    runs: Option<AbortHandle>,
}

impl Helpers {
    /// What is there was made of.
    pub(crate) fn configs(&self) -> Vec<Value> {
        self.there()
            .values()
            .map(|helper| helper.config.clone())
            .collect()
    }

    /// One that nobody started.
    pub(crate) fn leave(&self, name: &str, labels: Value, made: Option<i64>) {
        let helper = Helper {
            config: json!({ "Labels": labels }),
            made,
            attached: None,
            runs: None,
        };
        self.there().insert(name.to_owned(), helper);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.there().keys().cloned().collect()
    }

    pub(super) fn is_stopped(&self, id: &str) -> bool {
        self.stopped.lock().unwrap().iter().any(|one| one == id)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.there().contains_key(name)
    }

    fn there(&self) -> MutexGuard<'_, BTreeMap<String, Helper>> {
        self.there.lock().unwrap()
    }

    fn runs(&self, name: &str) -> bool {
        let there = self.there();
        there.get(name).is_some_and(|helper| helper.runs.is_some())
    }

    fn has_fault(&self, fault: Fault) -> bool {
        *self.fault.lock().unwrap() == fault
    }

    /// Whether it was there.
    fn remove(&self, name: &str) -> bool {
        let removed = self.there().remove(name);
        let runs = removed.as_ref().and_then(|helper| helper.runs.as_ref());
        runs.inspect(|runs| runs.abort());
        removed.is_some()
    }

    fn at_rest(&self) -> Value {
        let there = self.there();
        let at_rest = there.iter().filter(|(_, helper)| helper.runs.is_none());
        let told = at_rest.map(|(name, helper)| {
            let mut told = json!({
                "Id": name,
                "Names": [format!("/{name}")],
                "State": "created",
                "Labels": helper.config["Labels"],
            });
            if let Some(made) = helper.made {
                told["Created"] = json!(made);
            }
            told
        });
        told.collect()
    }
}

impl Daemon {
    /// Answers what is about helpers and containers that do not run; `None` to the rest.
    pub(super) async fn about_helpers(
        self: &Arc<Self>,
        request: &Request,
        parts: &[&str],
    ) -> Option<(&'static str, Value)> {
        let helpers = &self.helpers;
        let labels = &request.body["Labels"];
        Some(match (request.method.as_str(), parts) {
            ("POST", ["containers", "create"]) if labels["longshore.exec"] == "lifeline" => {
                self.make(&request.query["name"], &request.body).await
            }
            ("POST", ["containers", name, "start"]) if helpers.has(name) => self.run(name),
            ("DELETE", ["containers", name])
                if helpers.has(name) || name.contains("-lifeline-") =>
            {
                let fault = *helpers.fault.lock().unwrap();
                if let Fault::SlowRemoval(seconds) = fault {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                }
                if request.query.contains_key("force") {
                    helpers.forced.lock().unwrap().push((*name).to_owned());
                } else if helpers.runs(name) {
                    return Some(("409 Conflict", refusal("stop it first")));
                }
                match helpers.remove(name) {
                    true => ("204 No Content", Value::Null),
                    false => ("404 Not Found", refusal("No such container")),
                }
            }
            ("GET", ["containers", "json"]) if request.query.contains_key("filters") => {
                ("200 OK", helpers.at_rest())
            }
            ("GET", ["info"]) => ("200 OK", json!({ "SystemTime": NOW })),
            (_, ["containers", id, "top" | "exec"]) if helpers.is_stopped(id) => {
                let text = format!("Container {id} is not running");
                ("409 Conflict", refusal(&text))
            }
            _ => return None,
        })
    }

    async fn make(self: &Arc<Self>, name: &str, config: &Value) -> (&'static str, Value) {
        let image = config["Image"].as_str().unwrap();
        if !self
            .helpers
            .images
            .lock()
            .unwrap()
            .iter()
            .any(|one| one == image)
        {
            let text = format!("No such image: {image}:latest");
            return ("404 Not Found", refusal(&text));
        }
        let fault = *self.helpers.fault.lock().unwrap();
        if let Fault::SilentCreation(seconds) = fault {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        let helper = Helper {
            config: config.clone(),
            made: Some(0),
            attached: None,
            runs: None,
        };
        self.helpers.there().insert(name.to_owned(), helper);
        if matches!(fault, Fault::SilentCreation(_)) {
            std::future::pending::<()>().await;
        }
        ("201 Created", json!({ "Id": name }))
    }

    pub(super) async fn attach_helper(self: &Arc<Self>, mut stream: DuplexStream, name: &str) {
        if self.helpers.has_fault(Fault::RefusesAttach) {
            return answer(&mut stream, "501 Not Implemented", &refusal("no attach")).await;
        }
        switch(&mut stream).await;
        if let Some(helper) = self.helpers.there().get_mut(name) {
            helper.attached = Some(stream);
        }
    }

    fn run(self: &Arc<Self>, name: &str) -> (&'static str, Value) {
        let mut there = self.helpers.there();
        let helper = there.get_mut(name).unwrap();
        let mode = helper.config["HostConfig"]["PidMode"].as_str().unwrap();
        let beside = mode.strip_prefix("container:").unwrap();
        if self.helpers.is_stopped(beside) || self.helpers.has_fault(Fault::RefusesStart) {
            let text = "cannot join PID of a non running container";
            return ("500 Internal Server Error", refusal(text));
        }
        let words = &helper.config["Entrypoint"];
        assert_eq!(words[3], "longshore-lifeline", "{words}");
        let group = words[4].as_str().unwrap().to_owned();
        // What is said before anybody is attached is lost.
        let mut stream = helper.attached.take().expect("attached before the start");
        let (daemon, name) = (Arc::clone(self), name.to_owned());
        let [silent, stopped] =
            [Fault::SilentShell, Fault::StoppedShell].map(|fault| self.helpers.has_fault(fault));
        let running = tokio::spawn(async move {
            if stopped {
                let word = framed(OutputKind::Stdout, b"ready\n", false);
                stream.write_all(&word).await.unwrap();
            }
            if silent || stopped {
                std::future::pending::<()>().await;
            }
            if !daemon.watch_over(&mut stream).await {
                daemon.clean_up(&group).await;
            }
            // As it was told to (`AutoRemove`).
            daemon.helpers.there().remove(&name);
        });
        helper.runs = Some(running.abort_handle());
        ("204 No Content", Value::Null)
    }

    /// The container stops, and with it all that runs in its process namespace.
    pub(crate) async fn stop(&self, id: &str) {
        self.helpers.stopped.lock().unwrap().push(id.to_owned());
        let mode = format!("container:{id}");
        let beside = |helper: &Helper| helper.config["HostConfig"]["PidMode"] == mode;
        let names: Vec<String> = {
            let there = self.helpers.there();
            let gone = there
                .iter()
                .filter(|(_, helper)| beside(helper) && helper.runs.is_some());
            gone.map(|(name, _)| name.clone()).collect()
        };
        for name in names {
            self.helpers.remove(&name);
        }
        for session in self.sessions() {
            let _ = session.signal(Signal::KILL).await;
        }
    }
}

/// The engine's clock.
pub(crate) const NOW: &str = "2026-01-01T00:00:00Z";
