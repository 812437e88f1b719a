//! The whole flow against a real provider, which is told to misbehave in every way it knows.

use drydock_testkit::oidc::{Client, Fault, OidcProvider, Signing};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::json;

use super::provider::CALLBACK_PATH;
use super::{BadToken, Identity, OidcError, OidcSettings, Provider, Returned};

const PUBLIC_URL: &str = "https://drydock.example:8443";
const SECRET: &str = "s%c:r&t +/";

fn provider(secret: Option<&str>) -> OidcProvider {
    let redirect_uri = format!("{PUBLIC_URL}{CALLBACK_PATH}");
    let client = Client { id: "dry dock".into(), secret: secret.map(str::to_owned), redirect_uri };
    OidcProvider::start(client).expect("a provider")
}

/// Our side, configured for it.
fn ours(theirs: &OidcProvider, secret: Option<&str>) -> (Provider, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings: OidcSettings =
        serde_json::from_value(json!({"issuer": theirs.issuer(), "client_id": "dry dock", "groups_claim": "groups"}))
            .expect("settings");
    if let Some(secret) = secret {
        let path = dir.path().join("secret");
        std::fs::write(&path, format!("{secret}\n")).expect("written");
        settings.client_secret_file = Some(path);
    }
    assert_eq!(settings.problems(), []);
    (Provider::new(settings, PUBLIC_URL).expect("our side"), dir)
}

/// Goes where a browser is sent, as a browser would; returns where it is sent back to.
async fn browse(url: &str) -> Url {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    let client = client.tls_backend_preconfigured(plain_tls()).build().expect("a browser");
    let response = client.get(url).send().await.expect("answered");
    let location = response.headers().get("location").and_then(|v| v.to_str().ok());
    location.unwrap_or_else(|| panic!("sent nowhere: {}", response.status())).parse().expect("a URL")
}

/// The library wants some TLS even for http.
fn plain_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn returned(url: &Url) -> Returned {
    let of = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    Returned { code: of("code").unwrap_or_default(), state: of("state").unwrap_or_default(), iss: of("iss"), error: of("error") }
}

async fn whole(ours: &Provider) -> Result<Identity, OidcError> {
    let begun = ours.begin("/patch-jobs?state=PATCHING").await?;
    let back = browse(&begun.url).await;
    assert!(back.as_str().starts_with(&format!("{PUBLIC_URL}{CALLBACK_PATH}?")), "{back}");
    ours.finish(&begun.cookie, &returned(&back), Timestamp::now()).await
}

