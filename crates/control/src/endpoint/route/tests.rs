use super::*;

#[track_caller]
fn check(method: Method, path: &str, expected: Option<Route>) {
    assert_eq!(Route::parse(&method, path), expected, "{method} {path}");
}

#[test]
fn names_may_hold_slashes() {
    let container = |op| Some(Route::Container("node-1/web".into(), op));
    check(
        Method::GET,
        "/containers/node-1/web/json",
        container(ContainerOp::Inspect),
    );
    check(
        Method::GET,
        "/containers/%2Fnode-1%2Fweb/json",
        container(ContainerOp::Inspect),
    );
    check(
        Method::DELETE,
        "/containers/node-1/web",
        container(ContainerOp::Remove),
    );
    check(
        Method::GET,
        "/containers/node-1/web/attach/ws",
        container(ContainerOp::AttachWebSocket),
    );
    check(
        Method::POST,
        "/images/host:5000/a/b/tag",
        Some(Route::Image("host:5000/a/b".into(), ImageOp::Tag)),
    );
}

#[test]
fn fixed_words_win_over_names() {
    check(Method::GET, "/containers/json", Some(Route::Containers));
    check(Method::GET, "/containers/ps", Some(Route::Containers));
    check(
        Method::POST,
        "/containers/create",
        Some(Route::ContainerCreate),
    );
    check(Method::GET, "/images/json", Some(Route::Images));
    check(
        Method::POST,
        "/volumes/prune",
        Some(Route::Prune(Kind::Volume)),
    );
    check(Method::HEAD, "/_ping", Some(Route::Ping));
}

#[test]
fn stacks_are_put_and_deleted_by_their_name() {
    let stack = |op| Some(Route::Stack("shop".into(), op));
    check(
        Method::PUT,
        "/longshore/v1/stacks/shop",
        stack(StackOp::Deploy),
    );
    check(
        Method::DELETE,
        "/longshore/v1/stacks/shop",
        stack(StackOp::Remove),
    );
    check(Method::POST, "/longshore/v1/stacks/shop", None);
    check(Method::PUT, "/longshore/v1/stacks/", None);
    check(Method::GET, "/longshore/v1/other", None);
}

#[test]
fn unknown_paths_and_methods_match_nothing() {
    check(Method::GET, "/containers", None);
    check(Method::GET, "/containers//json", None);
    check(Method::PUT, "/containers/a/start", None);
    check(Method::GET, "/services", None);
    check(Method::GET, "/exec/json", None);
    check(Method::GET, "/containers/%ff/json", None);
    check(Method::GET, "", None);
}

#[test]
fn getting_in_is_not_reading() {
    let action = |method: Method, path: &str| Route::parse(&method, path).unwrap().action();
    assert_eq!(
        action(Method::GET, "/containers/a/archive"),
        Some(Action::Enter)
    );
    assert_eq!(
        action(Method::POST, "/containers/a/attach"),
        Some(Action::Enter)
    );
    assert_eq!(action(Method::POST, "/exec/a/start"), Some(Action::Enter));
    assert_eq!(
        action(Method::GET, "/containers/a/logs"),
        Some(Action::Read)
    );
    assert_eq!(
        action(Method::POST, "/containers/a/stop"),
        Some(Action::Write)
    );
    assert_eq!(action(Method::GET, "/_ping"), None);
}
