//! Real metadata with seeded damage through every parser: they end, and refuse or accept. What our XML reader accepts,
//! the reader of package managers' own languages accepts as well.

use std::io::Write as _;
use std::process::{Command, Stdio};

use drydock_content::fuzz;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::upstream::{Pkg, Repo};

/// Mutations of each text.
const ROUNDS: usize = 1500;

fn texts() -> Vec<Vec<u8>> {
    let repo = Repo::of(&[Pkg::new("bash", "5.1"), Pkg::new("zsh", "5.9")]);
    let mut texts: Vec<Vec<u8>> = ["primary", "filelists", "other"].map(|kind| repo.text(kind).into_bytes()).into();
    texts.push(repo.files()["repodata/repomd.xml"].clone());
    texts.push(b"<updates><update type='x'><id>A</id><issued date='2026-01-01'/><pkglist><collection><package name='a' version='1'/></collection></pkglist></update></updates>".to_vec());
    texts.push(
        b"---\ndocument: modulemd\ndata:\n  name: m\n  stream: 1\n  artifacts:\n    rpms: [a-0:1-1.noarch]\n...\n".to_vec(),
    );
    texts
}

/// Some bytes changed, doubled, cut or replaced by what parsers trip over.
fn mutate(text: &[u8], rng: &mut StdRng) -> Vec<u8> {
    const TRIPS: [&[u8]; 14] =
        [b"<", b">", b"&", b"\"", b"'", b"</", b"/>", b"<!--", b"]]>", b"<![CDATA[", b"&#x0;", b"\0", b"\xff\xfe", b"<?"];
    let mut text = text.to_vec();
    for _ in 0..rng.gen_range(1..5) {
        let at = rng.gen_range(0..=text.len());
        let end = (at + rng.gen_range(0..20)).min(text.len());
        match rng.gen_range(0..5) {
            0 => {
                text.drain(at..end);
            }
            1 => {
                let copy = text[at..end].to_vec();
                text.splice(at..at, copy);
            }
            2 => {
                let trip = TRIPS[rng.gen_range(0..TRIPS.len())];
                text.splice(at..at, trip.iter().copied());
            }
            3 if at < text.len() => text[at] = rng.r#gen(),
            _ => text.truncate(at.max(text.len() / 2)),
        }
    }
    text
}

#[test]
fn damage_never_gets_beyond_a_refusal() {
    let mut rng = StdRng::seed_from_u64(5);
    for text in texts() {
        fuzz::rpm(&text);
        for _ in 0..ROUNDS {
            fuzz::rpm(&mutate(&text, &mut rng));
        }
    }
}

#[test]
fn what_is_accepted_is_xml_for_others() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut accepted = Vec::new();
    for text in texts() {
        for _ in 0..ROUNDS {
            accepted.extend(fuzz::rpm_accepted(&mutate(&text, &mut rng)));
        }
    }
    assert!(accepted.len() > 1000, "{}", accepted.len());
    let script = "import sys, xml.parsers.expat\n\
                  for line in sys.stdin:\n\
                  \x20 text = bytes.fromhex(line.strip())\n\
                  \x20 try: xml.parsers.expat.ParserCreate().Parse(text, True)\n\
                  \x20 except Exception as e: print(e, text); sys.exit(1)\n";
    let spawned = Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: python3 is not installed");
        return;
    };
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for text in accepted {
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            if writeln!(input, "{hex}").is_err() {
                return;
            }
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
