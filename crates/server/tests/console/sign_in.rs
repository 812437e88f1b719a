//! Signing in and out, forged forms, and the headers every answer has.

use drydock_control::records::PageQuery;
use drydock_domain::access::Role;
use http::{StatusCode, header};

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_led_to_sign_in_and_back() {
    let world = World::start().await;
    let mut browser = world.stranger();
    let page = browser.get("/patch-jobs?state=PATCHING").await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/sign-in?next=/patch-jobs%3Fstate%3DPATCHING"));
    let form = browser.get(page.location()).await;
    assert_eq!(form.hidden("next"), "/patch-jobs?state=PATCHING");

    let wrong = browser.sign_in("ddt_wrong").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    wrong.has("No such token").lacks("ddt_wrong");
    assert!(!browser.cookies.contains_key("__Host-drydock-session"));

    let page = browser.sign_in(&world.admin).await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/instances"));
    assert!(browser.cookies.contains_key("__Host-drydock-session"));
    browser.page("/instances").await.has("administrator").has("Sign out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_from_another_site_takes_no_session_away() {
    let world = World::start().await;
    // Browsers leave the cookie out when another site leads here.
    let page = world.stranger().get("/instances").await;
    assert_eq!(page.location(), "/sign-in?next=/instances");
    assert!(!page.headers.contains_key(header::SET_COOKIE), "whoever is led here stays signed in: {:?}", page.headers);
    let mut stale = world.stranger();
    stale.cookies.insert("__Host-drydock-session".into(), "dds_gone".into());
    stale.get("/instances").await;
    assert!(stale.cookies.is_empty(), "one that is good for nothing is taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_out_ends_the_session_for_a_copied_cookie_too() {
    let world = World::start().await;
    let mut browser = world.admin().await;
    let mut copy = browser.clone();
    copy.page("/").await;
    let page = browser.post("/sign-out", &[]).await;
    assert_eq!(page.location(), "/sign-in");
    assert_eq!(copy.get("/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_sessions() {
    let world = World::start().await;
    let secret = world.token("leaver", Role::Operator).await;
    let mut browser = world.browser(&secret).await;
    browser.page("/").await;
    let ctx = world.ctx();
    let tokens = world.control().list_access_tokens(&ctx, None, &PageQuery::default()).await.expect("tokens");
    let id = tokens.items.iter().find(|t| t.name == "leaver").expect("the token").id;
    world.control().revoke_access_token(&ctx, id).await.expect("revoked");
    let page = browser.get("/").await;
    assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/sign-in?next=/"));
    assert_eq!(browser.sign_in(&secret).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_form_of_another_browser_is_refused() {
    let world = World::start().await;
    let csrf = world.stranger().get("/sign-in").await.csrf();
    let mut victim = world.stranger();
    victim.get("/sign-in").await;
    let page = victim.post_raw("/sign-in", &[("csrf", &csrf), ("token", &world.admin)]).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(!victim.cookies.contains_key("__Host-drydock-session"));
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down() {
    let world = World::start().await;
    let mut browser = world.stranger();
    for _ in 0..drydock_server::limits::FAILURES_PER_ADDRESS_MAX {
        browser.sign_in("ddt_guess").await.has("No such token");
    }
    browser.sign_in(&world.admin).await.has("Too many failed sign-ins");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_tried_so_often_and_the_form_says_how_long_to_wait() {
    let world = World::start().await;
    let mut browser = world.stranger();
    let mut last = String::new();
    for n in 0..=drydock_server::limits::SIGN_INS_PER_NAME_BURST {
        let csrf = browser.get("/sign-in").await.csrf();
        let name = if n % 2 == 0 { "nobody" } else { "NOBODY" };
        last = browser.post_raw("/sign-in", &[("csrf", &csrf), ("user", name), ("password", "x")]).await.body;
        assert_eq!(last.contains("Too many"), n == drydock_server::limits::SIGN_INS_PER_NAME_BURST, "{n}");
    }
    assert!(last.contains("Too many sign-ins of nobody. Wait "), "{last}");
    let csrf = browser.get("/sign-in").await.csrf();
    let other = browser.post_raw("/sign-in", &[("csrf", &csrf), ("user", "somebody"), ("password", "x")]).await;
    other.has("Name, password or code is wrong");
}

/// Every form of the console, with fields that would do something.
const FORMS: [&str; 15] = [
    "/sign-out",
    "/instances/web-1/edit",
    "/instances/web-1/accept",
    "/instances/web-1/reject",
    "/instances/web-1/revoke",
    "/instances/web-1/delete",
    "/patch-jobs",
    "/patch-jobs/0198c0de-0000-7000-8000-000000000001/cancel",
    "/enrolment",
    "/enrolment/0198c0de-0000-7000-8000-000000000001/revoke",
    "/access-tokens",
    "/account/password",
    "/users",
    "/user-groups",
    "/access-tokens/0198c0de-0000-7000-8000-000000000001/revoke",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_this_sessions_token_does_nothing() {
    let world = World::start().await;
    world.host("web-1").await;
    let mut browser = world.admin().await;
    let foreign = world.admin().await.page("/").await.csrf();
    let fields = [
        ("target", "all"),
        ("what", "all"),
        ("reboot", "DEFAULT"),
        ("action", "start"),
        ("displayName", "x"),
        ("name", "x"),
        ("role", "viewer"),
    ];
    for path in FORMS {
        for csrf in ["", foreign.as_str()] {
            let with: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", csrf)]).collect();
            let page = browser.post_raw(path, &with).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
            page.has("does not belong to this session");
        }
    }
    let ctx = world.ctx();
    assert!(world.control().list_patch_jobs(&ctx, &Default::default()).await.expect("jobs").items.is_empty());
    assert_eq!(world.control().list_access_tokens(&ctx, None, &Default::default()).await.expect("tokens").items.len(), 1);
    world.control().get_instance(&ctx, "web-1").await.expect("still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_private_and_hold_nothing_inline() {
    let world = World::start().await;
    let host = world.host("web-1").await;
    let mut browser = world.admin().await;
    let instance = format!("/instances/{}", host.id);
    let paths = [
        "/",
        "/instances",
        "/patch-jobs",
        "/patch-jobs/new?what=all&instance=web-1",
        "/enrolment",
        "/access-tokens",
        "/audit",
        instance.as_str(),
    ];
    for path in paths {
        let page = browser.page(path).await;
        let value = |name: &str| page.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        let policy = value("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!((value("x-frame-options").as_str(), value("cache-control").as_str()), ("DENY", "no-store"), "{path}");
        assert_eq!((value("x-content-type-options").as_str(), value("referrer-policy").as_str()), ("nosniff", "same-origin"));
        page.lacks(" style=").lacks("<style").lacks("<script>").lacks(" onclick=").lacks("javascript:");
        page.has("Skip to the content").has(r#"<html lang="en">"#);
    }
    let page = browser.page("/").await;
    for (start, content_type) in [("/assets/console-", "text/css"), ("/assets/icon-", "image/svg+xml")] {
        let from = page.body.find(start).expect("a link");
        let url = page.body[from..].split('"').next().expect("an address");
        let mut anybody = world.stranger();
        let asset = anybody.page(url).await;
        assert!(asset.headers[header::CONTENT_TYPE].to_str().expect("ASCII").starts_with(content_type), "{url}");
        assert_eq!(asset.headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(anybody.get(&format!("{start}0000000000000000.css")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_with_a_password_that_was_good_once_and_looks_after_the_own_account() {
    let world = World::start().await;
    let mut admin = world.admin().await;
    let made = admin.post("/users", &[("name", "ann"), ("email", ""), ("description", "night shift")]).await;
    assert_eq!(made.location(), "/users/ann");
    admin.post("/user-groups/Viewers/members", &[("add", "ann"), ("remove", "")]).await;
    let page = admin.post("/users/ann/password", &[]).await;
    let shown = page.body.split_once("<pre id=\"secret\" tabindex=\"0\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let once = shown.expect("the password is shown").0.to_owned();
    admin.page("/users/ann").await.has("one-time password").has("Viewers").lacks(&once);

    let mut ann = world.stranger();
    let try_it = async |browser: &mut crate::support::Browser, fields: &[(&str, &str)]| {
        let form = browser.get("/sign-in?next=/instances").await;
        let csrf = form.csrf();
        let all: Vec<(&str, &str)> =
            [("csrf", csrf.as_str()), ("next", "/instances")].into_iter().chain(fields.iter().copied()).collect();
        browser.post_raw("/sign-in", &all).await
    };
    let wrong = try_it(&mut ann, &[("user", "ann"), ("password", "not this one")]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    wrong.has("Name, password or code is wrong").lacks("not this one");
    let choose = try_it(&mut ann, &[("user", "ann"), ("password", &once)]).await;
    choose.has("Choose another password").lacks(&once);
    let new = [("newPassword", "unten rot acht mauer"), ("newPasswordAgain", "unten rot acht mauer")];
    let all: Vec<(&str, &str)> = [("user", "ann"), ("password", once.as_str())].into_iter().chain(new).collect();
    let done = try_it(&mut ann, &all).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/instances"));

    ann.page("/account").await.has("this session").has("Change password").has("Set up a second factor");
    ann.page("/instances").await.has("viewer").lacks("Access tokens");
    assert_eq!(ann.get("/users").await.status, StatusCode::FORBIDDEN);
    let offer = ann.post("/account/second-factor", &[]).await;
    offer.has("otpauth://totp/Drydock:ann").has("<svg");
    let token = ann.post("/account/tokens", &[("name", "laptop"), ("expiresDays", "9"), ("scope", "read drydock-family")]).await;
    token.has("ddt_").has("read drydock-family");
    ann.page("/account").await.lacks("ddt_");

    admin.post("/users/ann/disable", &[]).await;
    assert_eq!(ann.get("/").await.status, StatusCode::SEE_OTHER, "the session has ended");
}
