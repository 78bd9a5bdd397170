use std::{
    collections::VecDeque,
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{SinkExt, StreamExt};
use longshore_core::{ClockExt, SystemClock};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// A headless Chromium, driven by the DevTools protocol. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    socket: WebSocketStream<TcpStream>,
    session: String,
    next: u64,
    /// What the page said on its console, and exceptions.
    pub(crate) complaints: VecDeque<String>,
    process: Child,
    profile: PathBuf,
}

impl Browser {
    /// Opens a page; `None`: there is no browser.
    pub(crate) async fn open(url: &str) -> Option<Self> {
        let program = ["chromium", "chromium-browser", "google-chrome"];
        let program = program.into_iter().find_map(find)?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let profile = format!("longshore-web-{}-{number}", std::process::id());
        let profile = env::temp_dir().join(profile);
        let mut process = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-extensions",
            ])
            .args([
                "--window-size=1000,640",
                "--remote-debugging-port=0",
                "--lang=en",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = within(async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = line.strip_prefix("DevTools listening on ") {
                    return address.to_owned();
                }
                said.push(line);
            }
            panic!("the browser did not start: {said:?}");
        })
        .await;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let place = address
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next());
        let stream = TcpStream::connect(place.unwrap()).await.unwrap();
        let (socket, _) = client_async(address, stream).await.unwrap();
        let mut browser = Self {
            socket,
            session: String::new(),
            next: 0,
            complaints: VecDeque::new(),
            process,
            profile,
        };
        let target = browser
            .call("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser.call("Page.navigate", json!({ "url": url })).await;
        browser
            .wait_for("document.readyState + location.protocol", "completehttp:")
            .await;
        Some(browser)
    }

    /// The value of an expression.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression)
            .await
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Fails while another page takes this one's place.
    async fn try_evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        // As the page's own scripts: its policy holds for what is evaluated, too.
        let arguments = json!({
            "expression": expression,
            "returnByValue": true,
            "allowUnsafeEvalBlockedByCSP": false,
        });
        let answer = self.try_call("Runtime.evaluate", arguments).await?;
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression gives a text with this in it, and gives the text.
    pub(crate) async fn wait_for(&mut self, expression: &str, part: &str) -> String {
        let mut last = String::new();
        let clock = SystemClock::new();
        for _ in 0..300 {
            let value = match self.try_evaluate(expression).await {
                Ok(value) => value,
                Err(error) => {
                    let message = error["message"].as_str().unwrap_or_default();
                    assert!(
                        message.contains("navigated") || message.contains("context"),
                        "{expression}: {error}"
                    );
                    Value::Null
                }
            };
            last = value.as_str().unwrap_or_default().to_owned();
            if last.contains(part) {
                return last;
            }
            clock.sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "{expression} gives {last:?}, without {part:?}; complaints: {:?}",
            self.complaints
        );
    }

    /// Types as a keyboard would; `\n` is the Enter key.
    pub(crate) async fn type_text(&mut self, text: &str) {
        for part in text.split_inclusive('\n') {
            let line = part.trim_end_matches('\n');
            self.call("Input.insertText", json!({ "text": line })).await;
            if part.ends_with('\n') {
                for kind in ["keyDown", "keyUp"] {
                    let key = json!({ "type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13 });
                    self.call("Input.dispatchKeyEvent", key).await;
                }
            }
        }
    }

    pub(crate) async fn click(&mut self, selector: &str) {
        self.evaluate(&format!("document.querySelector({selector:?}).click()"))
            .await;
    }

    /// Keeps a picture of the page below `target/`.
    pub(crate) async fn screenshot(&mut self, name: &str) {
        let picture = self
            .call("Page.captureScreenshot", json!({ "format": "png" }))
            .await;
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("web-terminal");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    pub(crate) async fn call(&mut self, method: &str, arguments: Value) -> Value {
        self.try_call(method, arguments)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_call(&mut self, method: &str, arguments: Value) -> Result<Value, Value> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": arguments });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
        loop {
            let next = within(self.socket.next()).await;
            let Message::Text(text) = next.unwrap().unwrap() else {
                continue;
            };
            let value: Value = serde_json::from_str(&text).unwrap();
            if value["id"] == json!(id) {
                return match &value["error"] {
                    Value::Null => Ok(value["result"].clone()),
                    error => Err(error.clone()),
                };
            }
            if matches!(
                value["method"].as_str(),
                Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded")
            ) {
                self.complaints.push_back(value["params"].to_string());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers are in its process group, which is ours to end.
        if let Some(id) = self.process.id() {
            let _ = std::process::Command::new("kill")
                .args(["-KILL", "--", &format!("-{id}")])
                .status();
        }
        let _ = fs::remove_dir_all(&self.profile);
    }
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

async fn within<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let limit = Duration::from_secs(60);
    SystemClock::new()
        .timeout(limit, "the browser", future)
        .await
        .unwrap()
}
