//! The console in headless Chromium: a job started by keyboard alone, its row changing live, and the phone's layout.

use std::panic::AssertUnwindSafe;

use fantoccini::key::Key;
use futures::FutureExt;
use serde_json::{Value, json};

use crate::chromium::{Chromium, Driver};
use crate::support::{World, finished};

/// With the administrator's token, by keyboard.
pub async fn sign_in(world: &World, browser: &Chromium) {
    browser.client.goto(&format!("https://127.0.0.1:{}/", world.running.addr.port())).await.expect("the page");
    browser.wait_for_text("h1", "Sign in").await;
    browser.tab_to("With an access token").await;
    browser.press(Key::Enter.into()).await;
    browser.tab_to("Access token").await;
    browser.type_text(&world.admin).await;
    browser.press(Key::Enter.into()).await;
    browser.wait_for_text("h1", "Fleet").await;
}

/// Runs the test and closes the browser in any case: a lost session would leave its processes behind.
async fn with(browser: Chromium, test: impl AsyncFnOnce(&Chromium)) {
    let result = AssertUnwindSafe(test(&browser)).catch_unwind().await;
    browser.client.close().await.expect("closed");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_started_by_keyboard_and_watched_live() {
    let Some(driver) = Driver::start().await else { return };
    let world = World::start().await;
    let host = world.host("web-1").await;
    world.host("web-2").await;
    world.host_with("build-7", "eeee", false).await;
    with(driver.browser(1280, 900, false).await, async |browser| {
        sign_in(&world, browser).await;
        browser.wait_for_text(".tiles", "need security updates").await;
        browser.keep_picture("overview").await;

        browser.press(Key::Tab.into()).await;
        assert_eq!(browser.focused().await, "Skip to the content", "the first stop of the keyboard");
        browser.tab_to("Instances").await;
        browser.press(Key::Enter.into()).await;
        browser.wait_for_text("h1", "Instances").await;
        browser.tab_to("Select web-1").await;
        browser.press(' ').await;
        browser.wait_for_text("[data-selected-count]", "1 selected").await;
        browser.keep_picture("instances").await;
        browser.tab_to("Install security updates").await;
        browser.press(Key::Enter.into()).await;
        browser.wait_for_text("h1", "Start a patch job").await;
        browser.tab_to("Name").await;
        browser.type_text("Thursday night").await;
        browser.keep_picture("start").await;
        browser.tab_to("Start patch job").await;
        browser.press(Key::Enter.into()).await;
        browser.wait_for_text("h1", "Thursday night").await;

        browser.js("window.notReloaded = true").await;
        browser.wait_for_text("#live", "Live").await;
        let order = host.pull().await;
        host.report(order.task.task, 1, "APPLYING_PATCHES", json!({"message": "installing 1 package"})).await;
        browser.wait_for_text("tr[data-task]", "APPLYING_PATCHES").await;
        browser.wait_for_text("#announce", "").await;
        browser.tab_to("Report of web-1").await;
        browser.press(Key::Enter.into()).await;
        browser.wait_for_text(".detail-row", "installing 1 package").await;
        host.report(order.task.task, 2, "SUCCEEDED", finished()).await;
        browser.wait_for_text("tr[data-task]", "SUCCEEDED").await;
        let report = browser.wait_for_text(".detail-row", "APPLIED").await;
        assert!(report.contains("3.0.17-1~deb12u2 → 3.0.17-1~deb12u3") && report.contains("held by apt-mark"), "{report}");
        assert_eq!(browser.focused().await, "Report of web-1", "a change of the row takes nobody's focus");
        browser.wait_for_text("#job-summary", "1 of 1 host done").await;
        browser.wait_for_text("[data-job-actions]", "Run again").await;
        assert_eq!(browser.js("return window.notReloaded === true").await, true, "the page was never loaded again");
        browser.keep_picture("job").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_a_phone() {
    let Some(driver) = Driver::start().await else { return };
    let world = World::start().await;
    let host = world.host("web-frontend-1.production.internal.example").await;
    world.host_with("a-clone-with-a-long-name.production.internal.example", "ffff", true).await;
    world.host_with("a-clone-with-a-longer-name.production.internal.example", "ffff", true).await;
    let mut operator = world.admin().await;
    let fields =
        [("target", "all"), ("what", "security"), ("reboot", "NEVER"), ("action", "start"), ("displayName", "Thursday night")];
    let job = operator.post("/patch-jobs", &fields).await.location().to_owned();
    let order = host.pull().await;
    host.report(order.task.task, 1, "FAILED", finished()).await;
    with(driver.browser(360, 780, true).await, async |browser| {
        sign_in(&world, browser).await;
        assert_eq!(browser.js("return window.innerWidth").await, Value::from(360));
        let instance = format!("/instances/{}", host.id);
        let task = format!("{job}/tasks/{}", order.task.task);
        let pages = [
            ("phone-overview", "/"),
            ("phone-instances", "/instances"),
            ("phone-instance", instance.as_str()),
            ("phone-updates", &format!("{instance}/updates")),
            ("phone-history", &format!("{instance}/history")),
            ("phone-packages", &format!("{instance}/packages")),
            ("phone-changes", &format!("{instance}/changes?from=0h")),
            ("phone-modules", &format!("{instance}/modules")),
            ("phone-fleet-packages", "/packages"),
            ("phone-who-had", "/packages/openssl"),
            ("phone-exceptions", "/exceptions"),
            ("phone-deployment-form", "/new-deployment"),
            ("phone-jobs", "/patch-jobs"),
            ("phone-job", job.as_str()),
            ("phone-task", task.as_str()),
            ("phone-start", "/patch-jobs/new?what=all&instance=web-1"),
            ("phone-enrolment", "/enrolment"),
            ("phone-tokens", "/access-tokens"),
            ("phone-audit", "/audit"),
        ];
        for (name, path) in pages {
            browser.client.goto(&format!("https://127.0.0.1:{}{path}", world.running.addr.port())).await.expect("the page");
            browser.assert_fits(path).await;
            browser.keep_picture(name).await;
        }
    })
    .await;
}
