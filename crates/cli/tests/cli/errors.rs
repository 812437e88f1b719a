//! Every way a request can fail, in the words the operator reads.

use drydock_api::rest::ErrorKind;
use drydock_domain::access::Role;
use insta::assert_snapshot;

use crate::documents::{JOB, whoami};
use crate::fake::{Answer, Fake, Prepared};

#[tokio::test]
async fn the_server_is_down() {
    let fake = Fake::start().await;
    let mut prepared = fake.prepared();
    // A port that was ours a moment ago and that nobody listens on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    prepared.world.env.insert("DRYDOCK_SERVER".into(), url.clone());
    prepared.hide = vec![(url, "http://SERVER".into())];
    assert_snapshot!("error_down", prepared.run("instance list").await);
    assert_snapshot!("error_down_run", prepared.run("patch run --all --idempotency-key k1").await);
}

#[tokio::test]
async fn nobody_is_logged_in() {
    assert_snapshot!("error_no_server", Prepared::new().run("instance list").await);
    let fake = Fake::start().await;
    let mut prepared = fake.prepared();
    prepared.world.env.remove("DRYDOCK_TOKEN");
    assert_snapshot!("error_no_token", prepared.run("instance list").await);
}

#[tokio::test]
async fn the_token_is_not_known() {
    let fake = Fake::start().await;
    let mut prepared = fake.prepared();
    prepared.world.env.insert("DRYDOCK_TOKEN".into(), "ddt_old-secret".into());
    let ran = prepared.run("instance list").await;
    assert!(!ran.to_string().contains("old-secret"), "{ran}");
    assert_snapshot!("error_token", ran);
    prepared.world.env.insert("DRYDOCK_TOKEN".into(), "two words".into());
    let ran = prepared.run("instance list").await;
    assert!(ran.code == 2 && !ran.to_string().contains("two words"), "{ran}");
}

#[tokio::test]
async fn the_role_is_named() {
    let fake = Fake::start().await;
    fake.json("GET /whoami", &whoami("bob", Role::Viewer)).error(
        "POST /patch-jobs",
        403,
        ErrorKind::Forbidden,
        "starting patch jobs is not allowed",
        &[],
    );
    assert_snapshot!("error_forbidden", fake.run("patch run --all").await);
    // A server that says it itself is not asked again.
    let named = "the role viewer of bob does not allow audit.list; ask an administrator";
    fake.error("GET /audit?limit=100", 403, ErrorKind::Forbidden, named, &[]);
    let ran = fake.run("audit list").await;
    assert_eq!((ran.code, ran.err), (4, format!("error: {named}\n")));
}

#[tokio::test]
async fn wrong_fields_are_listed_with_their_flags() {
    let fake = Fake::start().await;
    let fields = [
        ("durationSecs", "must be between 60 and 604800 seconds"),
        ("patchConfig.apt.excludes[1]", "is not a valid regular expression: unclosed group"),
        ("patchConfig.preStep.linuxExecStepConfig.interpreter", "NONE needs a script that starts with #!"),
        ("some.new.field", "is strange"),
    ];
    let all: Vec<String> = fields.iter().map(|(f, m)| format!("{f}: {m}")).collect();
    let message = format!("the request is refused: {}", all.join("; "));
    fake.error("POST /patch-jobs", 400, ErrorKind::Invalid, &message, &fields);
    assert_snapshot!("error_fields", fake.run("patch run --all --duration 1s").await);
}

#[tokio::test]
async fn other_refusals() {
    let fake = Fake::start().await;
    let at = |path: &str| format!("GET /instances/{path}");
    fake.error(&at("a"), 404, ErrorKind::NotFound, "there is no instance \"a\"", &[])
        .error(&at("b"), 409, ErrorKind::Conflict, "somebody changed it meanwhile; read it again", &[])
        .error(&at("c"), 503, ErrorKind::Unavailable, "the store is busy", &[])
        .error(&at("d"), 500, ErrorKind::Internal, "the server failed", &[])
        .on(&at("e"), Answer::Plain(200, "text/html", "<html>hello</html>".into()))
        .on(&at("f"), Answer::Plain(502, "text/html", "<html>bad gateway</html>".into()))
        .on(&at("g"), Answer::Plain(302, "text/html", String::new()));
    let mut all = String::new();
    for host in ["a", "b", "c", "d", "e", "f", "g"] {
        all += &fake.run(&format!("instance show {host}")).await.to_string();
    }
    assert_snapshot!("error_others", all);
}

#[tokio::test]
async fn wrong_usage_ends_with_two() {
    let fake = Fake::start().await;
    for line in [
        "",
        "instance",
        "instance list --state sleeping",
        "instance list -o xml",
        "patch show not-an-id",
        "patch run --all --duration 90",
        "patch run --all --concurrency many",
        "patch run --all --pre-env novalue",
        "patch run --all --file /does/not/exist",
        "patch run --all --pre-script /does/not/exist",
        "patch run",
        "patch run --all --pre-script a --pre-path b",
        "tools vercmp rpm 1",
        "--server http://example.com instance list",
        "--ca-fingerprint abc instance list",
        "--ca-file /does/not/exist instance list",
    ] {
        let ran = fake.run(line).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line}: {ran}");
        assert!(!ran.err.is_empty(), "{line}");
    }
    assert!(fake.seen().is_empty());
    assert_eq!(fake.run("--help").await.code, 0);
    assert_eq!(fake.run("version").await.out, format!("drydock {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn cancelling_says_what_will_happen() {
    let fake = Fake::start().await;
    fake.json(&format!("POST /patch-jobs/{JOB}:cancel"), &serde_json::json!({}));
    assert_snapshot!("patch_cancel", fake.run(&format!("patch cancel {JOB}")).await);
    assert_eq!(fake.seen()[0].body, r#"{"kill":false}"#);
    assert_eq!(fake.run(&format!("patch cancel {JOB} --kill")).await.code, 0);
    assert_eq!(fake.seen()[1].body, r#"{"kill":true}"#);
}
