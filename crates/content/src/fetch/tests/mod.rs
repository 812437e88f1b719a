//! Fetching from servers that misbehave in every way they can.

pub(crate) mod hostile;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use hostile::{Hostile, answer, cut, file};

/// Short times, so that a test of a slow server is quick.
fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        idle: Duration::from_millis(400),
        window: Duration::from_millis(300),
        rate_min: 10 * 1024,
        get_total: Duration::from_secs(5),
        download_total: Duration::from_secs(20),
        pause: Duration::from_millis(1),
    }
}

fn access(urls: &[String]) -> UpstreamAccess {
    UpstreamAccess { urls: urls.to_vec(), ..UpstreamAccess::default() }
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap() }
    }

    fn fetcher(&self, urls: &[String]) -> Fetcher {
        Fetcher::with_limits(&access(urls), self.dir.path(), limits()).unwrap()
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn content() -> Vec<u8> {
    (0..2_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn expect(bytes: &[u8]) -> Expect {
    Expect { size: Some(bytes.len() as u64), max_size: 1 << 30, digests: vec![Sha256::of(bytes).digest()] }
}

async fn get(fetcher: &Fetcher) -> Result<Vec<u8>, FetchError> {
    match fetcher.get("a/b.xml", 1000, None).await? {
        Fetched::Body { bytes, .. } => Ok(bytes),
        Fetched::NotModified => panic!("nothing was conditional"),
    }
}

#[tokio::test]
async fn a_file_is_downloaded_and_appears_only_whole() {
    let bench = Bench::new();
    let body = content();
    let server = Hostile::start({
        let body = body.clone();
        move |_, request, wire| file(wire, request, &body)
    });
    let fetcher = bench.fetcher(&[server.url()]);
    let done = fetcher.download("p/a+b 1.rpm", &expect(&body), &bench.to()).await.unwrap();
    assert_eq!((done.sha256, done.size), (Sha256::of(&body), body.len() as u64));
    assert_eq!(std::fs::read(bench.to()).unwrap(), body);
    assert_eq!(bench.names(), ["target"], "nothing else is left");
    assert_eq!(server.requests()[0].target, "/repo/p/a%2Bb%201.rpm");
    assert!(fetcher.findings().is_empty());
    assert!(fetcher.download("../x", &expect(&body), &bench.to()).await.is_err());
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let bench = Bench::new();
    let body = content();
    let server = Hostile::start({
        let body = body.clone();
        move |number, request, wire| match number {
            0 => cut(wire, &body, 700_000),
            _ => file(wire, request, &body),
        }
    });
    let fetcher = bench.fetcher(&[server.url()]);
    fetcher.download("a.rpm", &expect(&body), &bench.to()).await.unwrap();
    assert_eq!(std::fs::read(bench.to()).unwrap(), body);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].range(), Some(700_000));
    assert_eq!(requests[1].header("if-range").as_deref(), Some("\"v1\""));
}

/// A server stopped in the middle of a download leaves a partial file that the next process goes on with.
#[tokio::test]
async fn a_download_is_taken_up_by_another_process() {
    let bench = Bench::new();
    let body = content();
    let healed = Arc::new(AtomicBool::new(false));
    let server = Hostile::start({
        let (body, healed) = (body.clone(), Arc::clone(&healed));
        move |number, request, wire| match (number, healed.load(Ordering::SeqCst)) {
            (0, _) => cut(wire, &body, 600_000),
            (_, false) => answer(wire, "403 Forbidden", &[], b""),
            (_, true) => file(wire, request, &body),
        }
    });
    let error = bench.fetcher(&[server.url()]).download("a.rpm", &expect(&body), &bench.to()).await.unwrap_err();
    assert!(error.to_string().contains("HTTP 403 Forbidden; check the client certificate"), "{error}");
    assert_eq!(bench.names(), [format!("partial-sha256-{}", Sha256::of(&body))]);
    healed.store(true, Ordering::SeqCst);
    bench.fetcher(&[server.url()]).download("a.rpm", &expect(&body), &bench.to()).await.unwrap();
    assert_eq!(server.requests().last().unwrap().range(), Some(600_000));
    assert_eq!(std::fs::read(bench.to()).unwrap(), body);
    assert_eq!(bench.names(), ["target"]);
}

#[tokio::test]
async fn servers_that_mishandle_ranges_do_no_harm() {
    let body = content();
    for (name, range_answer) in [("ignores", 200u16), ("refuses", 416), ("another range", 206), ("no range given", 999)] {
        let bench = Bench::new();
        let server = Hostile::start({
            let body = body.clone();
            move |number, request, wire| match (number, range_answer, request.range()) {
                (0, _, _) => cut(wire, &body, 500_000),
                (_, 416, Some(_)) => answer(wire, "416 Range Not Satisfiable", &[], b""),
                (_, 206, Some(_)) => {
                    answer(wire, "206 Partial Content", &[("Content-Range", "bytes 5-9/2000000")], &body[5..10]);
                }
                (_, 999, Some(_)) => answer(wire, "206 Partial Content", &[], &body[5..10]),
                _ => answer(wire, "200 OK", &[], &body),
            }
        });
        let fetcher = bench.fetcher(&[server.url()]);
        let result = fetcher.download("a.rpm", &expect(&body), &bench.to()).await;
        assert!(result.is_ok(), "{name}: {result:?}");
        assert_eq!(std::fs::read(bench.to()).unwrap(), body, "{name}");
    }
}

/// What a partial file holds is decided by the checksum, not by its name.
#[tokio::test]
async fn a_false_partial_file_is_begun_anew() {
    let body = content();
    for false_part in [vec![7; 300_000], vec![7; body.len()], vec![7; body.len() + 10]] {
        let bench = Bench::new();
        let server = Hostile::start({
            let body = body.clone();
            move |_, request, wire| file(wire, request, &body)
        });
        std::fs::write(bench.dir.path().join(format!("partial-{}", Sha256::of(&body).digest())), &false_part).unwrap();
        bench.fetcher(&[server.url()]).download("a.rpm", &expect(&body), &bench.to()).await.unwrap();
        assert_eq!(std::fs::read(bench.to()).unwrap(), body);
    }
}

#[tokio::test]
async fn another_mirror_is_asked_and_the_bad_one_noted() {
    let body = content();
    let mut tampered = body.clone();
    tampered[1_999_999] ^= 1;
    let good = body.clone();
    let good = Hostile::start(move |_, request, wire| file(wire, request, &good));
    for (bad_body, word) in [(tampered, "checksum"), (body[..1000].to_vec(), "bytes long"), (b"".to_vec(), "bytes long")] {
        let bench = Bench::new();
        let bad = Hostile::start(move |_, request, wire| file(wire, request, &bad_body));
        let fetcher = bench.fetcher(&[bad.url(), good.url()]);
        fetcher.download("a.rpm", &expect(&body), &bench.to()).await.unwrap();
        assert_eq!(std::fs::read(bench.to()).unwrap(), body);
        let findings = fetcher.findings();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].message.contains(word), "{findings:?}");
        assert!(findings[0].subject.contains(&bad.address.port().to_string()), "{findings:?}");
        // The mirror that failed is not asked first again.
        std::fs::remove_file(bench.to()).unwrap();
        fetcher.download("b.rpm", &expect(&body), &bench.to()).await.unwrap();
        assert_eq!(bad.requests().len(), 1);
        let error = bench.fetcher(&[bad.url()]).download("a.rpm", &expect(&body), &bench.dir.path().join("x")).await;
        assert!(error.as_ref().unwrap_err().is_mismatch(), "{error:?}");
        assert!(!bench.dir.path().join("x").exists());
    }
}

