//! A headless Chromium behind chromedriver. Absent or not: on a developer's machine a missing chromedriver skips the
//! test with a printed reason; under `CI=true` it fails.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::wait_until;

/// Time for chromedriver to say its port.
const START_MAX: Duration = Duration::from_secs(20);
/// Presses of Tab until something must have the focus.
const TABS_MAX: usize = 80;

/// A running chromedriver; killed when dropped.
pub struct Driver {
    _child: Child,
    url: String,
}

impl Driver {
    /// Starts chromedriver on a free port; `None` when it is not installed.
    pub async fn start() -> Option<Self> {
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(e) if std::env::var("CI").is_ok_and(|v| v == "true") => {
                panic!("chromedriver cannot be started: {e}; install the packages chromium and chromium-driver")
            }
            Err(e) => {
                eprintln!("skipped: chromedriver cannot be started: {e}; install the packages chromium and chromium-driver");
                return None;
            }
        };
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let port = tokio::time::timeout(START_MAX, async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                let port = line.split_once("on port ").map(|(_, rest)| rest.trim_end_matches('.').to_owned());
                if let Some(port) = port.filter(|p| line.contains("success") && p.parse::<u16>().is_ok()) {
                    return port;
                }
            }
            panic!("chromedriver ended before it said its port");
        })
        .await
        .expect("chromedriver says its port");
        // It goes on printing: somebody has to read.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Driver { _child: child, url: format!("http://127.0.0.1:{port}") })
    }

    /// A browser of `width`; phones are emulated, because windows have a least width.
    pub async fn browser(&self, width: u32, height: u32, phone: bool) -> Chromium {
        let profile = tempfile::tempdir().expect("a directory");
        let user_data = format!("--user-data-dir={}", profile.path().display());
        let size = format!("--window-size={width},{height}");
        let mut options = json!({"args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", user_data, size,
        ]});
        if phone {
            options["mobileEmulation"] = json!({"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2.0}});
        }
        let capabilities = json!({"acceptInsecureCerts": true, "goog:chromeOptions": options});
        let Value::Object(capabilities) = capabilities else { unreachable!("an object") };
        let client =
            ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&self.url).await.expect("a session");
        Chromium { client, _profile: profile }
    }
}

/// One browser.
pub struct Chromium {
    pub client: Client,
    _profile: tempfile::TempDir,
}

impl Chromium {
    pub async fn js(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.expect("a script that runs")
    }

    /// What has the focus: its accessible name, as far as it is plain.
    pub async fn focused(&self) -> String {
        let script = "const e = document.activeElement; if (!e) return ''; \
             return e.getAttribute('aria-label') || (e.labels && e.labels[0] ? e.labels[0].innerText : '') || e.innerText || e.name || '';";
        self.js(script).await.as_str().unwrap_or_default().trim().to_owned()
    }

    /// Presses a key where the focus is.
    pub async fn press(&self, key: char) {
        let focused = self.client.active_element().await.expect("something has the focus");
        focused.send_keys(&key.to_string()).await.expect("typed");
    }

    /// Types where the focus is.
    pub async fn type_text(&self, text: &str) {
        self.client.active_element().await.expect("something has the focus").send_keys(text).await.expect("typed");
    }

    /// Presses Tab until what has the focus begins with `name`.
    pub async fn tab_to(&self, name: &str) {
        let mut passed = Vec::new();
        for _ in 0..TABS_MAX {
            let focused = self.focused().await;
            if focused.starts_with(name) {
                let ring = self.js("return getComputedStyle(document.activeElement).outlineStyle").await;
                assert_eq!(ring, "solid", "the focus on {name} can be seen");
                return;
            }
            passed.push(focused);
            self.press(Key::Tab.into()).await;
        }
        panic!("the keyboard does not reach {name:?}; it passed {passed:?}");
    }

    pub async fn wait_for_text(&self, css: &str, text: &str) -> String {
        wait_until(&format!("{text:?} in {css}"), async || {
            let found = self.client.find(Locator::Css(css)).await.ok()?.text().await.ok()?;
            found.contains(text).then_some(found)
        })
        .await
    }

    /// Keeps a picture of the page, outside the repository.
    pub async fn keep_picture(&self, name: &str) {
        let home = || std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache/drydock/artefacts"));
        let dir = std::env::var_os("DRYDOCK_ARTEFACTS").map(PathBuf::from).or_else(home).unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&dir).expect("a directory for pictures");
        let png = self.client.screenshot().await.expect("a picture");
        assert!(png.starts_with(b"\x89PNG"), "a picture");
        let path = dir.join(format!("console-{name}.png"));
        std::fs::write(&path, png).expect("written");
        println!("picture: {}", path.display());
    }

    /// Nothing is wider than the screen, and nothing went wrong in the page's script.
    pub async fn assert_fits(&self, what: &str) {
        let over = self.js("return document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(over.as_i64().is_some_and(|px| px <= 0), "{what} is {over} px wider than the screen");
    }
}
