//! Signing in with an OpenID Connect provider, from the button to the page that was asked for.

use drydock_server::identity::oidc::OidcSettings;
use drydock_testkit::oidc::{Client, Fault, OidcProvider};
use http::StatusCode;
use serde_json::json;

use crate::support::{Browser, Page, World};

/// The provider's redirect address of a server.
fn callback(world: &World) -> String {
    format!("{}/sign-in/oidc/callback", world.running.public_url)
}

/// A provider, and a server that knows it.
async fn both(change: impl FnOnce(&mut OidcSettings)) -> (OidcProvider, World) {
    let client = Client { id: "drydock".into(), secret: None, redirect_uri: String::new() };
    let theirs = OidcProvider::start(client).expect("a provider");
    let ours = json!({"issuer": theirs.issuer(), "client_id": "drydock", "label": "Sign in with Example"});
    let mut ours: OidcSettings = serde_json::from_value(ours).expect("settings");
    change(&mut ours);
    let world = World::start_with(|settings| settings.oidc = Some(ours)).await;
    theirs.set_redirect_uri(&callback(&world));
    (theirs, world)
}

/// Goes to the provider as a browser does, and back to the path that it is sent to.
async fn at_the_provider(url: &str) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("a client");
    let response = browser.get(url).send().await.expect("the provider answers");
    let back = response.headers().get("location").and_then(|v| v.to_str().ok()).expect("sent back").to_owned();
    let path = back.find("/sign-in/oidc/callback").expect("to our callback");
    back[path..].to_owned()
}

