//! Known answers of the vendor's client, every byte changed, and requests of our own keys.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drydock_control::ApiPublicKey;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use ring::digest::{SHA256, digest};
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::check::{Asked, Head, head};
use super::{Refused, header};

const KNOWN_KEY: &str = include_str!("../../../../control/tests/fixtures/known_key.pem");
const FINGERPRINT: &str = "ee:40:73:78:be:23:50:45:b3:b5:aa:cc:96:8e:02:67";
const READ_SIGNATURE: &str = "EUyewRsYlVxg+y+45cORDpa8v4bQyOHBWqTv8N7SbwW8Jcp4wk7LrCe7uLUoO9csUcEeXG9xFFwEemmGhILyFDG3979+L1S2Lte2XcgRUhm2m0u6lRP13lMXep7Ezow5zRati+3CEVogW9Hh9OCDDQOdCm/2mc5B20ZXDHPzPnCMZVDqMBO+I6DWOkRFsefMlDerT3r9DRec4/tHkyOdheoMRp5/8rHmurh3rGIzuITABpNJYGYHzo3Jj8uid2TDHXVSmHMtOfBMupgvUcvd1nYmDeoapJZevNmafUqX0alq6nvdKtcr0B4IaiHtY2MA5ilpmoQ5l/mAN4IiJZ9JrQ==";
const WRITE_SIGNATURE: &str = "S5oVigHNW0xE//fbdCCAU5kM4ZmUh44Bfys5wswjvkF2xGx1pKnlt3BdE9kqCL8h9eOkG69b2/7e2Nc8fukj61MQ0HPq5gXOiZzyd9edZwL0U33bR+0eujKSd4p/7LstoQQrslroTcB5ivQJd5LV0OMeSk15Jy7JT4WdtyETc/x6JbnCMQkzSaAXCtj4KSheU4WgzeQkQPonWOaS0WyXmknocD/E9BpBZM3G+HfK/duKvIOXqCl5TdR+rWyZi6iNgmByNNeHBpFoJBjJiW41xl4BweTQKMISLV+WtYH62lNLQAshmBpZylEJPfqZsOhEeQ5iGhrkA2nlh+LJIKMhkA==";

/// A key of this run.
static OWN: LazyLock<(KeyPair, ApiPublicKey)> = LazyLock::new(|| {
    let pem = drydock_testkit::keys::rsa_pem(2048).expect("a key");
    let public = drydock_testkit::keys::public_pem(&pem).expect("its public half");
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("PKCS#8");
    let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key");
    (pair, ApiPublicKey::from_pem(&public).expect("a public key"))
});

/// A request as it would come in.
#[derive(Debug, Clone)]
struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    authorization: String,
    body: Vec<u8>,
    version: Version,
}

