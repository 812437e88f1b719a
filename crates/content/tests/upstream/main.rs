//! What every upstream says, damaged: seeds that are right, changed at random, always the same way.

use std::io::Write as _;

use drydock_content::openpgp::{RepositoryKey, clearsign, sign_detached};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Damaged inputs a seed, count; a few seconds of a debug build.
const MUTATIONS: usize = 1_000;
/// Pieces that readers stumble over.
const PIECES: [&[u8]; 12] = [
    b"\n\n",
    b"\r\n",
    b"\0",
    b"../",
    b"<a>",
    b"</file>",
    b"&amp;",
    b"-----BEGIN PGP SIGNED MESSAGE-----\n",
    b"-----END PGP SIGNATURE-----\n",
    b"\xff\xff\xff\xff",
    b"\x1f\x8b\x08\0",
    b"=",
];

fn mutated(seed: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.gen_range(1..6) {
        let at = random.gen_range(0..=bytes.len());
        match random.gen_range(0..4) {
            0 if at < bytes.len() => bytes[at] = random.r#gen(),
            1 => bytes.truncate(at),
            2 => {
                let piece = PIECES.choose(random).unwrap();
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => {
                let end = (at + random.gen_range(0..40)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let key = RepositoryKey::generate("seed", now).unwrap();
    let keys = std::slice::from_ref(&key);
    let text = "Origin: x\n- dash\nSHA256:\n 0 1 a\n".repeat(20);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(text.as_bytes()).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(text.as_bytes()).unwrap();
    let metalink = "<metalink><files><file name=\"repomd.xml\"><verification><hash type=\"sha1\">aaf4c61ddcc5e8a2dabede0f3b482cd9\
                    aea9434d</hash></verification><resources><url preference=\"9\">http://a/repodata/repomd.xml</url></resources>\
                    </file></files></metalink>";
    vec![
        metalink.as_bytes().to_vec(),
        b"# list\nhttp://a/\nhttps://b/x/\n".to_vec(),
        b"pool/main/a/a_1:2~3+4_all.deb".to_vec(),
        key.public_armored().unwrap().into_bytes(),
        clearsign(keys, &text, now).unwrap().into_bytes(),
        sign_detached(keys, b"data", now).unwrap().into_bytes(),
        gzip.finish().unwrap(),
        xz.finish().unwrap(),
        bzip2.finish().unwrap(),
        zstd::encode_all(text.as_bytes(), 1).unwrap(),
    ]
}

#[test]
fn readers_survive_damaged_input() {
    let mut random = StdRng::seed_from_u64(20_261_122);
    for seed in seeds() {
        drydock_content::fuzz::upstream(&seed);
        for _ in 0..MUTATIONS {
            drydock_content::fuzz::upstream(&mutated(&seed, &mut random));
        }
    }
}