/// From the sign-in page to what the callback answers.
async fn sign_in(browser: &mut Browser, next: &str) -> Page {
    let page = browser.page(&format!("/sign-in?next={next}")).await;
    page.has("Sign in with Example").has("/sign-in/oidc?next=");
    let out = browser.get(&format!("/sign-in/oidc?next={next}")).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER, "{}", out.body);
    let path = at_the_provider(out.location()).await;
    browser.get(&path).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_user_signs_in_and_nobody_else() {
    let (theirs, world) = both(|_| {}).await;
    theirs.set_claims(json!({"sub": "ann<1>", "preferred_username": "ann"}));
    let ctx = world.ctx();
    let spec = serde_json::from_value(json!({"name": "ann"})).expect("a user");
    world.control().create_user(&ctx, spec).await.expect("made");
    world.control().change_user_group_members(&ctx, "Viewers", &["ann".to_owned()], &[]).await.expect("joined");
    // A user of that name is not enough: the provider's names can be chosen.
    let mut browser = world.stranger();
    let page = sign_in(&mut browser, "/instances").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.body);
    page.has("not let in").has("ann&#60;1&#62;").has(&theirs.issuer());
    assert_eq!(browser.get("/instances").await.status, StatusCode::SEE_OTHER);
    // Linked, it is.
    let issuer = theirs.issuer();
    world.control().link_user(&ctx, "ann", Some((&issuer, "ann<1>"))).await.expect("linked");
    let page = sign_in(&mut browser, "/instances").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    page.has("url=/instances\"").has("You are signed in");
    assert!(!browser.cookies.contains_key("__Host-drydock-oidc"), "used up");
    browser.page("/instances").await.has("ann");
    // Unlinked, it is not any more.
    world.control().link_user(&ctx, "ann", None).await.expect("unlinked");
    assert_eq!(sign_in(&mut world.stranger(), "/").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_made_when_that_is_wished_and_have_the_providers_groups() {
    let (theirs, world) = both(|oidc| {
        oidc.create_users = true;
        oidc.groups_claim = Some("groups".into());
    })
    .await;
    let ctx = world.ctx();
    let spec = serde_json::from_value(json!({"name": "TeamA"})).expect("a group");
    world.control().create_user_group(&ctx, spec).await.expect("made");
    let groups = async || {
        let user = world.control().get_user(&ctx, "cleo").await.expect("there");
        let mut groups = user.groups;
        groups.sort();
        groups
    };
    let claims = |groups: &[&str]| {
        theirs.set_claims(json!({"sub": "c1", "preferred_username": "cleo", "groups": groups, "email": "c@example.org", "email_verified": true}));
    };
    claims(&["teama", "Viewers", "Administrators", "elsewhere"]);
    let mut browser = world.stranger();
    assert_eq!(sign_in(&mut browser, "/instances").await.status, StatusCode::OK);
    browser.page("/instances").await.has("cleo");
    assert_eq!(groups().await, ["TeamA", "Viewers"], "nobody becomes an administrator by a provider's word");
    let user = world.control().get_user(&ctx, "cleo").await.expect("there").user;
    assert_eq!((user.email.as_str(), user.created_by), ("c@example.org", format!("oidc {}", theirs.issuer())));
    // What the provider takes back is gone; what people gave stays.
    world.control().change_user_group_members(&ctx, "Operators", &["cleo".to_owned()], &[]).await.expect("joined");
    claims(&["Viewers"]);
    assert_eq!(sign_in(&mut browser, "/").await.status, StatusCode::OK);
    assert_eq!(groups().await, ["Operators", "Viewers"]);
    // Somebody else who calls themselves cleo is not cleo.
    theirs.set_claims(json!({"sub": "c2", "preferred_username": "cleo"}));
    let page = sign_in(&mut world.stranger(), "/").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.body);
    page.has("there is a user cleo already");
    // Disabled is disabled.
    let edit = drydock_control::UserEdit { disabled: Some(true), ..Default::default() };
    world.control().edit_user(&ctx, "cleo", &edit).await.expect("disabled");
    claims(&["Viewers"]);
    assert_eq!(sign_in(&mut world.stranger(), "/").await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.get("/instances").await.status, StatusCode::SEE_OTHER, "and its sessions have ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_way_back_signs_nobody_in() {
    let (theirs, world) = both(|oidc| oidc.create_users = true).await;
    theirs.set_claims(json!({"sub": "subject-of-dora", "preferred_username": "dora"}));
    // Another browser's answer: a link that somebody sends around.
    let mut attacker = world.stranger();
    let out = attacker.get("/sign-in/oidc?next=/").await;
    let link = at_the_provider(out.location()).await;
    let mut victim = world.stranger();
    victim.get(&link).await.has("begun in another browser");
    victim.get("/sign-in/oidc?next=/").await;
    let page = victim.get(&link).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    page.has("begun in another browser");
    assert_eq!(victim.get("/instances").await.status, StatusCode::SEE_OTHER, "nobody is signed in");
    // Faults of the provider, and odd queries.
    for fault in [Fault::WrongNonce, Fault::Expired, Fault::OtherAudience, Fault::AlgNone, Fault::ForeignKey, Fault::Denied] {
        theirs.set_fault(fault);
        let page = sign_in(&mut victim, "/").await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{fault:?}: {}", page.body);
        page.lacks("subject-of-dora").lacks("<b>no</b>");
    }
    theirs.set_fault(Fault::None);
    for query in ["", "?code=a&code=b", "?error=<script>alert(1)</script>", "?state=x&code=y"] {
        victim
            .get(&format!("/sign-in/oidc/callback{}", query.replace('<', "%3C").replace('>', "%3E")))
            .await
            .lacks("<script>alert");
    }
    assert_eq!(victim.get("/instances").await.status, StatusCode::SEE_OTHER);
    // Nothing leads elsewhere.
    for next in ["https://evil.example", "//evil.example", "/\\evil.example"] {
        let mut browser = world.stranger();
        let encoded: String = next.bytes().map(|b| format!("%{b:02X}")).collect();
        let out = browser.get(&format!("/sign-in/oidc?next={encoded}")).await;
        assert!(out.location().starts_with(&theirs.issuer()), "{}", out.location());
        browser.get(&at_the_provider(out.location()).await).await.has("url=/\"").lacks("evil");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_there_is_no_button() {
    let world = World::start().await;
    let mut browser = world.stranger();
    browser.page("/sign-in").await.lacks("oidc");
    for path in ["/sign-in/oidc", "/sign-in/oidc/callback?code=a&state=b"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND);
    }
}

/// TLS in front of a provider, with a certificate of an authority of its own.
mod tls {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::TlsAcceptor;

    /// Its port, and the authority's certificate (PEM).
    pub async fn before(inner: SocketAddr) -> (u16, String) {
        let ca_key = rcgen::KeyPair::generate().expect("a key");
        let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_cert = ca.self_signed(&ca_key).expect("a certificate");
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().expect("a key");
        let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let own = own.signed_by(&key, &issuer).expect("a certificate");
        let chain = vec![CertificateDer::from(own.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let (Ok(mut outer), Ok(mut inner)) =
                        (acceptor.accept(stream).await, tokio::net::TcpStream::connect(inner).await)
                    else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        (port, ca_cert.pem())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_certificate_must_come_from_a_known_authority() {
    let client = Client { id: "drydock".into(), secret: None, redirect_uri: String::new() };
    let theirs = OidcProvider::start(client).expect("a provider");
    let (port, ca_pem) = tls::before(theirs.address()).await;
    theirs.set_issuer(&format!("https://localhost:{port}"));
    let dir = tempfile::tempdir().expect("a directory");
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, ca_pem).expect("written");
    for known in [false, true] {
        let mut ours: OidcSettings =
            serde_json::from_value(json!({"issuer": theirs.issuer(), "client_id": "drydock"})).expect("settings");
        ours.ca_file = known.then(|| ca_file.clone());
        let world = World::start_with(|settings| settings.oidc = Some(ours)).await;
        theirs.set_redirect_uri(&callback(&world));
        let mut browser = world.stranger();
        let out = browser.get("/sign-in/oidc?next=/").await;
        match known {
            true => assert!(out.location().starts_with(&theirs.issuer()), "{}", out.location()),
            false => {
                out.has("cannot be used at the moment");
            }
        }
    }
}
