use longshore_exec::session::SessionEnd;

use crate::{browser::Browser, relay::Relay, server::Server};

const STATE: &str = "document.body.dataset.state";
const STATE_TEXT: &str = "document.getElementById('state-text').textContent";
const SCREEN: &str =
    "[...document.querySelectorAll('.xterm-rows > div')].map(row => row.textContent).join('\\n')";

/// A page on a server behind a relay; without a browser the test says that it was skipped.
async fn page(test: &str, query: &str) -> Option<(Server, Relay, Browser)> {
    let server = match Server::start().await {
        Ok(server) => server,
        Err(error) => {
            println!("SKIPPED {test}: {error}");
            return None;
        }
    };
    let relay = Relay::start(server.address).await;
    let url = format!("http://{}/terminal{query}", relay.address);
    let Some(browser) = Browser::open(&url).await else {
        println!("SKIPPED {test}: there is no chromium (apt-get install chromium)");
        return None;
    };
    Some((server, relay, browser))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_works_in_it_through_a_cut_connection() {
    let Some((server, relay, mut browser)) =
        page("web terminal", "?target=web&command=shell").await
    else {
        return;
    };
    browser.wait_for("document.activeElement.id", "token").await;
    browser.screenshot("1-form").await;
    browser.type_text("a secret token\n").await;
    browser.wait_for(STATE, "live").await;
    browser.wait_for(SCREEN, "web:/srv$").await;
    browser.wait_for("document.title", "web: shell").await;
    let screen = browser.evaluate(SCREEN).await.to_string();
    assert!(
        screen.contains("日本語 한국어 中文 😀🚢 e\u{301}"),
        "{screen}"
    );
    browser
        .type_text("echo typed: 漢字 😀\ncolours\nsize\n")
        .await;
    let screen = browser.wait_for(SCREEN, "columns, ").await;
    assert_eq!(
        screen.matches("typed: 漢字 😀").count(),
        2,
        "typed and echoed: {screen}"
    );
    assert!(
        !screen.contains("80 columns"),
        "the size is the window's: {screen}"
    );
    browser.screenshot("2-live").await;

    relay.close();
    browser.wait_for(STATE, "reconnecting").await;
    browser.screenshot("3-reconnecting").await;
    // Typed while away: kept, and sent once.
    browser.type_text("echo while away\n").await;
    relay.open();
    browser.wait_for(STATE, "live").await;
    let screen = browser
        .wait_for(SCREEN, "echo while away\nwhile away")
        .await;
    assert_eq!(screen.matches("while away").count(), 2, "{screen}");

    browser.type_text("exit 7\n").await;
    browser.wait_for(STATE, "ended").await;
    let text = browser.wait_for(STATE_TEXT, "exit code 7").await;
    assert_eq!(text, "ended, exit code 7");
    browser.screenshot("4-ended").await;
    // Nothing went wrong on the way but the lost connection.
    let unexpected = browser
        .complaints
        .iter()
        .filter(|text| !text.contains("ERR_EMPTY_RESPONSE") && !text.contains("WebSocket"));
    assert_eq!(unexpected.collect::<Vec<_>>(), Vec::<&String>::new());
    let kept = browser.evaluate("location.href + document.cookie + JSON.stringify({...localStorage, ...sessionStorage}) + document.documentElement.outerHTML").await;
    assert!(
        !kept.to_string().contains("secret token"),
        "the token is nowhere"
    );
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_stays_in_order_and_leaves_the_page_alive() {
    let Some((_server, _relay, mut browser)) =
        page("web terminal under a flood", "?target=web&command=shell").await
    else {
        return;
    };
    browser.wait_for("document.activeElement.id", "token").await;
    browser.type_text("\n").await;
    browser.wait_for(SCREEN, "web:/srv$").await;
    browser.type_text("flood 20000\necho all of it\n").await;
    let screen = browser.wait_for(SCREEN, "\nall of it").await;
    for line in 19_990..20_000 {
        assert!(screen.contains(&format!("line {line} 漢字 🚢")), "{screen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_and_coming_back_and_being_sent_away_are_told() {
    let Some((server, _relay, mut browser)) =
        page("web terminal detached", "?target=web&command=shell").await
    else {
        return;
    };
    browser.wait_for("document.activeElement.id", "token").await;
    browser.type_text("\n").await;
    browser.wait_for(SCREEN, "web:/srv$").await;
    browser.click("#detach").await;
    browser.wait_for(STATE, "detached").await;
    let held = server.hub.sessions();
    assert_eq!(held.len(), 1, "it goes on");
    browser.click("#again").await;
    browser.wait_for(STATE, "live").await;
    browser.type_text("echo back\n").await;
    browser.wait_for(SCREEN, "\nback").await;
    let end = SessionEnd::new(longshore_exec::session::EndReason::EndedByOperator);
    server
        .hub
        .end(&held[0].session, end.with_text("maintenance"))
        .unwrap();
    let text = browser.wait_for(STATE_TEXT, "maintenance").await;
    assert!(text.starts_with("ended by a person"), "{text}");
    browser.click("#new").await;
    browser
        .evaluate("document.getElementById('target').value = 'nothing'")
        .await;
    browser.type_text("\n").await;
    browser.wait_for(STATE, "failed").await;
    browser.wait_for(STATE_TEXT, "could not start").await;
    browser.screenshot("5-failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reloaded_page_comes_back_to_its_session() {
    let Some((server, _relay, mut browser)) =
        page("web terminal reloaded", "?target=web&command=shell").await
    else {
        return;
    };
    browser.wait_for("document.activeElement.id", "token").await;
    browser.type_text("a secret token\n").await;
    browser.wait_for(SCREEN, "web:/srv$").await;
    browser.type_text("echo before 漢字\n").await;
    let seen = browser.wait_for(SCREEN, "\nbefore 漢字\nweb:/srv$").await;
    let held = server.hub.sessions()[0].session.clone();
    let kept = "JSON.stringify({...localStorage, ...sessionStorage})";
    let stored = browser.evaluate(kept).await.to_string();
    assert!(!stored.contains("secret token"), "{stored}");
    for round in 0..2 {
        browser
            .evaluate("window.old = 'old'; setTimeout(() => location.reload(), 50)")
            .await;
        browser.wait_for("window.old ?? 'new'", "new").await;
        browser.wait_for(STATE, "live").await;
        let screen = browser.wait_for(SCREEN, "\nbefore 漢字\n").await;
        if round == 0 {
            assert_eq!(screen, seen, "the screen as it was");
        }
        browser.type_text(&format!("echo after {round}\n")).await;
        browser
            .wait_for(SCREEN, &format!("\nafter {round}\n"))
            .await;
        let sessions = server.hub.sessions();
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].session, held);
    }
    browser.screenshot("7-reloaded").await;
    browser.type_text("exit 0\n").await;
    browser.wait_for(STATE, "ended").await;
    assert_eq!(browser.evaluate("sessionStorage.length").await, 0);
    browser
        .evaluate("window.old = 'old'; setTimeout(() => location.reload(), 50)")
        .await;
    browser.wait_for("window.old ?? 'new'", "new").await;
    browser.wait_for("document.activeElement.id", "token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_prints_runs_no_script_and_other_sites_stay_out() {
    let Some((server, _relay, mut browser)) =
        page("web terminal's policy", "?target=web&command=shell").await
    else {
        return;
    };
    browser.wait_for("document.activeElement.id", "token").await;
    browser.evaluate("const injected = document.createElement('script'); injected.textContent = 'window.ran = true'; document.body.append(injected)").await;
    assert!(browser.evaluate("window.ran ?? null").await.is_null());
    let made = "(() => { try { return String(new Function('return 1')()) } catch (error) { return error.name } })()";
    assert_eq!(browser.evaluate(made).await, "EvalError");
    // `localhost` is another site than the address that the page came from.
    let socket = format!(
        "window.said = 'nothing'; const socket = new WebSocket('ws://localhost:{}/v1/exec'); socket.onerror = () => window.said = 'refused'; socket.onopen = () => window.said = 'open'",
        server.address.port()
    );
    browser
        .evaluate(&format!(
            "try {{ {socket} }} catch {{ window.said = 'refused' }}"
        ))
        .await;
    browser.wait_for("window.said", "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_window_looks_on_and_sees_the_same_screen() {
    let Some((server, relay, mut browser)) =
        page("web terminal watched", "?target=web&command=shell").await
    else {
        return;
    };
    browser.wait_for("document.activeElement.id", "token").await;
    browser.type_text("\n").await;
    browser.wait_for(SCREEN, "web:/srv$").await;
    browser
        .type_text("flood 300\ncolours\necho 漢字 e\u{301} 😀\n")
        .await;
    let seen = browser
        .wait_for(SCREEN, "\n漢字 e\u{301} 😀\nweb:/srv$")
        .await;
    let session = server.hub.sessions()[0].session.to_string();
    let url = format!("http://{}/terminal/?target={session}", relay.address);
    let mut second = Browser::open(&url).await.unwrap();
    second.wait_for("document.activeElement.id", "token").await;
    second.click("#watch").await;
    second
        .evaluate("document.getElementById('form').requestSubmit()")
        .await;
    second.wait_for(STATE_TEXT, "watching, read-only").await;
    second.wait_for(SCREEN, "😀\nweb:/srv$").await;
    let shown = second.evaluate(SCREEN).await;
    assert_eq!(
        shown.as_str().unwrap().replace('\u{a0}', " "),
        seen.replace('\u{a0}', " ")
    );
    second.screenshot("6-watching").await;
    browser.type_text("echo both\n").await;
    second.wait_for(SCREEN, "\nboth").await;
    second.type_text("echo no\n").await;
    browser.type_text("echo end\n").await;
    let screen = browser.wait_for(SCREEN, "\nend").await;
    assert!(!screen.contains("echo no"), "{screen}");
}

const PEOPLE: &str = "document.getElementById('people').textContent";
const PANEL: &str =
    "[...document.querySelectorAll('#panel li')].map(row => row.textContent).join('\\n')";
const TAKE: &str = "String(document.getElementById('take').hidden)";

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_lent_to_a_second_window_and_taken_back() {
    let Some((server, relay, mut browser)) =
        page("web terminal lent", "?target=web&command=shell").await
    else {
        return;
    };
    browser.wait_for("document.activeElement.id", "token").await;
    browser.type_text("ann\n").await;
    browser.wait_for(SCREEN, "web:/srv$").await;
    let alone = "String(document.getElementById('people').hidden)";
    assert_eq!(browser.evaluate(alone).await, "true");
    let session = server.hub.sessions()[0].session.to_string();
    let url = format!("http://{}/terminal/?target={session}", relay.address);
    let mut second = Browser::open(&url).await.unwrap();
    second.wait_for("document.activeElement.id", "token").await;
    second.click("#watch").await;
    let approve = "String(document.getElementById('approve-label').hidden)";
    assert_eq!(second.evaluate(approve).await, "false");
    second.click("#approve").await;
    second
        .evaluate("document.getElementById('token').value = 'bob'; document.getElementById('form').requestSubmit()")
        .await;
    second
        .wait_for(STATE_TEXT, "watching, read-only: ask ann for the keyboard")
        .await;
    second.wait_for(SCREEN, "web:/srv$").await;
    second.type_text("echo no\n").await;

    browser.wait_for(PEOPLE, "1 other here").await;
    browser.click("#people").await;
    let panel = browser.wait_for(PANEL, "bob").await;
    assert_eq!(panel, "ann (you)types, owner\nboblooks onLet type");
    browser.screenshot("8-people").await;
    browser.click("#panel button").await;
    browser
        .wait_for(STATE_TEXT, "read-only: bob has the keyboard")
        .await;
    second.wait_for(STATE_TEXT, "you have the keyboard").await;
    assert_eq!(browser.evaluate(TAKE).await, "false");
    browser.screenshot("9-lent").await;
    browser.type_text("echo nor this\n").await;
    second
        .evaluate("document.querySelector('.xterm-helper-textarea').focus()")
        .await;
    second.type_text("echo from bob\n").await;
    browser.wait_for(SCREEN, "\nfrom bob").await;
    second.screenshot("10-has-the-keyboard").await;

    browser.click("#take").await;
    browser.wait_for(STATE_TEXT, "connected").await;
    second.wait_for(STATE_TEXT, "watching, read-only").await;
    assert_eq!(browser.evaluate(TAKE).await, "true");
    second.type_text("echo again no\n").await;
    browser.type_text("echo from ann\n").await;
    second.wait_for(SCREEN, "\nfrom ann").await;
    let screen = browser.evaluate(SCREEN).await.to_string();
    for text in ["echo no", "nor this", "again no"] {
        assert!(!screen.contains(text), "{text}: {screen}");
    }
    // Whoever goes away with it gives it back.
    browser.click("#panel button").await;
    second.wait_for(STATE_TEXT, "you have the keyboard").await;
    drop(second);
    browser.wait_for(STATE_TEXT, "connected").await;
    browser.wait_for(alone, "true").await;
    assert_eq!(
        browser
            .evaluate("String(document.getElementById('panel').hidden)")
            .await,
        "true"
    );
}
