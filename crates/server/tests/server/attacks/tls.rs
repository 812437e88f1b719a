//! What the port speaks and what it does not, as openssl finds it. Skipped with a reason where openssl is not installed.

use std::process::{Command, Stdio};

use crate::support::TestServer;

/// What the handshake came to: protocol and suite, or nothing.
fn handshake(port: u16, args: &[&str]) -> Option<(bool, String)> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-brief"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| eprintln!("skipped: openssl cannot be started: {e}"))
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Some((text.contains("CONNECTION ESTABLISHED"), text))
}

#[tokio::test(flavor = "multi_thread")]
async fn old_protocols_and_weak_suites_are_refused() {
    let server = TestServer::start().await;
    let port = server.running.addr.port();
    // What the client itself would refuse has to be allowed there, or the server is never asked.
    let weak = "ALL:eNULL:@SECLEVEL=0";
    for (what, args, good) in [
        ("TLS 1.3", &["-tls1_3"][..], true),
        ("TLS 1.2", &["-tls1_2"], true),
        ("TLS 1.2 with forward secrecy", &["-tls1_2", "-cipher", "ECDHE+AESGCM:ECDHE+CHACHA20"], true),
        ("TLS 1.1", &["-tls1_1", "-cipher", weak], false),
        ("TLS 1.0", &["-tls1", "-cipher", weak], false),
        ("TLS 1.2 without forward secrecy", &["-tls1_2", "-cipher", "RSA+AES:@SECLEVEL=0"], false),
        ("TLS 1.2 with CBC", &["-tls1_2", "-cipher", "ECDHE+AES:!AESGCM:!AESCCM:@SECLEVEL=0"], false),
        ("TLS 1.2 without encryption", &["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"], false),
        ("TLS 1.2 with finite fields", &["-tls1_2", "-cipher", "DHE:@SECLEVEL=0"], false),
    ] {
        let args = args.to_vec();
        let told = tokio::task::spawn_blocking(move || handshake(port, &args)).await.expect("ended");
        let Some((established, text)) = told else { return };
        assert_eq!(established, good, "{what}: {text}");
    }
    assert_eq!(server.admin.get("/whoami").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_security_headers() {
    let server = TestServer::start().await;
    let base = &server.admin.base;
    for path in
        ["/healthz", "/sign-in", "/api/v1/whoami", "/api/v1/openapi.json", "/no-such-page", "/content/keys/repository.asc"]
    {
        let said = server.admin.client.get(format!("{base}{path}")).send().await.expect("an answer");
        let header = |name: &str| said.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert!(header("strict-transport-security").contains("max-age=31536000"), "{path}");
        if ["/sign-in", "/no-such-page"].contains(&path) {
            let policy = header("content-security-policy");
            for rule in
                ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
            {
                assert!(policy.contains(rule), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(header("x-frame-options"), "DENY", "{path}");
            assert_eq!(header("referrer-policy"), "same-origin", "{path}");
            assert_eq!(header("cache-control"), "no-store", "{path}");
        }
    }
}
