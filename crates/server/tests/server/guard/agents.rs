//! The agent protocol: no call without a certificate of an instance that may speak.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use drydock_server::listener::Peer;
use drydock_server::pki::PeerCertificate;
use http::Request;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::ask;
use crate::support::{Agent, TestServer, answer};

/// The protocol as it is written.
const PROTO: &str = include_str!("../../../../api/proto/agent.proto");
/// gRPC's numbers.
const UNAUTHENTICATED: &str = "16";
const PERMISSION_DENIED: &str = "7";
/// The call for hosts without a certificate; its token is checked by the operation. This list may only shrink.
const OPEN_CALLS: [&str; 1] = ["Enrol"];

fn calls() -> Vec<&'static str> {
    PROTO.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next()).collect()
}

/// The status of one call with an empty message.
async fn status(router: &Router, call: &str, certificate: Option<&str>) -> String {
    let certificate = certificate.map(|pem| {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        Arc::new(PeerCertificate::from_der(&der))
    });
    let mut request = Request::builder()
        .method("POST")
        .uri(format!("{}{call}", drydock_server::request::AGENT_PATH))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from(vec![0; 5]))
        .expect("a request");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    request.extensions_mut().insert(Peer { address, certificate });
    let said = ask(router, request).await;
    said.headers.get("grpc-status").and_then(|v| v.to_str().ok()).unwrap_or("0").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_asks_for_the_certificate_of_an_instance_that_may_speak() {
    assert!(OPEN_CALLS.len() <= 1, "OPEN_CALLS may only shrink");
    let calls = calls();
    assert!(calls.len() >= 14, "the scan lost calls: {calls:?}");
    let server = TestServer::start().await;
    let router = drydock_server::web::router(server.running.state.clone());
    let good = server.agent("web-1").await;
    let revoked = server.agent("web-2").await;
    let gone = server.agent("web-3").await;
    for (agent, method, verb) in [(&revoked, "POST", ":revoke"), (&gone, "DELETE", "")] {
        let done = answer(server.admin.request(method, &format!("/instances/{}{verb}", agent.instance))).await;
        assert!(matches!(done.status, 200 | 204), "{done:?}");
    }
    for call in &calls {
        if !OPEN_CALLS.contains(call) {
            assert_eq!(status(&router, call, None).await, UNAUTHENTICATED, "{call} without a certificate");
            for agent in [&revoked, &gone] {
                let seen = status(&router, call, Some(&agent.certificate_pem)).await;
                assert!([UNAUTHENTICATED, PERMISSION_DENIED].contains(&seen.as_str()), "{call} of {}: {seen}", agent.os.hostname);
            }
            let seen = status(&router, call, Some(&good.certificate_pem)).await;
            assert!(![UNAUTHENTICATED, PERMISSION_DENIED].contains(&seen.as_str()), "{call} of a good host: {seen}");
        }
        if *call == "Unregister" {
            break;
        }
    }
    assert_eq!(calls.last(), Some(&"Unregister"), "it ends what the test speaks with, so it is the last");
    let nothing = Agent::new(server.running.addr, &server.running.ca_pem, "web-4").enrol("dde_wrong").await;
    assert_eq!(nothing.expect_err("no token").code(), tonic::Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_exists_that_the_protocol_does_not_name_and_each_has_a_metric_of_its_own() {
    let server = TestServer::start().await;
    let router = drydock_server::web::router(server.running.state.clone());
    let good = server.agent("web-1").await;
    let unimplemented = status(&router, "NoSuchCall", Some(&good.certificate_pem)).await;
    assert_eq!(unimplemented, "12", "a call that is not there");
    for call in calls().into_iter().filter(|c| *c != "Unregister") {
        status(&router, call, Some(&good.certificate_pem)).await;
    }
    let metrics = server.admin.client.get(format!("{}/metrics", server.admin.base)).bearer_auth(&server.admin.token);
    let text = metrics.send().await.expect("an answer").text().await.expect("text");
    for call in calls().into_iter().filter(|c| *c != "Unregister") {
        assert!(text.contains(&format!("AgentLink/{call}\"")), "{call} has no label: add it to AGENT_CALLS\n{text}");
    }
}