fn authorization(names: &str, key_id: &str, signature: &str) -> String {
    format!("Signature algorithm=\"rsa-sha256\",headers=\"{names}\",keyId=\"{key_id}\",signature=\"{signature}\",version=\"1\"")
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Vector A: a list, as the vendor's client asked for it.
fn known_read() -> Request {
    Request {
        method: "GET".into(),
        target: "/20190801/managedInstances?compartmentId=ocid1.compartment.oc1..kat".into(),
        headers: pairs(&[("date", "Sun, 22 Nov 2026 14:33:35 GMT"), ("host", "127.0.0.1:18901")]),
        authorization: authorization(
            "date (request-target) host",
            &format!("ocid1.tenancy.oc1..t/ocid1.user.oc1..u/{FINGERPRINT}"),
            READ_SIGNATURE,
        ),
        body: Vec::new(),
        version: Version::HTTP_11,
    }
}

/// Vector B: something made, with a body.
fn known_write() -> Request {
    Request {
        method: "POST".into(),
        target: "/20190801/managedInstanceGroups".into(),
        headers: pairs(&[
            ("date", "Sun, 22 Nov 2026 14:33:36 GMT"),
            ("host", "127.0.0.1:18901"),
            ("content-length", "69"),
            ("content-type", "application/json"),
            ("x-content-sha256", "QbkrKcoqF6qFsWC/ozvaTnlOJTNg0uxS+kaLdSUMbb8="),
        ]),
        authorization: authorization(
            "date (request-target) host content-length content-type x-content-sha256",
            &format!("ocid1.tenancy.oc1..t/ocid1.user.oc1..u/{FINGERPRINT}"),
            WRITE_SIGNATURE,
        ),
        body: br#"{"displayName": "web", "compartmentId": "ocid1.compartment.oc1..kat"}"#.to_vec(),
        version: Version::HTTP_11,
    }
}

fn known_key() -> ApiPublicKey {
    ApiPublicKey::from_pem(KNOWN_KEY).expect("the known key")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// What a server does with a request, apart from remembering it; `None`: it could not even come in.
fn judge(request: &Request, key: &ApiPublicKey, now: Timestamp) -> Option<Result<Head, Refused>> {
    let method = Method::from_bytes(request.method.as_bytes()).ok()?;
    let uri: Uri = request.target.parse().ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    headers.append(AUTHORIZATION, HeaderValue::from_bytes(request.authorization.as_bytes()).ok()?);
    let asked = Asked { method: &method, uri: &uri, version: request.version, headers: &headers };
    let judged = || {
        let signed = header::read(&headers)?;
        let names = ["127.0.0.1".to_owned(), "::1".to_owned(), "*.example".to_owned()];
        let head = head(&signed, &asked, &names, now)?;
        if signed.key_id.fingerprint != key.fingerprint() || !head.made_by(key, &signed.signature) {
            return Err(Refused::NoMatch);
        }
        if !head.body.holds(&request.body) {
            return Err(Refused::Body);
        }
        Ok(head)
    };
    Some(judged())
}

fn refused(request: &Request, now: &str) -> Refused {
    judge(request, &known_key(), at(now)).expect("it comes in").expect_err("it is refused")
}

/// Signs as a client would: independent of the code under test.
fn sign(request: &mut Request, names: &str) {
    let value = |name: &str| request.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
    let lines: Vec<String> = names
        .split(' ')
        .map(|name| match name {
            "(request-target)" => format!("{name}: {} {}", request.method.to_lowercase(), request.target),
            name => format!("{name}: {}", value(name).trim()),
        })
        .collect();
    let pair = &OWN.0;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &ring::rand::SystemRandom::new(), lines.join("\n").as_bytes(), &mut signature).expect("signed");
    let key_id = format!("tenancy/ann/{}", OWN.1.fingerprint());
    request.authorization = authorization(names, &key_id, &STANDARD.encode(signature));
}

fn own_request(method: &str, target: &str, body: &[u8]) -> Request {
    let mut headers = pairs(&[("date", "Sun, 22 Nov 2026 14:33:35 GMT"), ("host", "127.0.0.1:18901")]);
    let mut names = "date (request-target) host".to_owned();
    if matches!(method, "POST" | "PUT" | "PATCH") {
        headers.push(("content-length".into(), body.len().to_string()));
        headers.push(("content-type".into(), "application/json".into()));
        headers.push(("x-content-sha256".into(), STANDARD.encode(digest(&SHA256, body))));
        names.push_str(" content-length content-type x-content-sha256");
    }
    let mut request = Request {
        method: method.into(),
        target: target.into(),
        headers,
        authorization: String::new(),
        body: body.to_vec(),
        version: Version::HTTP_11,
    };
    sign(&mut request, &names);
    request
}

const NOW: &str = "2026-11-22T14:33:40Z";

fn judge_own(request: &Request) -> Result<Head, Refused> {
    judge(request, &OWN.1, at(NOW)).expect("it comes in")
}

#[test]
fn what_the_vendors_client_signed_is_verified() {
    let read = judge(&known_read(), &known_key(), at(NOW)).expect("comes in").expect("verified");
    assert!(!read.is_changing);
    let write = judge(&known_write(), &known_key(), at(NOW)).expect("comes in").expect("verified");
    assert!(write.is_changing);
    assert_eq!(write.good_until, at("2026-11-22T14:38:36Z"));
    let parsed = |r: &Request| {
        header::read(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&r.authorization).expect("a value"))]))
    };
    let key_id = parsed(&known_read()).expect("read").key_id;
    assert_eq!((key_id.tenancy.as_str(), key_id.user.as_str()), ("ocid1.tenancy.oc1..t", "ocid1.user.oc1..u"));
}

