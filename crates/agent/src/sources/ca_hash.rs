//! Names of CA certificates as OpenSSL looks for them in a directory: SHA-1 over the subject in canonical form (every
//! string as UTF-8, in lower case, with single spaces), its first four bytes as a little-endian number.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::asn1_rs::{Any, Tag};

/// Certificates of the server's CA file, count: one, or two while it is replaced.
const CERTIFICATES_MAX: usize = 16;

/// `<hash>.0` and the PEM text of each certificate in `ca_pem`; equal hashes are numbered.
pub fn files(ca_pem: &str) -> Result<Vec<(String, String)>, String> {
    let mut out: Vec<(String, String)> = Vec::new();
    for cert in CertificateDer::pem_slice_iter(ca_pem.as_bytes()).take(CERTIFICATES_MAX) {
        let cert = cert.map_err(|e| e.to_string())?;
        let hash = subject_hash(&cert)?;
        let same = out.iter().filter(|(name, _)| name.starts_with(&format!("{hash:08x}."))).count();
        out.push((format!("{hash:08x}.{same}"), pem(&cert)));
    }
    if out.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(out) }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..body.len()).step_by(64).filter_map(|at| body.get(at..(at + 64).min(body.len()))).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn subject_hash(der: &[u8]) -> Result<u32, String> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).map_err(|e| e.to_string())?;
    let mut canonical = Vec::new();
    for rdn in cert.subject().iter_rdn() {
        let mut set = Vec::new();
        for attribute in rdn.iter() {
            let kind = tlv(0x06, attribute.attr_type().as_bytes());
            let value = canonical_value(attribute.attr_value())?;
            set.extend(tlv(0x30, &[kind, value].concat()));
        }
        canonical.extend(tlv(0x31, &set));
    }
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &canonical);
    let first: [u8; 4] = digest.as_ref().first_chunk::<4>().copied().ok_or("no digest")?;
    Ok(u32::from_le_bytes(first))
}

/// Strings are made comparable; anything else stays.
fn canonical_value(value: &Any<'_>) -> Result<Vec<u8>, String> {
    let is_text =
        [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String, Tag::T61String, Tag::VisibleString].contains(&value.tag());
    if !is_text {
        let tag = u8::try_from(value.tag().0).map_err(|_| "a strange kind of string in its subject")?;
        return Ok(tlv(tag, value.data));
    }
    let text = std::str::from_utf8(value.data).map_err(|e| e.to_string())?;
    let words: Vec<String> = text.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
    Ok(tlv(0x0c, words.join(" ").as_bytes()))
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=127 => out.push(u8::try_from(short).unwrap_or(127)),
        long => {
            let bytes: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(8));
            out.extend(bytes);
        }
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    /// The first has capitals and a double space; OpenSSL 3.0 says: `openssl x509 -subject_hash`.
    #[test]
    fn names_are_openssls() {
        let of = |entries: &[(DnType, &str)]| {
            let mut params = CertificateParams::new(Vec::new()).expect("params");
            params.distinguished_name = DistinguishedName::new();
            for (kind, value) in entries {
                params.distinguished_name.push(kind.clone(), *value);
            }
            let key = KeyPair::generate().expect("a key");
            files(&params.self_signed(&key).expect("signed").pem()).expect("named")[0].0.clone()
        };
        let name = of(&[(DnType::OrganizationName, "Drydock"), (DnType::CommonName, "Drydock  CA of Lab")]);
        assert_eq!(name, "a36aee48.0");
    }

    #[test]
    fn the_text_of_a_certificate_is_whole() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let cert = rcgen::CertificateParams::new(Vec::new()).expect("params").self_signed(&key).expect("signed");
        let two = files(&format!("{}{}", cert.pem(), cert.pem())).expect("named");
        assert!(two[0].0.ends_with(".0") && two[1].0.ends_with(".1"), "{two:?}");
        assert_eq!(CertificateDer::from_pem_slice(two[0].1.as_bytes()).expect("read"), *cert.der());
        assert!(files("").is_err());
    }
}
