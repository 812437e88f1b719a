//! The log at its most talkative, after secrets of every kind went in and out: it holds none of them.

use drydock_api::agent::v1::IssueAccessTokenRequest;
use serde_json::json;

use crate::daemon::{Daemon, init};
use crate::support::{Agent, Person, answer, wait_until};

/// A text that occurs nowhere else.
fn marked(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::now_v7().simple())
}

/// Secrets, each with what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn keep(&mut self, what: &'static str, secret: &str) {
        self.0.push((what, secret.to_owned()));
    }

    /// A new one.
    fn make(&mut self, what: &'static str) -> String {
        let secret = marked("secret");
        self.keep(what, &secret);
        secret
    }
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
    let mut secrets = Secrets::default();
    secrets.keep("the first token", &token);
    tokens_and_passwords(&admin, &mut secrets).await;
    console(&admin, &ca_pem, &mut secrets).await;
    hosts_and_secrets(&admin, daemon.addr, &ca_pem, &mut secrets).await;
    // The server's own.
    for entry in std::fs::read_dir(dir.path().join("data")).expect("a directory") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default();
        if let Some((_, key)) = text.split_once("PRIVATE KEY-----\n") {
            secrets.keep("a key of the server", key.lines().next().expect("a line"));
        }
    }
    let log = tokio::task::spawn_blocking(move || daemon.terminate()).await.expect("ended");
    assert!(log.lines().filter(|l| l.contains("TRACE")).count() > 100, "it was to tell everything");
    for (what, secret) in secrets.0 {
        let line = log.lines().find(|l| l.contains(&secret));
        assert!(line.is_none(), "{what} is in the log: {line:?}");
    }
}

/// Tokens that are made, used, wrong; passwords and codes, right and wrong.
async fn tokens_and_passwords(admin: &Person, secrets: &mut Secrets) {
    let made = admin.post("/access-tokens", json!({"name": "t", "role": "viewer"})).await;
    let second = made.body["secret"].as_str().expect("a secret").to_owned();
    secrets.keep("a token", &second);
    let wrong = format!("ddt_{}", marked("wrong"));
    secrets.keep("a wrong token", &wrong);
    for shown in [&second, &wrong] {
        let person = Person { token: shown.clone(), ..admin.clone() };
        person.get("/instances").await;
        let basic =
            admin.client.get(format!("{}/api/v1/instances", admin.base)).header("authorization", format!("Basic {shown}"));
        answer(basic).await;
    }
    admin.post("/users", json!({"name": "ann"})).await;
    let password = secrets.make("a password");
    let set = admin.post("/users/ann:set-password", json!({"password": password, "lasting": true})).await;
    assert_eq!(set.status, 200, "{set:?}");
    let (wrong, code, new) = (secrets.make("a wrong password"), secrets.make("a code"), secrets.make("a new password"));
    let signed = admin.post("/tokens:sign-in", json!({"user": "ann", "password": password})).await;
    assert_eq!(signed.status, 201, "{signed:?}");
    let own = signed.body["secret"].as_str().expect("a token").to_owned();
    secrets.keep("a token got by signing in", &own);
    let ann = Person { token: own, ..admin.clone() };
    ann.post("/whoami:change-password", json!({"oldPassword": wrong, "newPassword": new})).await;
    ann.post("/whoami:change-password", json!({"oldPasword": wrong, "newPassword": [new]})).await;
    ann.post("/whoami:confirm-second-factor", json!({"code": code})).await;
    admin.post("/tokens:sign-in", json!({"user": "ann", "password": wrong, "code": code})).await;
    admin.post("/tokens:sign-in", json!({"user": "ann", "password": [wrong]})).await;
}

/// The console: the token in a form, the session that comes of it; over the older version of HTTP.
async fn console(admin: &Person, ca_pem: &str, secrets: &mut Secrets) {
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("a certificate");
    let old = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().http1_only();
    let old = old.redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let cookie = secrets.make("a cookie");
    let page = old.get(format!("{}/instances", admin.base)).header("cookie", format!("__Host-drydock-session={cookie}"));
    answer(page.bearer_auth(&admin.token)).await;
    let form = old.get(format!("{}/sign-in", admin.base)).send().await.expect("the form");
    let form_cookie = form.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie").to_owned();
    let html = form.text().await.expect("text");
    let csrf = html.split(r#"name="csrf" value=""#).nth(1).and_then(|r| r.split('"').next()).expect("a form").to_owned();
    secrets.keep("a form's token", &csrf);
    let password = secrets.make("a password in a form");
    for body in [format!("csrf={csrf}&user=ann&password={password}&next=/"), format!("csrf={csrf}&token={}&next=/", admin.token)]
    {
        let signed = old.post(format!("{}/sign-in", admin.base)).header("cookie", &form_cookie).body(body);
        let signed = signed.header("content-type", "application/x-www-form-urlencoded").send().await.expect("an answer");
        for set in signed.headers().get_all("set-cookie") {
            let value = set.to_str().expect("text").split(';').next().and_then(|c| c.split_once('=')).map_or("", |c| c.1);
            if value.len() >= 16 {
                secrets.keep("a session", value);
            }
        }
    }
    assert!(secrets.0.iter().any(|(what, _)| *what == "a session"), "the token signs in");
}

/// Hosts: the token they enrol with, their keys, their tokens; secrets of policies.
async fn hosts_and_secrets(admin: &Person, addr: std::net::SocketAddr, ca_pem: &str, secrets: &mut Secrets) {
    let profile = admin.post("/enrolment-profiles", json!({"displayName": "t", "autoAccept": true})).await;
    let enrol_token = profile.body["token"].as_str().expect("a token").to_owned();
    secrets.keep("an enrolment token", &enrol_token);
    let mut agent = Agent::new(addr, ca_pem, "web-1");
    agent.enrol(&enrol_token).await.expect("in");
    let key = agent.key.serialize_pem();
    secrets.keep("an agent's key", key.lines().nth(1).expect("a line"));
    let mut link = agent.link().await;
    let issued = link.issue_access_token(IssueAccessTokenRequest { lifetime_secs: 60 }).await.expect("issued").into_inner();
    secrets.keep("a host's token", &issued.token);
    let host = Person { token: issued.token, ..admin.clone() };
    assert_eq!(host.get("/instances").await.status, 403, "nothing is given to hosts beforehand");
    assert_eq!(host.get("/whoami").await.body["kind"], "instance");
    let value = secrets.make("a secret's value");
    let set = answer(admin.request("PUT", "/secrets/password").json(&json!({"value": value}))).await;
    assert!(matches!(set.status, 200 | 201), "{set:?}");
    let refused = secrets.make("a secret's value that was refused");
    answer(admin.request("PUT", "/secrets/password").json(&json!({"value": refused, "valu": refused}))).await;
    answer(admin.request("PUT", "/secrets/password").json(&json!([refused]))).await;
}