#[test]
fn every_changed_byte_is_refused() {
    for request in [known_read(), known_write()] {
        let key = known_key();
        let taken = |changed: &Request| judge(changed, &key, at(NOW)).is_some_and(|r| r.is_ok());
        let mut tried = 0;
        let mut all_bytes = |text: &[u8], put: &dyn Fn(&mut Request, Vec<u8>)| {
            for at in 0..text.len() {
                for bit in [1, 2, 0x20] {
                    let mut bytes = text.to_vec();
                    bytes[at] ^= bit;
                    let mut changed = request.clone();
                    put(&mut changed, bytes);
                    assert!(!taken(&changed), "{changed:?}");
                    tried += 1;
                }
            }
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        all_bytes(request.method.as_bytes(), &|r, bytes| r.method = text(bytes));
        all_bytes(request.target.as_bytes(), &|r, bytes| r.target = text(bytes));
        all_bytes(&request.body, &|r, bytes| r.body = bytes);
        for (index, (_, value)) in request.headers.iter().enumerate() {
            all_bytes(value.as_bytes(), &|r, bytes| r.headers[index].1 = text(bytes));
        }
        let signature = request.authorization.find("signature=\"").expect("a signature") + 11;
        let end = request.authorization.len() - "\",version=\"1\"".len();
        all_bytes(&request.authorization.as_bytes()[signature..end], &|r, bytes| {
            r.authorization.replace_range(signature..end, &text(bytes));
        });
        assert!(tried > 1000, "{tried}");
        assert!(taken(&request));
    }
}

#[test]
fn a_body_cut_or_grown_is_refused() {
    let mut request = known_write();
    request.body.push(b' ');
    assert_eq!(refused(&request, NOW), Refused::Body);
    request.body.truncate(68);
    assert_eq!(refused(&request, NOW), Refused::Body);
    let mut read = known_read();
    read.body = b"{}".to_vec();
    assert_eq!(refused(&read, NOW), Refused::Body);
}

#[test]
fn the_date_must_be_within_five_minutes() {
    let request = known_read();
    let date = at("2026-11-22T14:33:35Z");
    let judged = |away: i64| judge(&request, &known_key(), date + SignedDuration::from_secs(away)).expect("comes in").map(drop);
    for good in [-300, -299, 0, 299, 300] {
        assert_eq!(judged(good), Ok(()), "{good}");
    }
    for bad in [-301, 301, 86_400, -86_400] {
        assert_eq!(judged(bad), Err(Refused::Skew), "{bad}");
    }
    // x-date counts like date, and two dates must both be good.
    let mut request = own_request("GET", "/a", b"");
    request.headers.push(("x-date".into(), "Sun, 22 Nov 2026 14:33:36 GMT".into()));
    sign(&mut request, "x-date (request-target) host");
    judge_own(&request).expect("x-date is enough");
    request.headers[0].1 = "Sun, 22 Nov 2026 14:13:36 GMT".into();
    judge_own(&request).expect("a date that is not signed says nothing");
    sign(&mut request, "x-date date (request-target) host");
    assert_eq!(judge_own(&request), Err(Refused::Skew));
}

#[test]
fn what_must_be_covered_must_be_covered() {
    let all = ["date", "(request-target)", "host", "content-length", "content-type", "x-content-sha256"];
    for method in ["POST", "PUT", "PATCH"] {
        for missing in all {
            let mut request = own_request(method, "/a", b"");
            let names: Vec<&str> = all.into_iter().filter(|name| *name != missing).collect();
            sign(&mut request, &names.join(" "));
            assert_eq!(judge_own(&request), Err(Refused::NotCovered(missing)), "{method}");
            sign(&mut request, &all.join(" "));
            judge_own(&request).expect("with all of them it is taken");
        }
    }
    for missing in ["date", "(request-target)", "host"] {
        let mut request = own_request("DELETE", "/a", b"");
        let names: Vec<&str> = ["date", "(request-target)", "host"].into_iter().filter(|name| *name != missing).collect();
        sign(&mut request, &names.join(" "));
        assert_eq!(judge_own(&request), Err(Refused::NotCovered(missing)));
    }
    let mut request = own_request("POST", "/a", b"{}");
    request.headers.retain(|(name, _)| name != "content-length");
    assert_eq!(judge_own(&request), Err(Refused::Absent("content-length".into())));
    let mut request = own_request("GET", "/a", b"");
    request.headers.push(("date".into(), "Sun, 22 Nov 2026 14:33:35 GMT".into()));
    assert_eq!(judge_own(&request), Err(Refused::Ambiguous("date".into())));
    assert_eq!(judge_own(&own_request("OPTIONS", "/a", b"")), Err(Refused::Method));
}

#[test]
fn the_host_is_this_server_and_named_once() {
    let with_host = |host: &str| {
        let mut request = own_request("GET", "/a", b"");
        request.headers[1].1 = host.to_owned();
        sign(&mut request, "date (request-target) host");
        request
    };
    for ours in ["127.0.0.1:18901", "127.0.0.1", "[::1]:8443", "drydock.example", "DRYDOCK.example:443"] {
        judge_own(&with_host(ours)).expect(ours);
    }
    for other in ["127.0.0.2", "drydock.example.org", "a.b.example", ".example", "", "127.0.0.1.evil.org", "[::2]:1"] {
        assert_eq!(judge_own(&with_host(other)), Err(Refused::Host), "{other}");
    }
    // HTTP/2 names the host beside the target.
    let mut two = own_request("GET", "/a?b=c", b"");
    (two.version, two.target) = (Version::HTTP_2, "https://127.0.0.1:18901/a?b=c".into());
    judge_own(&two).expect("both say the same");
    two.headers.retain(|(name, _)| name != "host");
    judge_own(&two).expect("the target says it");
    two.version = Version::HTTP_11;
    assert_eq!(judge_own(&two), Err(Refused::Target), "an absolute target is nobody's habit but a proxy's");
    let mut twisted = own_request("GET", "/a", b"");
    (twisted.version, twisted.target) = (Version::HTTP_2, "https://[::1]:18901/a".into());
    assert_eq!(judge_own(&twisted), Err(Refused::Target));
}

#[test]
fn the_header_is_read_strictly() {
    let good = known_read().authorization;
    let read = |text: &str| {
        header::read(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(text).expect("a value"))])).map(drop)
    };
    assert_eq!(read(&good), Ok(()));
    assert_eq!(read(&good.replace("\",", "\" ,  ")), Ok(()), "spaces around commas");
    assert_eq!(read(&good.replacen("Signature", "signature", 1)), Ok(()));
    assert_eq!(read(&good.replace(",version=\"1\"", "")), Ok(()));
    for (from, to, why) in [
        ("rsa-sha256", "hmac-sha256", Refused::Algorithm),
        ("rsa-sha256", "RSA-SHA256", Refused::Algorithm),
        ("algorithm=\"rsa-sha256\",", "", Refused::Missing("algorithm")),
        ("algorithm=\"rsa-sha256\"", "algorithm=\"rsa-sha256\",algorithm=\"rsa-sha256\"", Refused::Twice("algorithm")),
        ("version=\"1\"", "version=\"2\"", Refused::Version),
        ("version=\"1\"", "created=\"1\"", Refused::UnknownParameter),
        ("version=\"1\"", "Version=\"1\"", Refused::UnknownParameter),
        ("ocid1.user.oc1..u/", "", Refused::KeyId),
        ("ocid1.user.oc1..u/", "a/b/", Refused::KeyId),
        ("ocid1.user.oc1..u/", "/", Refused::KeyId),
        ("ee:40", "EE:40", Refused::KeyId),
        ("ocid1.tenancy.oc1..t/ocid1.user.oc1..u/", "ST$", Refused::KeyId),
        ("ocid1.user.oc1..u", "a\\\"b", Refused::Malformed("a value holds a backslash")),
        ("date (request-target) host", "date  host", Refused::HeaderList),
        ("date (request-target) host", "date host host", Refused::HeaderList),
        ("date (request-target) host", "Date host", Refused::HeaderList),
        ("date (request-target) host", "", Refused::HeaderList),
        ("date (request-target) host", "date (created)", Refused::HeaderList),
        ("rQ==", "rQ=", Refused::Malformed("the signature is not base64")),
        ("version=\"1\"", "version=\"1", Refused::Malformed("a quote is not closed")),
        ("version=\"1\"", "version=1", Refused::Malformed("a parameter is not name=\"value\"")),
        (",version", ";version", Refused::Malformed("parameters are divided by commas")),
    ] {
        assert_ne!(good, good.replace(from, to), "{from}");
        assert_eq!(read(&good.replace(from, to)), Err(why), "{from} -> {to}");
    }
    assert_eq!(read(&format!("{good},x=\"{}\"", "y".repeat(4096))), Err(Refused::TooLong));
    let many: Vec<String> = (0..17).map(|n| format!("x-{n}")).collect();
    assert_eq!(read(&good.replace("date (request-target) host", &many.join(" "))), Err(Refused::HeaderList));
    let mut two = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&good).expect("a value"))]);
    two.append(AUTHORIZATION, HeaderValue::from_static("Bearer ddt_x"));
    assert!(header::is_signed(&two));
    assert_eq!(header::read(&two), Err(Refused::SeveralAuthorizations));
    assert!(!header::is_signed(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer Signature x"))])));
}

#[test]
fn the_same_request_has_one_name_however_its_header_is_written() {
    let name = |request: &Request| judge_own(request).expect("good").seen_key(&OWN.1);
    let one = own_request("POST", "/a", b"{}");
    let mut again = one.clone();
    again.authorization = again.authorization.replace("\",", "\",  ").replacen("Signature", "SIGNATURE", 1);
    assert_eq!(name(&one), name(&again));
    assert_ne!(name(&one), name(&own_request("POST", "/b", b"{}")));
    assert_ne!(name(&one), name(&own_request("POST", "/a", b"{ }")));
    assert_eq!(name(&one).len(), 64);
}

#[test]
fn another_keys_signature_is_no_match() {
    let mut request = own_request("GET", "/a", b"");
    request.authorization = request.authorization.replace(OWN.1.fingerprint(), FINGERPRINT);
    assert_eq!(refused(&request, NOW), Refused::NoMatch);
}

fn targets() -> impl Strategy<Value = String> {
    "/[a-zA-Z0-9/._~%:@!$&'()*+,;=-]{0,40}(\\?[a-zA-Z0-9/._~%:@!$&'()*+,;=?-]{0,40})?"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is asked, signed as the reference says, is taken, and its target is covered byte for byte.
    #[test]
    fn what_is_signed_is_taken_and_nothing_else(
        method in prop::sample::select(vec!["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"]),
        target in targets(),
        other in targets(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        flip in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let body = if matches!(method, "POST" | "PUT" | "PATCH") { body } else { Vec::new() };
        let request = own_request(method, &target, &body);
        prop_assert!(judge_own(&request).is_ok(), "{request:?}");
        if other != target {
            let moved = Request { target: other, ..request.clone() };
            prop_assert_eq!(judge_own(&moved).map(drop), Err(Refused::NoMatch));
        }
        if !body.is_empty() {
            let mut changed = request.clone();
            changed.body[flip.index(body.len())] ^= 1 << bit;
            prop_assert_eq!(judge_own(&changed).map(drop), Err(Refused::Body));
        }
    }

    /// No header, however odd, does more than being refused.
    #[test]
    fn odd_headers_are_refused(text in "[ -~]{0,300}", tail in "(Signature )?([a-zA-Z]{1,9}=\"[ -~]{0,40}\",?){0,6}") {
        for text in [text, tail] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                let _ = header::read(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
            }
        }
    }
}
