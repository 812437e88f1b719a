use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use drydock_domain::policy::spec::{GcsFile, RemoteFile};

use super::super::evidence::sha256;
use super::super::testing::Bench;
use super::*;

/// Serves these answers, one connection each, and tells what was asked for.
fn serve(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = std::thread::spawn(move || {
        let one = |answer: &str| {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
            let first = lines.next().expect("a line").expect("text");
            for line in lines {
                if line.expect("text").is_empty() {
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).expect("sent");
            first
        };
        answers.into_iter().map(one).collect()
    });
    (address, serving)
}

fn remote(uri: String, sum: &str) -> Source {
    let remote = Some(RemoteFile { uri, sha256_checksum: sum.to_owned() });
    Source::new(&FileSource { remote, allow_insecure: true, ..Default::default() }, "")
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

#[test]
fn a_file_with_a_digest_is_fetched_once_and_another_one_is_refused() {
    let bench = Bench::new();
    let (address, serving) = serve(vec![
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        HELLO,
    ]);
    let source = remote(format!("{address}/file"), &sha256(b"hello").to_uppercase());
    let path = source.fetch(&bench.cx()).expect("fetched");
    assert_eq!(fs::read(&path).expect("read"), b"hello");
    assert_eq!(serving.join().expect("served"), ["GET /file HTTP/1.1", "GET /file HTTP/1.1", "GET /there HTTP/1.1"]);
    // Nobody serves any more.
    assert_eq!(source.fetch(&bench.cx()).expect("kept"), path);

    let (address, serving) = serve(vec![HELLO]);
    let failure = remote(address, &"0".repeat(64)).fetch(&bench.cx()).expect_err("another file");
    assert!(failure.message.contains("nothing of it is used"), "{failure:?}");
    serving.join().expect("served");
}

#[test]
fn a_bucket_is_read_through_the_configured_address() {
    let bench = Bench::new();
    let (address, serving) = serve(vec![HELLO]);
    let gcs = GcsFile { bucket: "b".into(), object: "a dir/x".into(), generation: Some(Generation::Number(7)) };
    let spec = FileSource { gcs: Some(gcs), ..Default::default() };
    let failure = Source::new(&spec, "").validate(&bench.cx()).expect_err("no address");
    assert!(failure.message.contains("gcs_base_url"), "{failure:?}");
    let path = Source::new(&spec, &format!("{address}/")).fetch(&bench.cx()).expect("fetched");
    assert_eq!(fs::read(path).expect("read"), b"hello");
    assert_eq!(serving.join().expect("served"), ["GET /b/a%20dir/x?generation=7 HTTP/1.1"]);
}

#[test]
fn a_refusal_names_the_address_without_its_password() {
    let bench = Bench::new();
    let (address, serving) = serve(vec!["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
    let with_password = address.replace("http://", "http://me:pass@");
    let failure = remote(with_password, "").fetch(&bench.cx()).expect_err("not there");
    assert!(failure.message.contains("HTTP 404") && !failure.message.contains("pass"), "{failure:?}");
    serving.join().expect("served");
}

#[test]
fn without_a_digest_the_last_one_will_do_while_nobody_answers() {
    let bench = Bench::new();
    let (address, serving) = serve(vec![HELLO]);
    let source = remote(address, "");
    let path = source.fetch(&bench.cx()).expect("fetched");
    serving.join().expect("served");
    assert_eq!(source.fetch(&bench.cx()), Ok(path.clone()), "asked a moment ago");
    let old = std::time::SystemTime::now() - 2 * FRESH;
    File::options().write(true).open(&path).and_then(|f| f.set_modified(old)).expect("aged");
    assert_eq!(source.fetch(&bench.cx()), Ok(path));
}
