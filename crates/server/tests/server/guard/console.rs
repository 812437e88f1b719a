//! The console: without a session every page leads to the sign-in, and no form does anything for who may not.

use axum::Router;
use axum::body::Body;
use http::Request;

use super::routes::{Route, routes};
use super::world::World;
use super::{METHODS, OPEN, Said, ask};
use crate::support::{Person, TestServer};

/// Pages that a viewer does not see: of people, and forms for what a viewer may not do.
const HIDDEN_FROM_VIEWERS: [&str; 8] = [
    "/access-tokens",
    "/audit",
    "/patch-jobs/new",
    "/new-deployment",
    "/users",
    "/users/{name}",
    "/user-groups",
    "/user-groups/{name}",
];
/// Forms that show something and change nothing. This list may only shrink.
const SHOWING_FORMS: [&str; 1] = ["/environments/{name}/preview"];
/// Pages that who may nothing sees: one without a number in it, and one of their own requests, of which there are none. This
/// list may only shrink.
const EMPTY_PAGES: [&str; 3] = ["/", "/overview/live", "/approvals"];

/// Pages and forms about one's own session and account.
fn is_own(page: &Route) -> bool {
    page.path == "/sign-out" || page.path == "/account" || page.path.starts_with("/account/")
}

/// Who is sent to sign in was refused. Any other 303 may say that the form was taken.
fn sent_to_sign_in(seen: &Said) -> bool {
    let to = seen.headers.get("location").and_then(|v| v.to_str().ok()).unwrap_or_default();
    seen.status == 303 && (to == "/sign-in" || to.starts_with("/sign-in?"))
}

/// A form may lead back to the page it stands on, with the reason of its refusal: then all its records say that it was refused.
async fn nothing_done(world: &World, form: &str, seen: &Said) -> bool {
    let said = |name: &str| seen.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    if form.rsplit_once('/').is_none_or(|(page, _)| said("location") != page) {
        return false;
    }
    let found = world.server.admin.get(&format!("/audit?requestId={}", said("x-request-id"))).await;
    let records = found.body["items"].as_array().unwrap_or_else(|| panic!("{found:?}"));
    !records.is_empty() && records.iter().all(|own| own["outcome"] == "denied" || own["outcome"] == "failed")
}

fn pages() -> Vec<Route> {
    let others = ["/api/", "/content/", "/healthz", "/readyz", "/metrics"];
    routes().into_iter().filter(|route| !others.iter().any(|other| route.path.starts_with(other))).collect()
}

/// What a form has to say so that it is not refused before anybody asks who sends it.
fn fields(path: &str) -> &'static str {
    match path {
        "/access-tokens" => "name=x&role=viewer",
        "/enrolment" => "displayName=x&uses=&expiresDays=",
        "/environments" => "name=x&rank=1",
        "/groups" => "name=x",
        "/groups/{name}/members" => "add=web-1",
        "/groups/{name}/sources" | "/environments/{name}/sources" => "attach=ours",
        "/vulnerabilities/{id}/except" => "scope=all&until=2999-01-01&reason=x",
        "/exceptions/{id}/edit" => "until=2999-01-01&owner=x&reason=x",
        "/instances/{id}/edit" => "labels=&zone=z",
        _ => "",
    }
}

/// A browser of this router: its cookies.
pub struct Browser {
    pub cookies: String,
    pub csrf: String,
}

