//! Hostile bytes through every reader of this room, for [`crate::fuzz`]: as the kind they look like, and as every other.

use std::io::Cursor;

use super::{FeedKind, Hints, detect, read_feed, read_updateinfo};

/// All readers, one after the other.
pub(crate) fn all(input: &[u8]) {
    let looks = detect(input);
    let kinds = [None].into_iter().chain(FeedKind::ALL.map(Some));
    for kind in kinds.filter(|kind| kind.is_none() || *kind != looks) {
        // The report or a refusal; what they say is judged by the tests.
        let _ = read_feed(kind, Cursor::new(input.to_vec()), &Hints::default(), &mut |_| Ok(()));
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = read_updateinfo(text, &drydock_domain::advisory::Product::any());
        let _ = super::cvss::of_vector(text, "");
    }
}
