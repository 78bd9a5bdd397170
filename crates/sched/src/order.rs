use std::collections::{HashMap, VecDeque, hash_map::Entry};

use longshore_core::{Error, Result, ServiceName};
use petgraph::{
    algo::tarjan_scc,
    graph::{DiGraph, NodeIndex},
};

/// The order in which the services of a stack can be started: each level depends on earlier levels
/// only, and all services of a level can be started at once. Within a level they stand as given.
///
/// Takes each service with those that it depends on.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput): a service is given twice,
/// depends on one that is not given, or on itself through others; a circle is told as its path.
///
/// ```
/// use longshore_sched::order;
///
/// let name = |text: &str| text.parse::<longshore_core::ServiceName>().unwrap();
/// let stack = [
///     (name("web"), vec![name("api")]),
///     (name("api"), vec![name("db"), name("cache")]),
///     (name("db"), vec![]),
///     (name("cache"), vec![]),
/// ];
/// let levels = order(&stack).unwrap();
/// assert_eq!(levels, [vec![name("db"), name("cache")], vec![name("api")], vec![name("web")]]);
/// ```
pub fn order(services: &[(ServiceName, Vec<ServiceName>)]) -> Result<Vec<Vec<ServiceName>>> {
    let graph = graph(services)?;
    if let Some(path) = circle(&graph) {
        return Err(Error::invalid(format!("circular dependency: {path}")));
    }
    Ok(levels(&graph))
}

/// Edges lead from a service to what it depends on; node indices follow the input.
type Graph<'s> = DiGraph<&'s ServiceName, ()>;

fn graph(services: &[(ServiceName, Vec<ServiceName>)]) -> Result<Graph<'_>> {
    let mut graph = Graph::with_capacity(services.len(), services.len());
    let mut by_name = HashMap::with_capacity(services.len());
    for (name, _) in services {
        if by_name.insert(name, graph.add_node(name)).is_some() {
            return Err(Error::invalid(format!("service {name} is declared twice")));
        }
    }
    for (name, needed) in services {
        for other in needed {
            let Some(target) = by_name.get(other) else {
                return Err(Error::invalid(format!(
                    "service {name} depends on {other}, which is not declared"
                )));
            };
            // A dependency that is written twice is one edge.
            graph.update_edge(by_name[name], *target, ());
        }
    }
    Ok(graph)
}

/// The shortest circle through the first service that is in one: `a -> b -> a`.
fn circle(graph: &Graph<'_>) -> Option<String> {
    let on_circle = |component: &Vec<NodeIndex>| {
        component.len() > 1
            || component
                .first()
                .is_some_and(|at| graph.contains_edge(*at, *at))
    };
    let components = tarjan_scc(graph);
    let start = *components
        .iter()
        .filter(|component| on_circle(component))
        .flatten()
        .min()?;
    let mut came_from: HashMap<NodeIndex, NodeIndex> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in successors(graph, at) {
            if next == start {
                let mut path = vec![at];
                while let Some(previous) = path.last().and_then(|at| came_from.get(at)) {
                    path.push(*previous);
                }
                path.reverse();
                return Some(write_path(graph, &path));
            }
            if let Entry::Vacant(new) = came_from.entry(next) {
                new.insert(at);
                queue.push_back(next);
            }
        }
    }
    None
}

/// In input order, whatever the order of insertion of the edges.
fn successors(graph: &Graph<'_>, at: NodeIndex) -> Vec<NodeIndex> {
    let mut successors: Vec<_> = graph.neighbors(at).collect();
    successors.sort_unstable();
    successors
}

fn write_path(graph: &Graph<'_>, path: &[NodeIndex]) -> String {
    let mut names: Vec<&str> = path.iter().map(|at| graph[*at].as_str()).collect();
    if names.len() > MAX_PATH {
        names.truncate(MAX_PATH);
        names.push("…");
    }
    names.extend(path.first().map(|start| graph[*start].as_str()));
    names.join(" -> ")
}

fn levels(graph: &Graph<'_>) -> Vec<Vec<ServiceName>> {
    use petgraph::Direction::Incoming;
    let mut waiting: Vec<usize> = graph
        .node_indices()
        .map(|at| graph.neighbors(at).count())
        .collect();
    let mut ready: Vec<NodeIndex> = graph
        .node_indices()
        .filter(|at| waiting[at.index()] == 0)
        .collect();
    let mut levels = Vec::new();
    while !ready.is_empty() {
        let mut next = Vec::new();
        for dependent in ready
            .iter()
            .flat_map(|at| graph.neighbors_directed(*at, Incoming))
        {
            waiting[dependent.index()] -= 1;
            if waiting[dependent.index()] == 0 {
                next.push(dependent);
            }
        }
        next.sort_unstable();
        levels.push(ready.iter().map(|at| graph[*at].clone()).collect());
        ready = next;
    }
    levels
}

/// How many services of a circle are named.
const MAX_PATH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(text: &str) -> Vec<(ServiceName, Vec<ServiceName>)> {
        text.split_whitespace()
            .map(|service| {
                let (name, needed) = service.split_once(':').unwrap();
                let needed = needed.split(',').filter(|name| !name.is_empty());
                (
                    name.parse().unwrap(),
                    needed.map(|name| name.parse().unwrap()).collect(),
                )
            })
            .collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let levels = order(&stack(text)).unwrap();
        let join = |level: &Vec<ServiceName>| {
            level
                .iter()
                .map(ServiceName::as_str)
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(
            levels.iter().map(join).collect::<Vec<_>>().join(" "),
            expected
        );
    }

    #[track_caller]
    fn refuse(text: &str, message: &str) {
        assert_eq!(order(&stack(text)).unwrap_err().to_string(), message);
    }

    #[test]
    fn levels_follow_the_longest_path() {
        check("", "");
        check("a: b: c:", "a,b,c");
        check("web:api,db api:db db:", "db api web");
        check("c:a,a a: b:a", "a c,b");
    }

    #[test]
    fn a_circle_is_told_as_its_path() {
        refuse("a:a", "circular dependency: a -> a");
        refuse("x:a a:b b:c c:a", "circular dependency: a -> b -> c -> a");
        // The shorter of two circles through the same service.
        refuse("a:b,d b:c c:a d:a", "circular dependency: a -> d -> a");
    }

    #[test]
    fn a_long_circle_is_cut_short() {
        let text: String = (0..5000)
            .map(|n| format!("s{n}:s{} ", (n + 1) % 5000))
            .collect();
        let message = order(&stack(&text)).unwrap_err().to_string();
        assert!(
            message.ends_with("-> s31 -> … -> s0") && message.len() < 400,
            "{message}"
        );
    }

    #[test]
    fn a_wrong_stack_is_named() {
        refuse("web:db", "service web depends on db, which is not declared");
        refuse("web: web:", "service web is declared twice");
    }
}
