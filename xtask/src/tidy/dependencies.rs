//! Who may depend on whom: facade → the eight → core, and no two of the eight
//! know each other.

use serde_json::Value;

use super::Problem;

/// Every dependency that points the wrong way.
pub(crate) fn check(metadata: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in array(&metadata["packages"]) {
        let name = string(&package["name"]);
        for dependency in array(&package["dependencies"]) {
            let on = string(&dependency["name"]);
            let development = dependency["kind"] == "dev";
            if ours(on) && !may_depend(name, on, development) {
                let kind = if development {
                    "a development dependency"
                } else {
                    "a dependency"
                };
                let message = format!(
                    "{name} has {kind} on {on}: facade → {{{}}} → core; take an `Arc<dyn Trait>` \
                     from core instead",
                    EIGHT.join(", ")
                );
                problems.push(Problem::new(&manifest(name), 0, message));
            }
        }
    }
    problems
}

/// The packages that are not published.
pub(crate) fn unpublished(metadata: &Value) -> Vec<String> {
    let packages = array(&metadata["packages"]);
    let kept = packages.filter(|package| package["publish"].as_array().is_some_and(Vec::is_empty));
    kept.map(|package| string(&package["name"]).to_owned())
        .collect()
}

fn may_depend(name: &str, on: &str, development: bool) -> bool {
    // The harness knows none of our crates, so a test of any crate may use it.
    if on == LAB {
        return development || name == "xtask";
    }
    match name {
        "longshore" => on != "xtask",
        "longshore-core" | LAB | "xtask" => false,
        // The protocol of the program it puts into containers.
        "longshore-exec" => on == "longshore-core" || on == "longshore-exec-stub",
        "longshore-exec-stub" => false,
        _ => on == "longshore-core",
    }
}

fn ours(name: &str) -> bool {
    name == "longshore" || name == "xtask" || name.starts_with("longshore-")
}

fn manifest(name: &str) -> String {
    match name {
        "longshore" => "Cargo.toml".to_owned(),
        LAB => "tests/lab/Cargo.toml".to_owned(),
        "xtask" => "xtask/Cargo.toml".to_owned(),
        _ => format!(
            "crates/{}/Cargo.toml",
            name.trim_start_matches("longshore-")
        ),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const LAB: &str = "longshore-lab";

const EIGHT: &[&str] = &[
    "discovery",
    "sched",
    "tunnel",
    "exec",
    "net",
    "engine",
    "control",
    "agent",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(name: &str, on: &str, kind: Option<&str>) -> usize {
        let dependency = json!({ "name": on, "kind": kind });
        check(&json!({ "packages": [{ "name": name, "dependencies": [dependency] }] })).len()
    }

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        assert_eq!(found("longshore-sched", "longshore-engine", None), 1);
        assert_eq!(found("longshore-sched", "longshore-engine", Some("dev")), 1);
        assert_eq!(found("longshore-core", "longshore-sched", Some("build")), 1);
        assert_eq!(found("longshore-agent", "longshore", Some("dev")), 1);
        assert_eq!(found("longshore-agent", "longshore-lab", None), 1);
    }

    #[test]
    fn a_dependency_in_the_direction_is_fine() {
        assert_eq!(found("longshore", "longshore-engine", None), 0);
        assert_eq!(found("longshore-engine", "longshore-core", None), 0);
        assert_eq!(found("longshore-engine", "longshore-lab", Some("dev")), 0);
        assert_eq!(found("longshore-engine", "serde", None), 0);
        assert_eq!(found("xtask", "longshore-lab", None), 0);
    }

    #[test]
    fn packages_that_are_not_published_are_named() {
        let metadata = json!({ "packages": [
            { "name": "a", "publish": [] }, { "name": "b", "publish": null },
        ] });
        assert_eq!(unpublished(&metadata), ["a"]);
    }
}
