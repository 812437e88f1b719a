//! Paths and file names that lead out of where they belong. They go over a raw connection: clients would tidy them up.

use super::{head, raw, statuses};
use crate::support::{TestServer, answer};

/// Ways to write `../../etc/passwd` and the like.
const OUTWARDS: [&str; 14] = [
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%252e%252e%252f%252e%252e%252fetc%252fpasswd",
    "..\\..\\..\\etc\\passwd",
    "..%5c..%5c..%5cetc%5cpasswd",
    "%c0%ae%c0%ae%c0%af%c0%ae%c0%ae%c0%afetc%c0%afpasswd",
    "....//....//....//etc/passwd",
    "%00",
    "a%00/../../../etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "file:%2f%2f%2fetc%2fpasswd",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_content_assets_and_the_api() {
    let server = TestServer::start().await;
    let made = server.admin.post("/sources", serde_json::json!({"name": "ours", "format": "deb", "origin": {"local": {}}})).await;
    assert_eq!(made.status, 201, "{made:?}");
    for place in [
        "/content/latest/ours/",
        "/content/latest/",
        "/content/",
        "/assets/",
        "/api/v1/sources/",
        "/api/v1/sources/ours/snapshots/",
        "/api/v1/instances/",
        "/api/v1/groups/",
        "/api/v1/patch-jobs/",
        "/api/v1/policy-assignments/",
        "/api/v1/secrets/",
        "/instances/",
        "/policies/",
        "/",
    ] {
        for outwards in OUTWARDS {
            let request =
                format!("{}Accept: text/html\r\nConnection: close\r\n\r\n", head(&server, &format!("GET {place}{outwards}")));
            let said = raw(&server, request.as_bytes()).await;
            let statuses = statuses(&said);
            assert_eq!(statuses.len(), 1, "GET {place}{outwards}: {said}");
            // 303: the console asks who we are before it looks.
            let good = (400..500).contains(&statuses[0]) || statuses[0] == 303;
            assert!(good, "GET {place}{outwards}: {said}");
            assert!(!said.contains("root:x:0"), "GET {place}{outwards}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_uploaded_name_leads_out_of_the_staging_directory() {
    let server = TestServer::start().await;
    let made = server.admin.post("/sources", serde_json::json!({"name": "ours", "format": "deb", "origin": {"local": {}}})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let data = server.running.state.settings.data_dir.clone();
    for name in
        OUTWARDS.iter().chain(&["a%0a.deb", "%2e%2e", ".", "..", "", "a%2f.deb", "a%5c.deb", "-rf.deb%00.rpm", "a.deb%20/..%2f"])
    {
        let upload = server.admin.request("POST", &format!("/sources/ours/packages?fileName={name}")).body("not a package");
        let said = answer(upload).await;
        assert!((400..500).contains(&said.status), "{name}: {said:?}");
        for stray in ["passwd", "etc", "a.deb"] {
            assert!(!data.join(stray).exists() && !data.join("content").join(stray).exists(), "{name} made {stray}");
        }
    }
    let staged = std::fs::read_dir(server.running.state.settings.content_dir.join("staging")).expect("read").count();
    assert_eq!(staged, 0, "what was refused is gone");
}
