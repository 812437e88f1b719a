//! Trees against what they promise: order, sharing, damage.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use super::*;
use crate::objects::ObjectStore;

pub(super) fn store() -> (tempfile::TempDir, ObjectStore) {
    let dir = tempfile::tempdir().expect("dir");
    let store = ObjectStore::open(dir.path()).expect("store");
    (dir, store)
}

/// Keys and what their entries are made from.
pub(super) type Model = BTreeMap<Vec<u8>, u32>;

pub(super) fn entry(key: &[u8], value: u32) -> Entry {
    let part = |n: u32| format!("<{n} {value} {}/>", "x".repeat((value as usize * 7 + n as usize) % 40)).into_bytes();
    Entry { key: key.to_vec(), record: format!("{{\"v\":{value}}}").into_bytes(), parts: vec![part(0), part(1)] }
}

pub(super) fn build(store: &ObjectStore, model: &Model) -> TreeRef {
    let mut builder = TreeBuilder::new(store, 2);
    for (key, value) in model {
        builder.push(&entry(key, *value)).expect("push");
    }
    builder.finish().expect("finish")
}

pub(super) fn numbered(range: std::ops::Range<u32>) -> Model {
    range.map(|n| (format!("package-{n:06}").into_bytes(), n)).collect()
}

pub(super) fn content(store: &ObjectStore, tree: &TreeRef) -> Vec<Entry> {
    iter_full(store, tree, None).collect::<ContentResult<_>>().expect("content")
}

#[test]
fn entries_come_back_in_order_from_any_key() {
    let (_dir, store) = store();
    let model = numbered(0..5000);
    let tree = build(&store, &model);
    assert_eq!(tree.count, 5000);
    assert!(tree.height >= 2);
    let all: Vec<Entry> = model.iter().map(|(k, v)| entry(k, *v)).collect();
    assert_eq!(content(&store, &tree), all);
    let raw: u64 = all.iter().map(|e| e.parts[1].len() as u64).sum();
    assert_eq!(tree.raw_bytes[1], raw);

    for from in [0, 1, 77, 4998, 4999] {
        let key = all[from].key.clone();
        let heads: Vec<Head> = iter(&store, &tree, Some(&key)).collect::<ContentResult<_>>().expect("heads");
        assert_eq!(heads.len(), 5000 - from);
        assert_eq!((&heads[0].key, &heads[0].record), (&all[from].key, &all[from].record));
        assert_eq!(heads[0].parts[0].sha256, Sha256::of(&all[from].parts[0]));
        assert_eq!(get(&store, &tree, &key).expect("get").as_ref(), Some(&all[from]));
    }
    assert_eq!(iter(&store, &tree, Some(b"package-000010x")).next().expect("next").expect("head").key, b"package-000011");
    assert!(iter(&store, &tree, Some(b"z")).next().is_none());
    assert_eq!(get(&store, &tree, b"package-000010x").expect("get"), None);
    assert_eq!(get(&store, &tree, b"z").expect("get"), None);
    assert_eq!(iter_full(&store, &tree, Some(b"package-004990")).count(), 10);
}

#[test]
fn members_one_after_the_other_are_the_part() {
    let (_dir, store) = store();
    let model = numbered(0..1000);
    let tree = build(&store, &model);
    for part in 0..2 {
        let want: Vec<u8> = model.iter().flat_map(|(k, v)| entry(k, *v).parts[part].clone()).collect();
        let mut gzip = Vec::new();
        let mut raw_len = 0;
        for member in members(&store, &tree, part) {
            let member = member.expect("member");
            raw_len += member.raw_len;
            gzip.extend_from_slice(&member.gzip);
        }
        let mut raw = Vec::new();
        flate2::read::MultiGzDecoder::new(&gzip[..]).read_to_end(&mut raw).expect("gunzip");
        assert_eq!((raw.len() as u64, raw), (raw_len, want.clone()));
        let mut streamed = Vec::new();
        PartStream::new(&store, &tree, part).read_to_end(&mut streamed).expect("stream");
        assert_eq!(streamed, want);
    }
}

#[test]
fn an_empty_tree_and_empty_parts_are_trees() {
    let (_dir, store) = store();
    let empty = build(&store, &Model::new());
    assert_eq!((empty.count, empty.height), (0, 0));
    assert!(iter(&store, &empty, None).next().is_none());
    assert!(members(&store, &empty, 0).next().is_none());
    assert_eq!(get(&store, &empty, b"a").expect("get"), None);

    let mut builder = TreeBuilder::new(&store, 2);
    builder.push_parts(b"a", b"{}", &[b"", b"x"]).expect("push");
    let tree = builder.finish().expect("finish");
    assert!(members(&store, &tree, 0).next().is_none());
    assert_eq!(members(&store, &tree, 1).count(), 1);
    assert_eq!(get(&store, &tree, b"a").expect("get").expect("entry").parts, [b"".to_vec(), b"x".to_vec()]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (_dir, store) = store();
    let mut builder = TreeBuilder::new(&store, 1);
    builder.push_parts(b"b\0x", b"{}", &[b"x"]).expect("push");
    for (key, parts) in
        [(&b"b\0x"[..], &[&b"x"[..]][..]), (b"a", &[b"x"]), (b"c", &[b"x", b"y"]), (&[b'c'; KEY_MAX_BYTES + 1], &[b"x"])]
    {
        let err = builder.push_parts(key, b"{}", parts).expect_err("refused");
        assert!(matches!(&err, ContentError::Refused { what, .. } if what.starts_with("entry \"")), "{err}");
    }
    let err = builder.push_parts(b"c", &vec![b' '; RECORD_MAX_BYTES + 1], &[b"x"]).expect_err("refused");
    assert!(err.to_string().contains("record"), "{err}");
}

#[test]
fn large_fragments_end_leaves_early() {
    let (_dir, store) = store();
    let mut builder = TreeBuilder::new(&store, 1);
    let big = vec![b'x'; 3 << 20];
    for n in 0..9u8 {
        builder.push_parts(&[n], b"{}", &[&big]).expect("push");
    }
    let tree = builder.finish().expect("finish");
    let members: Vec<u64> = members(&store, &tree, 0).map(|m| m.expect("member").raw_len).collect();
    assert_eq!(members, [6 << 20, 6 << 20, 6 << 20, 6 << 20, 3 << 20]);
}

#[test]
fn damage_in_any_object_of_a_tree_is_an_error_not_an_end() {
    let (_dir, store) = store();
    let tree = build(&store, &numbered(0..3000));
    store.sync().expect("sync");
    let mut all = HashSet::new();
    reachable(&store, &tree, &mut all).expect("reachable");
    assert!(all.contains(&tree.root) && all.len() > 50);
    for id in all {
        let path = store.object_path(&id);
        let good = std::fs::read(&path).expect("read");
        std::fs::write(&path, &good[..good.len() / 2]).expect("cut");
        let seen: Vec<_> = iter_full(&store, &tree, None).collect();
        let last = seen.last().expect("something");
        let err = last.as_ref().expect_err("the damage ends the reading").to_string();
        assert!(err.contains(&id.to_string()) && err.contains("cut short"), "{err}");
        std::fs::write(&path, &good).expect("mend");
    }
}
