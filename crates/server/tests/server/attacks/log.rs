//! The log at its most talkative, after secrets of every kind went in and out: it holds none of them.

use serde_json::json;

use crate::daemon::{Daemon, init};
use crate::support::{Agent, Person, answer, wait_until};

/// A text that occurs nowhere else.
fn marked(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::now_v7().simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_the_log_however_much_it_tells() {
    let dir = tempfile::tempdir().expect("a directory");
    let (token, _) = init(dir.path());
    let config = dir.path().join("drydockd.toml");
    let text = std::fs::read_to_string(&config).expect("there").replace("#= level = \"info\"", "level = \"trace\"");
    assert!(text.contains("level = \"trace\""), "{text}");
    std::fs::write(&config, text).expect("written");
    let daemon = Daemon::serve(dir.path());
    let ca_pem = std::fs::read_to_string(dir.path().join("data/ca.pem")).expect("there");
    let admin = Person::new(daemon.addr, &ca_pem, &token);
    wait_until("ready", async || {
        admin.client.get(format!("{}/readyz", admin.base)).send().await.ok().filter(|r| r.status() == 200)
    })
    .await;
    let mut secrets: Vec<(&str, String)> = vec![("the first token", token.clone())];
    let mut keep = |what, secret: &str| secrets.push((what, secret.to_owned()));

    // Tokens that are made, used, wrong; over both versions of HTTP.
    let made = admin.post("/access-tokens", json!({"name": "t", "role": "viewer"})).await;
    let second = made.body["secret"].as_str().expect("a secret").to_owned();
    keep("a token", &second);
    let wrong = format!("ddt_{}", marked("wrong"));
    keep("a wrong token", &wrong);
    for shown in [&second, &wrong] {
        let person = Person { token: shown.clone(), ..admin.clone() };
        person.get("/instances").await;
        let basic =
            admin.client.get(format!("{}/api/v1/instances", admin.base)).header("authorization", format!("Basic {shown}"));
        answer(basic).await;
    }
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("a certificate");
    let old = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().http1_only().build().expect("a client");
    let cookie = marked("cookie");
    keep("a cookie", &cookie);
    let page = old.get(format!("{}/instances", admin.base)).header("cookie", format!("__Host-drydock-session={cookie}"));
    answer(page.bearer_auth(&token)).await;

    // The console: the token in a form, the session that comes of it.
    let form = old.get(format!("{}/sign-in", admin.base)).send().await.expect("the form");
    let form_cookie = form.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie").to_owned();
    let html = form.text().await.expect("text");
    let csrf = html.split(r#"name="csrf" value=""#).nth(1).and_then(|r| r.split('"').next()).expect("a form").to_owned();
    keep("a form's token", &csrf);
    let body = format!("csrf={csrf}&token={token}&next=/");
    let signed = old.post(format!("{}/sign-in", admin.base)).header("cookie", &form_cookie).body(body);
    let signed = signed.header("content-type", "application/x-www-form-urlencoded").send().await.expect("an answer");
    for set in signed.headers().get_all("set-cookie") {
        let value = set.to_str().expect("text").split(';').next().and_then(|c| c.split_once('=')).map_or("", |c| c.1);
        if value.len() >= 16 {
            keep("a session", value);
        }
    }

    // Hosts: the token they enrol with, their keys; secrets of policies; what a script is called with.
    let profile = admin.post("/enrolment-profiles", json!({"displayName": "t", "autoAccept": true})).await;
    let enrol_token = profile.body["token"].as_str().expect("a token").to_owned();
    keep("an enrolment token", &enrol_token);
    let mut agent = Agent::new(daemon.addr, &ca_pem, "web-1");
    agent.enrol(&enrol_token).await.expect("in");
    let key = agent.key.serialize_pem();
    keep("an agent's key", key.lines().nth(1).expect("a line"));
    let value = marked("value");
    keep("a secret's value", &value);
    let set = answer(admin.request("PUT", "/secrets/password").json(&json!({"value": value}))).await;
    assert!(matches!(set.status, 200 | 201), "{set:?}");
    let refused = marked("refused");
    keep("a secret's value that was refused", &refused);
    answer(admin.request("PUT", "/secrets/password").json(&json!({"value": refused, "valu": refused}))).await;
    answer(admin.request("PUT", "/secrets/password").json(&json!([refused]))).await;

    // The server's own.
    for entry in std::fs::read_dir(dir.path().join("data")).expect("a directory") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default();
        if let Some((_, key)) = text.split_once("PRIVATE KEY-----\n") {
            keep("a key of the server", key.lines().next().expect("a line"));
        }
    }
    let log = tokio::task::spawn_blocking(move || daemon.terminate()).await.expect("ended");
    assert!(log.lines().filter(|l| l.contains("TRACE")).count() > 100, "it was to tell everything");
    for (what, secret) in secrets {
        let line = log.lines().find(|l| l.contains(&secret));
        assert!(line.is_none(), "{what} is in the log: {line:?}");
    }
}
