//! Compressed feeds and archives.

use std::io::Write as _;

use super::*;

pub(crate) fn gz(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A zip file as Python's `zipfile` writes it to a pipe (lengths behind the data) or to a file.
pub(crate) fn zip(files: &[(&str, &[u8])], deflate: bool, lengths_follow: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, data) in files {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let packed = if deflate {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        } else {
            data.to_vec()
        };
        let numbers = [crc.sum(), packed.len() as u32, data.len() as u32];
        let in_header = if lengths_follow { [0; 3] } else { numbers };
        out.extend(0x0403_4b50_u32.to_le_bytes());
        for word in [20_u16, if lengths_follow { 8 } else { 0 }, if deflate { 8 } else { 0 }, 0, 0] {
            out.extend(word.to_le_bytes());
        }
        in_header.iter().for_each(|n| out.extend(n.to_le_bytes()));
        out.extend((name.len() as u16).to_le_bytes());
        out.extend(4_u16.to_le_bytes());
        out.extend(name.as_bytes());
        out.extend([0xca, 0xfe, 0, 0]);
        out.extend(packed);
        if lengths_follow {
            out.extend(0x0807_4b50_u32.to_le_bytes());
            numbers.iter().for_each(|n| out.extend(n.to_le_bytes()));
        }
    }
    out.extend(0x0201_4b50_u32.to_le_bytes());
    out.extend([0; 60]);
    out
}

#[test]
fn compressed_feeds_say_the_same() {
    for (name, kind, bytes) in FIXTURES {
        let (want, _) = lines(bytes, Some(kind)).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(bytes).unwrap();
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(bytes).unwrap();
        for packed in [gz(bytes), xz.finish().unwrap(), bz.finish().unwrap(), zstd::encode_all(bytes, 1).unwrap()] {
            let (have, report) = lines(&packed, None).unwrap();
            assert_eq!(have, want, "{name}");
            assert_eq!(report.bytes, packed.len() as u64);
            let cut = packed.get(..packed.len() - 9).unwrap();
            assert!(lines(cut, Some(kind)).is_err(), "{name}: a file that is cut off is refused");
        }
    }
}

#[test]
fn archives_are_read_member_by_member() {
    let vex = fixture("csaf-vex");
    let rhsa = fixture("csaf-advisory");
    let files: [(&str, &[u8]); 4] = [
        ("2030/cve-2030-0300.json", vex),
        ("readme", b"words"),
        ("2030/broken.json", b"{\"document\":"),
        ("2030/rhsa.json", rhsa),
    ];
    let (first, second) = (lines(vex, None).unwrap().0, lines(rhsa, None).unwrap().0);
    let want = [first, second].concat();
    let zipped = |deflate, follow| zip(&files, deflate, follow);
    for packed in [tar(&files), gz(&tar(&files)), zipped(true, false), zipped(true, true), zipped(false, false)] {
        let (have, report) = lines(&packed, None).unwrap();
        assert_eq!(have, want);
        assert_eq!(report.kind, FeedKind::Csaf);
        let broken = findings(&report).into_iter().filter(|f| f.contains("member of the archive")).collect::<Vec<_>>();
        assert_eq!(broken.len(), 2, "{broken:?}");
    }
    assert!(lines(&zipped(false, true), None).is_err(), "a stored member without a length has no end");
    let mut damaged = zipped(false, false);
    let at = damaged.windows(4).position(|w| w == b"CVE-").unwrap();
    damaged[at + 5] ^= 1;
    let error = lines(&damaged, None).unwrap_err();
    assert!(format!("{:?}", error).contains("is damaged"), "{error:?}");
    assert!(matches!(lines(&tar(&[("x", b"words")]), None), Err(FeedError::Unknown)));
}

#[test]
fn documents_may_be_in_an_array() {
    let documents: Vec<&str> = std::str::from_utf8(fixture("osv"))
        .unwrap()
        .lines()
        .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
        .collect();
    let whole = lines(documents.join("\n").as_bytes(), None).unwrap();
    let array = lines(format!(" [{}] ", documents.join(",\n")).as_bytes(), None).unwrap();
    assert_eq!((whole.0, findings(&whole.1)), (array.0, findings(&array.1)));
}
