//! The parsers of hostile input under seeded damage, for as long as one likes.
//!
//! `content-fuzz TARGET SECONDS [SEED]` with TARGET rpm, deb, upstream or feeds; prints how many inputs were tried. A panic
//! names the one command that replays its input: `content-fuzz TARGET case SEED NUMBER`.
//!
//! Absent: guidance by coverage. The seeds are real metadata, so damage reaches every parser.

use std::io::Read as _;
use std::time::{Duration, Instant};

use drydock_content::fuzz;
use drydock_testkit::upstream::write_yum;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

type Failure = Box<dyn std::error::Error>;

/// Pieces that parsers stumble over.
const PIECES: [&[u8]; 30] = [
    b"<",
    b">",
    b"&",
    b"\"",
    b"'",
    b"</",
    b"/>",
    b"<!--",
    b"]]>",
    b"<![CDATA[",
    b"&#x0;",
    b"\0",
    b"\xff\xfe",
    b"<?",
    b"\n\n",
    b"\r\n",
    b":",
    b"../",
    b"!<arch>\n",
    b"-",
    b"99999999999999999999",
    b"-----BEGIN PGP SIGNATURE-----\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\\u",
    b"null",
    b"1e999",
];
/// Changes of one input at most.
const CHANGES_MAX: usize = 6;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let run: fn(&[u8]) = match words.first() {
        Some(&"rpm") => fuzz::rpm,
        Some(&"deb") => fuzz::deb,
        Some(&"upstream") => fuzz::upstream,
        Some(&"feeds") => fuzz::feeds,
        _ => return Err("usage: content-fuzz rpm|deb|upstream|feeds SECONDS [SEED]".into()),
    };
    let seeds = if words.first() == Some(&"feeds") { feeds()? } else { seeds()? };
    match words.as_slice() {
        [_, "case", seed, number] => run(&input(&seeds, seed.parse()?, number.parse()?)),
        [target, seconds, rest @ ..] => {
            let seed: u64 = match rest {
                [given] => given.parse()?,
                _ => rand::random(),
            };
            let end = Instant::now() + Duration::from_secs(seconds.parse()?);
            let mut tried: u64 = 0;
            while Instant::now() < end {
                let bytes = input(&seeds, seed, tried);
                if std::panic::catch_unwind(|| run(&bytes)).is_err() {
                    return Err(format!("a panic; replay it with: content-fuzz {target} case {seed} {tried}").into());
                }
                tried += 1;
            }
            println!("{target}: {tried} inputs, seed {seed}, no panic");
        }
        _ => return Err("how many seconds?".into()),
    }
    Ok(())
}

/// The input with this number.
fn input(seeds: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let Some(start) = seeds.choose(&mut random) else { return Vec::new() };
    let mut bytes = start.clone();
    for _ in 0..random.gen_range(1..=CHANGES_MAX) {
        change(&mut bytes, &mut random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.gen_range(0..=bytes.len());
    let end = (at + random.gen_range(0..40)).min(bytes.len());
    match random.gen_range(0..6) {
        0 if at < bytes.len() => bytes[at] = random.r#gen(),
        1 => bytes.truncate(at),
        2 => {
            let piece = PIECES.choose(random).copied().unwrap_or_default();
            bytes.splice(at..at, piece.iter().copied());
        }
        3 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        4 => {
            let from = random.gen_range(0..=bytes.len());
            let part = bytes[from..(from + 60).min(bytes.len())].to_vec();
            bytes.splice(at..end, part);
        }
        _ => {
            bytes.drain(at..end);
        }
    }
}

/// Feeds in every vendor's shape, raw, compressed and in archives.
fn feeds() -> Result<Vec<Vec<u8>>, Failure> {
    let mut seeds: Vec<Vec<u8>> = [
        &include_bytes!("../tests/feeds/fixtures/osv.jsonl")[..],
        include_bytes!("../tests/feeds/fixtures/debian-tracker.json"),
        include_bytes!("../tests/feeds/fixtures/dsa-list.txt"),
        include_bytes!("../tests/feeds/fixtures/usn-database.json"),
        include_bytes!("../tests/feeds/fixtures/usn-notices.json"),
        include_bytes!("../tests/feeds/fixtures/csaf-advisory.json"),
        include_bytes!("../tests/feeds/fixtures/csaf-vex.json"),
        include_bytes!("../tests/feeds/fixtures/csaf-suse.json"),
        include_bytes!("../tests/feeds/fixtures/kev.json"),
        include_bytes!("../tests/feeds/fixtures/epss.csv"),
        include_bytes!("../tests/feeds/fixtures/updateinfo.xml"),
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    let mut archive = tar::Builder::new(Vec::new());
    for (number, seed) in seeds.iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        header.set_size(seed.len() as u64);
        archive.append_data(&mut header, format!("{number}.json"), seed.as_slice())?;
    }
    seeds.push(archive.into_inner()?);
    if let Some(first) = seeds.first().cloned() {
        let mut member = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0".to_vec();
        let mut crc = flate2::Crc::new();
        crc.update(&first);
        for number in [crc.sum(), u32::try_from(first.len())?, u32::try_from(first.len())?, 1] {
            member.extend(number.to_le_bytes());
        }
        member.push(b'a');
        seeds.push([&member, first.as_slice(), b"PK\x01\x02"].concat());
        seeds.push(zstd::encode_all(first.as_slice(), 1)?);
    }
    Ok(seeds)
}

/// Real metadata of both families, raw and compressed.
fn seeds() -> Result<Vec<Vec<u8>>, Failure> {
    let dir = tempfile::tempdir()?;
    write_yum(dir.path(), 3, 2, 0)?;
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(dir.path().join("repodata"))? {
        let bytes = std::fs::read(entry?.path())?;
        let mut raw = Vec::new();
        if flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut raw).is_ok() {
            seeds.push(raw);
        }
        seeds.push(bytes);
    }
    let sum = "ab".repeat(32);
    seeds.push(
        format!(
            "Package: a\nVersion: 1:2-3\nArchitecture: amd64\nDescription: x\n more\nFilename: pool/a.deb\nSize: 12\nSHA256: {sum}\n\n\
             Package: b\nVersion: 1\nArchitecture: all\nFilename: pool/b.deb\nSize: 1\nSHA256: {sum}\n\n"
        )
        .into_bytes(),
    );
    seeds.push(
        format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOrigin: x\nSuite: s\nCodename: s\nDate: Sat, 21 Nov 2026 10:00:00 UTC\n\
             Architectures: amd64\nComponents: main\nAcquire-By-Hash: yes\nSHA256:\n {sum} 10 main/binary-amd64/Packages.gz\n\
             -----BEGIN PGP SIGNATURE-----\n\niHUEARYKAB0=\n=abcd\n-----END PGP SIGNATURE-----\n"
        )
        .into_bytes(),
    );
    seeds.push(b"---\ndocument: modulemd\nversion: 2\ndata:\n  name: m\n  stream: 1\n  version: 3\n  context: c\n  arch: x86_64\n  artifacts:\n    rpms: [a-0:1-1.noarch]\n...\n".to_vec());
    seeds.push(b"<metalink version=\"3.0\"><files><file name=\"repomd.xml\"><verification><hash type=\"sha256\">ab</hash></verification><resources><url protocol=\"http\">http://m/repodata/repomd.xml</url></resources></file></files></metalink>".to_vec());
    Ok(seeds)
}