/// The session cookie and the CSRF token are taken from what the pages say.
pub async fn sign_in(router: &Router, person: &Person) -> Browser {
    let cookie = |said: &Said| {
        let set: Vec<&str> = said.headers.get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()).collect();
        let kept = set.iter().filter(|c| !c.contains("Max-Age=0")).map(|c| c.split(';').next().unwrap_or_default());
        kept.collect::<Vec<_>>().join("; ")
    };
    let csrf = |said: &Said| {
        let (_, rest) = said.body.split_once(r#"name="csrf" value=""#).unwrap_or_else(|| panic!("no form: {}", said.body));
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    let form = send(router, "GET", "/sign-in", "", "").await;
    let body = format!("csrf={}&token={}&next=/", csrf(&form), person.token);
    let signed = send(router, "POST", "/sign-in", &cookie(&form), &body).await;
    assert_eq!(signed.status, 303, "{signed:?}");
    let cookies = cookie(&signed);
    // Every page has the form that signs out, also one that says no.
    let page = send(router, "GET", "/instances", &cookies, "").await;
    Browser { csrf: csrf(&page), cookies }
}

pub async fn send(router: &Router, method: &str, path: &str, cookies: &str, body: &str) -> Said {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("accept", "text/html")
        .header("cookie", cookies)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()));
    ask(router, request.expect("a request")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_every_page_and_form_leads_to_the_sign_in() {
    let server = TestServer::start().await;
    let router = drydock_server::web::router(server.running.state.clone());
    let pages = pages();
    assert!(pages.len() >= 80, "the scan lost pages: {}", pages.len());
    for page in pages.iter().filter(|p| !OPEN.contains(&p.path.as_str())) {
        let path = page.path.replace(['{', '}'], "");
        for method in METHODS {
            let seen = send(&router, method, &path, "", "csrf=x").await;
            if page.answers(method) {
                assert_eq!(seen.status, 303, "{method} {} answers who is not signed in: {seen:?}", page.path);
                let to = seen.headers.get("location").and_then(|v| v.to_str().ok()).unwrap_or_default();
                assert!(to.starts_with("/sign-in"), "{method} {}: {to}", page.path);
            } else {
                assert_eq!(seen.status, 405, "{method} {}: answered, but {} does not say so: {seen:?}", page.path, page.file);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_pages_and_no_form_does_anything_for_them() {
    assert!(SHOWING_FORMS.len() <= 1 && EMPTY_PAGES.len() <= 3, "lists of exceptions may only shrink");
    let world = World::start().await;
    let router = drydock_server::web::router(world.server.running.state.clone());
    let viewer = sign_in(&router, &world.server.person("viewer").await).await;
    let admin = sign_in(&router, &world.server.admin).await;
    let mut wrong = Vec::new();
    for page in pages().iter().filter(|p| !OPEN.contains(&p.path.as_str()) && !is_own(p)) {
        let path = world.filled(&page.path) + if page.path.ends_with("/diff") { "?from=1&to=1" } else { "" };
        let mut judge = |who: &str, method: &str, seen: &Said, good: bool| {
            if !good {
                wrong.push(format!("{who} {method} {path}: {}", seen.short()));
            }
        };
        if page.answers("GET") {
            let seen = send(&router, "GET", &path, &viewer.cookies, "").await;
            let hidden = HIDDEN_FROM_VIEWERS.contains(&page.path.as_str());
            judge("viewer", "GET", &seen, if hidden { matches!(seen.status.as_u16(), 403 | 404) } else { seen.status == 200 });
            let seen = send(&router, "GET", &path, &admin.cookies, "").await;
            judge("administrator", "GET", &seen, seen.status == 200);
        }
        if page.answers("POST") {
            let forged = send(&router, "POST", &path, &admin.cookies, fields(&page.path)).await;
            judge("administrator without the form's token", "POST", &forged, forged.status == 403);
            let body = format!("{}&csrf={}", fields(&page.path), viewer.csrf);
            let seen = send(&router, "POST", &path, &viewer.cookies, &body).await;
            let refused = matches!(seen.status.as_u16(), 403 | 404) || sent_to_sign_in(&seen);
            judge("viewer", "POST", &seen, refused || SHOWING_FORMS.contains(&page.path.as_str()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_no_statement_gives_anything_sees_no_page_and_no_form_does_anything_for_them() {
    let world = World::start().await;
    let router = drydock_server::web::router(world.server.running.state.clone());
    let nobody = sign_in(&router, &world.server.person("viewer").await).await;
    world.close_for_viewers().await;
    let mut wrong = Vec::new();
    for page in pages().iter().filter(|p| !OPEN.contains(&p.path.as_str()) && !is_own(p)) {
        let path = world.filled(&page.path) + if page.path.ends_with("/diff") { "?from=1&to=1" } else { "" };
        for method in ["GET", "POST"].into_iter().filter(|method| page.answers(method)) {
            let body = format!("{}&csrf={}", fields(&page.path), nobody.csrf);
            let seen = send(&router, method, &path, &nobody.cookies, &body).await;
            let empty = EMPTY_PAGES.contains(&page.path.as_str()) && !seen.body.contains("web-1");
            let back = seen.status == 303 && nothing_done(&world, &path, &seen).await;
            if !sent_to_sign_in(&seen) && !back && !empty && !matches!(seen.status.as_u16(), 403 | 404) {
                wrong.push(format!("{method} {path}: {}", seen.short()));
            }
        }
    }
    assert!(wrong.is_empty(), "somebody without any permission is answered\n{}", wrong.join("\n"));
    let left = ask(
        &router,
        Request::builder()
            .uri("/api/v1/groups")
            .header("authorization", format!("Bearer {}", world.server.admin.token))
            .body(Body::empty())
            .expect("a request"),
    )
    .await;
    assert!(left.body.contains("\"x\""), "the group is still there: {}", left.body);
}