fn token(result: Result<Identity, OidcError>) -> BadToken {
    match result {
        Err(OidcError::Token(bad)) => bad,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_person_is_signed_in_with_every_kind_of_client_and_key() {
    for (secret, in_form) in [(None, false), (Some(SECRET), false), (Some(SECRET), true)] {
        let theirs = provider(secret);
        theirs.set_secret_in_form(in_form);
        theirs.set_claims(json!({
            "sub": "248289761001", "preferred_username": "ann", "email": "ann@example.org", "email_verified": true,
            "groups": ["TeamA", "all"], "nbf": 1.5, "amr": ["pwd", "mfa"],
        }));
        let (ours, _dir) = ours(&theirs, secret);
        for signing in [Signing::Rsa, Signing::Ecdsa] {
            theirs.set_signing(signing);
            let who = whole(&ours).await.expect("signed in");
            assert_eq!(
                who,
                Identity {
                    issuer: theirs.issuer(),
                    subject: "248289761001".into(),
                    name: Some("ann".into()),
                    email: Some("ann@example.org".into()),
                    groups: Some(vec!["TeamA".into(), "all".into()]),
                    second_factor: true,
                    next: "/patch-jobs?state=PATCHING".into(),
                }
            );
        }
        assert_eq!(theirs.take_refusals(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn claims_are_taken_as_they_are_meant() {
    let theirs = provider(None);
    let (ours, _dir) = ours(&theirs, None);
    theirs.set_claims(json!({"sub": "p", "preferred_username": "a\u{0}b", "email": "x@example.org", "groups": "one"}));
    let who = whole(&ours).await.expect("signed in");
    assert_eq!((who.name, who.email, who.groups), (None, None, Some(vec!["one".into()])), "not verified, not clean");
    theirs.set_claims(json!({"sub": "p"}));
    let who = whole(&ours).await.expect("signed in");
    assert_eq!((who.groups, who.second_factor), (Some(Vec::new()), false), "no claim: no groups, one factor");
    theirs.set_claims(json!({"sub": "p", "groups": {"a": 1}}));
    assert_eq!(token(whole(&ours).await), BadToken::Claim("groups"));
    theirs.set_claims(json!({"sub": "p", "aud": ["dry dock", "another"], "azp": "dry dock"}));
    whole(&ours).await.expect("for others too, but asked for by us");
    theirs.set_claims(json!({"sub": "p", "aud": ["dry dock", "another"]}));
    assert_eq!(token(whole(&ours).await), BadToken::Audience);
    theirs.set_claims(json!({"sub": "x".repeat(256)}));
    assert_eq!(token(whole(&ours).await), BadToken::Claim("sub"));
    theirs.set_claims(json!({"sub": "p", "exp": "tomorrow"}));
    assert_eq!(token(whole(&ours).await), BadToken::Claim("exp"));
}

#[tokio::test]
async fn a_wrong_token_signs_nobody_in() {
    let theirs = provider(Some(SECRET));
    let (ours, _dir) = ours(&theirs, Some(SECRET));
    for (fault, why) in [
        (Fault::WrongNonce, BadToken::Nonce),
        (Fault::NoNonce, BadToken::Claim("nonce")),
        (Fault::Expired, BadToken::Expired),
        (Fault::Old, BadToken::IssuedAt),
        (Fault::Future, BadToken::IssuedAt),
        (Fault::OtherAudience, BadToken::Audience),
        (Fault::OtherParty, BadToken::Audience),
        (Fault::OtherIssuer, BadToken::Issuer("https://evil.example".into())),
        (Fault::AlgNone, BadToken::Algorithm("none".into())),
        (Fault::Hmac, BadToken::Algorithm("HS256".into())),
        (Fault::Tampered, BadToken::Signature),
        (Fault::ForeignKey, BadToken::Signature),
        (Fault::Critical, BadToken::Critical),
        (Fault::NoSubject, BadToken::Claim("sub")),
    ] {
        theirs.set_fault(fault);
        assert_eq!(token(whole(&ours).await), why, "{fault:?}");
        theirs.set_fault(Fault::None);
        whole(&ours).await.expect("and then again");
    }
}

#[tokio::test]
async fn a_provider_that_misbehaves_signs_nobody_in() {
    let theirs = provider(None);
    let message = |result: Result<Identity, OidcError>| result.expect_err("refused").to_string();
    for (fault, part) in [
        (Fault::OtherDiscovery, "is of the issuer \"https://evil.example\""),
        (Fault::HugeDiscovery, "larger than"),
        (Fault::MovedDiscovery, "303"),
    ] {
        theirs.set_fault(fault);
        let (ours, _dir) = ours(&theirs, None);
        let told = message(whole(&ours).await);
        assert!(told.contains(part), "{told}");
        theirs.set_fault(Fault::None);
        assert!(matches!(whole(&ours).await, Err(OidcError::Paused)), "it is left alone for a moment");
    }
    let (ours, _dir) = ours(&theirs, None);
    for (fault, part) in [
        (Fault::TokenError, "500"),
        (Fault::TokenMoved, "307"),
        (Fault::Denied, "access_denied"),
        (Fault::OtherAnswerer, "another issuer"),
    ] {
        theirs.set_fault(fault);
        let told = message(whole(&ours).await);
        assert!(told.contains(part), "{told}");
        theirs.set_fault(Fault::None);
        whole(&ours).await.expect("and then again");
    }
}

#[tokio::test]
async fn only_the_browser_that_began_can_finish_and_only_once() {
    let theirs = provider(None);
    let (ours, _dir) = ours(&theirs, None);
    let mine = ours.begin("/").await.expect("begun");
    let other = ours.begin("/").await.expect("begun");
    assert!(mine.url != other.url && mine.cookie != other.cookie);
    let back = returned(&browse(&mine.url).await);
    let now = Timestamp::now();
    for cookie in [other.cookie.as_str(), "", "a.b.c.d", &"x".repeat(5000), &mine.cookie.replace('.', "")] {
        assert!(matches!(ours.finish(cookie, &back, now).await, Err(OidcError::NotBegun(_))), "{cookie}");
    }
    // An answer put together from another sign-in: the state fits, the verifier does not.
    let stolen = Returned { state: returned(&browse(&other.url).await).state, ..returned(&browse(&mine.url).await) };
    assert!(ours.finish(&other.cookie, &stolen, now).await.is_err());
    assert_eq!(theirs.take_refusals(), ["token: code_verifier"]);
    // The right one, once.
    ours.finish(&mine.cookie, &back, now).await.expect("signed in");
    assert!(ours.finish(&mine.cookie, &back, now).await.is_err());
    assert_eq!(theirs.take_refusals(), ["token: code"]);
}

#[tokio::test]
async fn changed_keys_are_fetched_once() {
    let theirs = provider(None);
    let (ours, _dir) = ours(&theirs, None);
    whole(&ours).await.expect("signed in");
    whole(&ours).await.expect("signed in");
    assert_eq!(theirs.key_requests(), 1, "kept");
    theirs.rotate_keys().expect("rotated");
    whole(&ours).await.expect("signed in with the new key");
    assert_eq!(theirs.key_requests(), 2);
    theirs.set_fault(Fault::ForeignKey);
    assert_eq!(token(whole(&ours).await), BadToken::Signature);
    assert_eq!(theirs.key_requests(), 2, "a forger does not make us ask again and again");
}

#[tokio::test]
async fn a_wrong_secret_and_unusable_files_are_told() {
    let theirs = provider(Some(SECRET));
    let (wrong, dir) = ours(&theirs, Some("another"));
    let told = whole(&wrong).await.expect_err("refused").to_string();
    assert!(told.contains("400") && told.contains("invalid_grant") && !told.contains("another"), "{told}");
    assert_eq!(theirs.take_refusals(), ["token: client authentication"]);
    let base = wrong.settings().clone();
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "\n").expect("written");
    for (settings, key) in [
        (OidcSettings { client_secret_file: Some(empty.clone()), ..base.clone() }, "client_secret_file"),
        (OidcSettings { client_secret_file: Some(dir.path().join("none")), ..base.clone() }, "client_secret_file"),
        (OidcSettings { ca_file: Some(empty), ..base.clone() }, "ca_file"),
    ] {
        match Provider::new(settings, PUBLIC_URL) {
            Err(OidcError::Setting { key: named, .. }) => assert_eq!(named, key),
            other => panic!("{other:?}"),
        }
    }
}
