//! Hostile bytes through every parser of this room.

use super::fragments::{Fragments, Shape};
use super::header::{Header, read_lead};
use super::lists::{FILELISTS, ListEntry, OTHER};
use super::modules::{Document, Documents};
use super::primary::{PRIMARY, Primary, served_location};
use super::repomd::Repomd;
use super::updateinfo::{Advisory, UPDATEINFO, merge};
use crate::digest::Sha256;

/// All parsers, one after the other.
pub(crate) fn all(input: &[u8]) {
    let _ = Repomd::parse(input).map(|repomd| super::select::select(&repomd, &mut Default::default()).is_ok());
    accepted(input);
    let mut documents = Documents::new(input);
    while let Ok(Some((_, text))) = documents.next() {
        let _ = Document::parse(text);
    }
    let mut rest = input;
    let _ = read_lead(&mut rest);
    while let Ok(header) = Header::read(&mut rest, true) {
        for tag in (0..0x1500).filter(|tag| header.has(*tag)) {
            let _ = (header.strings(tag), header.numbers(tag), header.string(tag));
        }
    }
}

/// The elements of a metadata file as they would be stored.
pub(crate) fn accepted(input: &[u8]) -> Vec<String> {
    let mut stored = Vec::new();
    each(input, PRIMARY, &mut |text, declarations| {
        let package = Primary::parse(text).ok()?;
        let location = served_location(&Sha256::of(text.as_bytes()).digest(), &package.href);
        let _ = package.checked();
        stored.push(package.rewritten(text, &location, declarations));
        Some(())
    });
    for shape in [FILELISTS, OTHER] {
        each(input, shape, &mut |text, declarations| {
            stored.push(ListEntry::parse(text).ok()?.stored(text, declarations));
            Some(())
        });
    }
    let mut before: Option<(Advisory, String)> = None;
    each(input, UPDATEINFO, &mut |text, declarations| {
        let advisory = Advisory::parse(text).ok()?;
        let text = advisory.stored(text, declarations);
        let merged = match before.take() {
            Some(before) => merge(before, (advisory, text)),
            None => (advisory, text),
        };
        stored.push(merged.1.clone());
        before = Some(merged);
        Some(())
    });
    stored
}

fn each(input: &[u8], shape: Shape, take: &mut dyn FnMut(&str, &str) -> Option<()>) {
    let Ok(mut document) = Fragments::open(input, shape) else { return };
    let declarations = document.declarations().to_owned();
    while let Ok(Some(fragment)) = document.next() {
        if take(fragment.text, &declarations).is_none() {
            return;
        }
    }
}
