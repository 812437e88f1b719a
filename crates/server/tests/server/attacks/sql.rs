//! SQL in every parameter of every operation: never a failure of the server, never more rows than without.

use crate::guard::{document, world::World};

/// What a query could be talked into.
const INJECTIONS: [&str; 9] = [
    "' OR 1=1 --",
    "' OR '1'='1",
    "\" OR \"\"=\"",
    "1; DROP TABLE instances; --",
    "' UNION SELECT secret_sha256 FROM access_tokens --",
    "%' OR name LIKE '%",
    "\\'; --",
    "name = \"' OR 1=1 --\"",
    "0 OR 1=1",
];

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// Rows of a list.
fn rows(body: &serde_json::Value) -> usize {
    body["items"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parameter_reaches_the_database_as_sql() {
    let world = World::start().await;
    let admin = &world.server.admin;
    let mut tried = 0;
    for operation in document::operations().iter().filter(|o| o.method == "GET" && o.id != "followPatchJob") {
        let path = world.filled(&operation.path);
        let path = path.strip_prefix("/api/v1").expect("under it");
        let all = rows(&admin.get(path).await.body);
        let parameters = operation.value["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|p| p["in"] == "query") {
            let name = parameter["name"].as_str().expect("a name");
            for injection in INJECTIONS {
                let said = admin.get(&format!("{path}?{name}={}", encoded(injection))).await;
                tried += 1;
                assert!(matches!(said.status, 200 | 400 | 404 | 409), "{} {name}={injection}: {said:?}", operation.id);
                if said.status == 200 {
                    assert!(rows(&said.body) <= all, "{} {name}={injection}: more rows than without: {said:?}", operation.id);
                }
            }
        }
    }
    assert!(tried >= 500, "the document lost parameters: {tried}");
    assert_eq!(rows(&admin.get("/instances").await.body), 1, "the table is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_in_a_path_reaches_the_database_as_sql() {
    let world = World::start().await;
    let admin = &world.server.admin;
    for operation in document::operations().iter().filter(|o| o.method != "POST" && o.path.contains('{')) {
        for injection in INJECTIONS {
            let parts = operation.path.split('/').map(|part| match part.strip_prefix('{').and_then(|p| p.split_once('}')) {
                Some((_, verb)) => format!("{}{verb}", encoded(injection)),
                None => part.to_owned(),
            });
            let path = parts.collect::<Vec<_>>().join("/");
            let path = path.strip_prefix("/api/v1").expect("under it");
            let said = crate::support::answer(admin.request(&operation.method, path).json(&serde_json::json!({}))).await;
            // 200: a package of that name has been on no host; nothing changes.
            let nothing = said.status == 200 && rows(&said.body) == 0 && operation.method == "GET";
            assert!(nothing || (400..500).contains(&said.status), "{} {injection}: {said:?}", operation.id);
        }
    }
    for (path, least) in [("/instances", 1), ("/groups", 1), ("/sources", 1), ("/deployments", 1), ("/environments", 1)] {
        assert!(rows(&admin.get(path).await.body) >= least, "{path} lost its rows");
    }
}