#[tokio::test]
async fn endless_and_oversized_bodies_are_stopped() {
    let endless = Hostile::start(|_, _, wire| {
        let _ = wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while wire
            .write_all(b"400\r\n")
            .and_then(|()| wire.write_all(&[b'x'; 1024]))
            .and_then(|()| wire.write_all(b"\r\n"))
            .is_ok()
        {}
    });
    let bench = Bench::new();
    let fetcher = bench.fetcher(&[endless.url()]);
    let error = get(&fetcher).await.unwrap_err();
    assert!(error.to_string().contains("larger than 1000 bytes"), "{error}");
    let error = fetcher.download("a", &expect(b"xxxx"), &bench.to()).await.unwrap_err();
    assert!(error.is_mismatch(), "{error}");
    let open_end = Expect { size: None, max_size: 100_000, digests: Vec::new() };
    let error = fetcher.download("a", &open_end, &bench.to()).await.unwrap_err();
    assert!(error.to_string().contains("larger than 100000 bytes"), "{error}");
    assert!(bench.names().is_empty(), "{:?}", bench.names());
    let announced = Hostile::start(|_, _, wire| {
        let _ = wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nxx");
    });
    let error = get(&bench.fetcher(&[announced.url()])).await.unwrap_err();
    assert!(error.to_string().contains("larger than 1000 bytes"), "{error}");
}

#[tokio::test]
async fn silent_and_slow_servers_are_given_up() {
    let bench = Bench::new();
    let silent = Hostile::start(|_, _, _| std::thread::sleep(Duration::from_secs(4)));
    let mut quick = limits();
    quick.connect = Duration::from_millis(100);
    let fetcher = Fetcher::with_limits(&access(&[silent.url()]), bench.dir.path(), quick).unwrap();
    let error = get(&fetcher).await.unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
    let stops = Hostile::start(|_, _, wire| {
        let _ = wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx");
        let _ = wire.flush();
        std::thread::sleep(Duration::from_secs(4));
    });
    let error = get(&bench.fetcher(&[stops.url()])).await.unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
    let slow = Hostile::start(|_, _, wire| {
        let _ = wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while wire.write_all(b"x").and_then(|()| wire.flush()).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let error = get(&bench.fetcher(&[slow.url()])).await.unwrap_err();
    assert!(error.to_string().contains("less than 10240 bytes a second"), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_within_bounds() {
    let bench = Bench::new();
    let server = Hostile::start(|_, request, wire| {
        let step: usize = request.target.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        match (request.target.as_str(), step) {
            (_, 5) => answer(wire, "200 OK", &[], b"there"),
            ("/repo/loop", _) => answer(wire, "302 Found", &[("Location", "loop")], b""),
            ("/repo/file", _) => answer(wire, "302 Found", &[("Location", "file:///etc/passwd")], b""),
            ("/repo/none", _) => answer(wire, "302 Found", &[], b""),
            ("/repo/cloud", _) => answer(wire, "302 Found", &[("Location", "http://169.254.169.254/opc/v2/")], b""),
            ("/repo/hidden", _) => answer(wire, "302 Found", &[("Location", "http://[::ffff:a9fe:a9fe]/")], b""),
            ("/repo/six", _) => answer(wire, "302 Found", &[("Location", "http://[fe80::1]/")], b""),
            ("/repo/number", _) => answer(wire, "302 Found", &[("Location", "http://2852039166/")], b""),
            (_, n) => answer(wire, "307 Temporary Redirect", &[("Location", &format!("/steps/{}", n + 1))], b""),
        }
    });
    let fetcher = bench.fetcher(&[server.url()]);
    assert_eq!(get(&fetcher).await.unwrap(), b"there", "five redirects are followed");
    let local = "link-local";
    for (path, why) in [
        ("loop", "more than 5 redirects"),
        ("file", "only http and https"),
        ("none", "without a usable Location"),
        ("cloud", local),
        ("hidden", local),
        ("six", local),
        ("number", local),
    ] {
        let error = fetcher.get(path, 100, None).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn an_unchanged_file_is_not_sent_again() {
    let bench = Bench::new();
    let server = Hostile::start(|_, request, wire| {
        let same = request.header("if-none-match").as_deref() == Some("\"v1\"")
            && request.header("if-modified-since").as_deref() == Some("Mon, 02 Jan 2023 00:00:00 GMT");
        let headers = [("ETag", "\"v1\""), ("Last-Modified", "Mon, 02 Jan 2023 00:00:00 GMT")];
        answer(wire, if same { "304 Not Modified" } else { "200 OK" }, &headers, if same { b"" } else { b"new" });
    });
    let fetcher = bench.fetcher(&[server.url()]);
    let Fetched::Body { bytes, validators, url } = fetcher.get("x", 100, None).await.unwrap() else { panic!("a body") };
    assert_eq!((bytes.as_slice(), url), (&b"new"[..], format!("{}x", server.url())));
    assert_eq!(fetcher.get("x", 100, Some(&validators)).await.unwrap(), Fetched::NotModified);
    let json = serde_json::to_string(&validators).unwrap();
    assert_eq!(serde_json::from_str::<Validators>(&json).unwrap(), validators);
    let liar = Hostile::start(|_, _, wire| answer(wire, "304 Not Modified", &[], b""));
    assert!(bench.fetcher(&[liar.url()]).get("x", 100, None).await.is_err(), "nobody asked for a condition");
}

#[tokio::test]
async fn a_missing_file_is_told_from_a_failing_upstream() {
    let bench = Bench::new();
    let missing = Hostile::start(|_, _, wire| answer(wire, "404 Not Found", &[], b"<html>"));
    let failing = Hostile::start(|_, _, wire| answer(wire, "503 Busy", &[], b""));
    let good = Hostile::start(|_, _, wire| answer(wire, "200 OK", &[], b"good"));
    let passing = Hostile::start(|number, _, wire| match number {
        0 | 1 => answer(wire, "503 Busy", &[], b""),
        _ => answer(wire, "200 OK", &[], b"late"),
    });
    let error = get(&bench.fetcher(&[missing.url(), missing.url()])).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let error = get(&bench.fetcher(&[missing.url(), failing.url()])).await.unwrap_err();
    assert!(!error.is_not_found() && error.to_string().contains("HTTP 503"), "{error}");
    assert!(error.to_string().contains("HTTP 404"), "every mirror's answer is told: {error}");
    assert_eq!(failing.requests().len(), ROUNDS_MAX as usize);
    let fetcher = bench.fetcher(&[missing.url(), good.url()]);
    assert_eq!(get(&fetcher).await.unwrap(), b"good");
    assert!(fetcher.findings().is_empty(), "a mirror that lacks a file is no finding");
    assert_eq!(get(&bench.fetcher(&[passing.url()])).await.unwrap(), b"late");
}

#[tokio::test]
async fn credentials_reach_the_server_and_no_message() {
    let bench = Bench::new();
    let server = Hostile::start(|_, _, wire| answer(wire, "401 Unauthorized", &[], b""));
    let url = server.url().replace("://", "://user:hunter2@");
    let fetcher = bench.fetcher(std::slice::from_ref(&url));
    let error = get(&fetcher).await.unwrap_err();
    assert!(server.requests()[0].header("authorization").unwrap().starts_with("Basic "));
    let proxied = UpstreamAccess {
        urls: vec!["http://upstream.invalid/repo/?token=hunter2".to_owned()],
        proxy: Some(Secret::new(url.trim_end_matches("/repo/"))),
        ..UpstreamAccess::default()
    };
    let through = Fetcher::with_limits(&proxied, bench.dir.path(), limits()).unwrap();
    let second = get(&through).await.unwrap_err();
    let last = server.requests().last().unwrap().clone();
    assert!(last.target.starts_with("http://upstream.invalid/repo/a/b.xml"), "{last:?}");
    assert!(last.header("proxy-authorization").unwrap().starts_with("Basic "));
    let dead = UpstreamAccess { proxy: Some(Secret::new("http://user:hunter2@127.0.0.1:9")), ..proxied.clone() };
    let third = get(&Fetcher::with_limits(&dead, bench.dir.path(), limits()).unwrap()).await.unwrap_err();
    let broken = UpstreamAccess { proxy: Some(Secret::new("ftp://u:hunter2@x")), ..proxied.clone() };
    let fourth = Fetcher::new(&broken, bench.dir.path()).err().unwrap();
    let bad_url = access(&["htp://u:hunter2@x".to_owned()]);
    let fifth = Fetcher::new(&bad_url, bench.dir.path()).err().unwrap();
    for shown in [error, second, third, fourth, fifth].map(|e| format!("{e} {e:?}")) {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let shown = format!("{proxied:?} {:?} {:?}", fetcher.findings(), fetcher.base_url().await);
    assert!(!shown.replace("?token=hunter2", "").contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_mirror_list_and_a_metalink_give_mirrors() {
    let bench = Bench::new();
    let good = Hostile::start(|_, _, wire| answer(wire, "200 OK", &[], b"hello"));
    let stale = Hostile::start(|_, _, wire| answer(wire, "200 OK", &[], b"old"));
    let metalink = format!(
        r#"<metalink><files><file name="repomd.xml"><verification><hash type="sha256">{}</hash></verification><resources>
        <url preference="100">{}repodata/repomd.xml</url><url preference="90">{}repodata/repomd.xml</url>
        </resources></file></files></metalink>"#,
        Sha256::of(b"hello"),
        stale.url(),
        good.url()
    );
    let list = format!("# mirrors\n{}\n", good.url());
    let lists = Hostile::start(move |_, request, wire| match request.target.as_str() {
        "/repo/list" => answer(wire, "200 OK", &[], list.as_bytes()),
        "/repo/metalink" => answer(wire, "200 OK", &[], metalink.as_bytes()),
        _ => answer(wire, "200 OK", &[], b"<html>welcome</html>"),
    });
    let with = |mirrorlist: Option<&str>, metalink: Option<&str>| {
        let url = |name: &str| format!("{}{name}", lists.url());
        let access = UpstreamAccess { mirrorlist: mirrorlist.map(url), metalink: metalink.map(url), ..UpstreamAccess::default() };
        Fetcher::with_limits(&access, bench.dir.path(), limits()).unwrap()
    };
    let fetcher = with(Some("list"), None);
    assert_eq!(fetcher.base_url().await.unwrap(), good.url());
    assert_eq!(get(&fetcher).await.unwrap(), b"hello");
    // The metalink says which repomd.xml is current: a mirror with another one is behind.
    let fetcher = with(None, Some("metalink"));
    let Fetched::Body { bytes, .. } = fetcher.get("repodata/repomd.xml", 100, None).await.unwrap() else { panic!("a body") };
    assert_eq!(bytes, b"hello");
    assert!(fetcher.findings()[0].message.contains("not the announced file"), "{:?}", fetcher.findings());
    let fetcher = with(Some("list"), Some("broken"));
    assert_eq!(get(&fetcher).await.unwrap(), b"hello", "the mirror list stands in for the metalink");
    let error = get(&with(Some("broken"), None)).await.unwrap_err();
    assert!(error.to_string().contains("names no http or https mirror"), "{error}");
}

/// Two who want one file at once each get it; neither writes into the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_downloads_of_one_file_do_not_meet() {
    let bench = Bench::new();
    let body = content();
    let server = Hostile::start({
        let body = body.clone();
        move |_, request, wire| file(wire, request, &body)
    });
    let fetcher = bench.fetcher(&[server.url()]);
    let wanted = expect(&body);
    let targets: Vec<PathBuf> = (0..6).map(|i| bench.dir.path().join(format!("t{i}"))).collect();
    let all = targets.iter().map(|to| fetcher.download("a.rpm", &wanted, to));
    for done in futures::future::join_all(all).await {
        done.unwrap();
    }
    for to in &targets {
        assert_eq!(std::fs::read(to).unwrap(), body);
    }
    assert_eq!(bench.names().len(), targets.len());
}

#[tokio::test]
async fn a_download_given_up_leaves_no_target() {
    let bench = Bench::new();
    let body = content();
    let server = Hostile::start({
        let body = body.clone();
        move |_, _, wire| {
            cut(wire, &body, 1_000_000);
            let _ = wire.flush();
            std::thread::sleep(Duration::from_secs(2));
        }
    });
    let fetcher = bench.fetcher(&[server.url()]);
    let (wanted, to) = (expect(&body), bench.to());
    let given_up = tokio::time::timeout(Duration::from_millis(200), fetcher.download("a.rpm", &wanted, &to)).await;
    assert!(given_up.is_err());
    assert!(!to.exists());
    assert!(bench.names().iter().all(|name| name.starts_with("partial-")), "{:?}", bench.names());
}

/// What cannot be written is the disk's fault, and no other mirror is asked.
#[tokio::test]
async fn a_target_that_cannot_be_written_ends_the_fetch() {
    let bench = Bench::new();
    let body = content();
    let server = Hostile::start({
        let body = body.clone();
        move |_, request, wire| file(wire, request, &body)
    });
    let to = bench.dir.path().join("no/such/directory");
    let error = bench.fetcher(&[server.url()]).download("a.rpm", &expect(&body), &to).await.unwrap_err();
    assert!(matches!(error, FetchError::Local(_)), "{error}");
    assert_eq!(server.requests().len(), 1);
}
