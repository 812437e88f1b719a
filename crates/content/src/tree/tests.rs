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

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::chunk::MAX_ENTRIES;

    /// A key with its records in the first and in the second tree.
    type Difference = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

    /// Sets of a few up to some thousand keys, dense enough for edits to hit them.
    fn models() -> impl Strategy<Value = Model> {
        (0u32..3000, 1u32..4, any::<u32>()).prop_map(|(count, stride, seed)| {
            (0..count)
                .filter(|n| n.wrapping_mul(2_654_435_761).wrapping_add(seed) % 16 != 0)
                .map(|n| (format!("k{:08}", n * stride).into_bytes(), n ^ (seed & 7)))
                .collect()
        })
    }

    /// Keys with new values or none: single ones and whole ranges.
    fn edits() -> impl Strategy<Value = Vec<(u32, u32, Option<u32>)>> {
        let one = (0u32..4000, Just(1u32), proptest::option::of(0u32..100));
        let range = (0u32..4000, 1u32..1500, proptest::option::weighted(0.3, 0u32..100));
        proptest::collection::vec(prop_oneof![6 => one, 1 => range], 0..12)
    }

    fn apply(model: &Model, edits: &[(u32, u32, Option<u32>)]) -> (Model, BTreeMap<Vec<u8>, Option<Entry>>) {
        let mut after = model.clone();
        let mut changes = BTreeMap::new();
        for (from, len, value) in edits {
            for n in *from..from + len {
                let key = format!("k{n:08}").into_bytes();
                match value {
                    Some(value) => after.insert(key.clone(), *value),
                    None => after.remove(&key),
                };
                changes.insert(key.clone(), value.map(|value| entry(&key, value)));
            }
        }
        (after, changes)
    }

    fn differences(store: &ObjectStore, a: &TreeRef, b: &TreeRef) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |change: Change| {
            found.push(match change {
                Change::Added(head) => (head.key, None, Some(head.record)),
                Change::Removed(head) => (head.key, Some(head.record), None),
                Change::Changed { before, after } => (before.key, Some(before.record), Some(after.record)),
            });
            Ok(())
        };
        diff(store, a, b, &mut add).expect("diff");
        found
    }

    fn expected(a: &Model, b: &Model) -> Vec<Difference> {
        let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
        let record = |model: &Model, key: &Vec<u8>| model.get(key).map(|v| entry(key, *v).record);
        keys.into_iter()
            .filter(|key| a.get(*key) != b.get(*key))
            .map(|key| (key.clone(), record(a, key), record(b, key)))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn an_edited_tree_is_the_tree_built_anew(model in models(), first in edits(), second in edits()) {
            let (_dir, store) = store();
            let tree = build(&store, &model);
            let (after, changes) = apply(&model, &first);
            let edited = edit(&store, &tree, changes).expect("edit");
            prop_assert_eq!(&edited, &build(&store, &after));
            let (end, changes) = apply(&after, &second);
            let edited = edit(&store, &edited, changes).expect("edit");
            prop_assert_eq!(&edited, &build(&store, &end));
            // Back by another way: the history leaves no trace.
            let back = expected(&end, &model).into_iter()
                .map(|(key, ..)| { let put = model.get(&key).map(|v| entry(&key, *v)); (key, put) })
                .collect();
            prop_assert_eq!(edit(&store, &edited, back).expect("edit"), tree);
        }

        #[test]
        fn a_diff_is_the_difference_of_the_sets(model in models(), edits in edits()) {
            let (_dir, store) = store();
            let (after, _) = apply(&model, &edits);
            let (a, b) = (build(&store, &model), build(&store, &after));
            prop_assert_eq!(differences(&store, &a, &b), expected(&model, &after));
            prop_assert_eq!(differences(&store, &b, &a), expected(&after, &model));
            prop_assert!(differences(&store, &a, &a).is_empty());
        }

        #[test]
        fn no_node_is_above_the_cap(model in models()) {
            let (_dir, store) = store();
            let tree = build(&store, &model);
            let mut nodes = 0;
            for level in 0..=tree.height {
                for node in read::Nodes::new(&store, &tree, level, &[]) {
                    let id = node.expect("node").id;
                    let len = match level {
                        0 => {
                            let object = store.open_object(crate::objects::Kind::Leaf, &id).expect("leaf");
                            node::read_leaf(&object, &id, 2).expect("leaf").len()
                        }
                        _ => node::read_node(&store, &id, level, 2).expect("node").len(),
                    };
                    prop_assert!(len <= MAX_ENTRIES);
                    nodes += 1;
                }
            }
            prop_assert!(nodes <= 2 + model.len() / 15 + model.len() / 100);
        }
    }
}

#[test]
fn keys_chosen_to_end_no_node_meet_the_cap() {
    let (_dir, store) = store();
    // Only keys that do not end a leaf: a hostile upstream could choose such names.
    let harmless = |key: &[u8]| {
        let mut chunker = chunk::Chunker::new(0);
        (0..chunk::MIN_ENTRIES - 1).for_each(|_| assert!(!chunker.push(b"", 0)));
        !chunker.push(key, 0)
    };
    let model: Model = numbered(0..2200).into_iter().filter(|(key, _)| harmless(key)).collect();
    assert!(model.len() > 1500);
    let tree = build(&store, &model);
    let mut edited = model.clone();
    edited.remove(b"package-000003".as_slice());
    assert!(edited.len() < model.len());
    let removed = BTreeMap::from([(b"package-000003".to_vec(), None)]);
    assert_eq!(edit(&store, &tree, removed).expect("edit"), build(&store, &edited));
    let leaves = read::Nodes::new(&store, &tree, 0, &[]).map(|n| n.expect("node").count).collect::<Vec<_>>();
    assert!(leaves.iter().rev().skip(1).all(|n| *n == chunk::MAX_ENTRIES as u64), "{leaves:?}");
}

#[test]
fn one_change_reads_and_writes_a_few_nodes() {
    let (_dir, store) = store();
    let mut model = numbered(0..20_000);
    let before = build(&store, &model);
    let mut known = HashSet::new();
    reachable(&store, &before, &mut known).expect("reachable");
    let key = b"package-010000".to_vec();
    model.insert(key.clone(), 7);
    let after = edit(&store, &before, BTreeMap::from([(key.clone(), Some(entry(&key, 7)))])).expect("edit");
    assert_eq!(after, build(&store, &model));
    let mut both = known.clone();
    reachable(&store, &after, &mut both).expect("reachable");
    assert!(both.len() - known.len() <= usize::from(after.height) + 1, "{} new nodes", both.len() - known.len());
    // Taking out what is not there and putting what is there changes nothing.
    let nothing = BTreeMap::from([(b"nobody".to_vec(), None), (key.clone(), Some(entry(&key, 7)))]);
    assert_eq!(edit(&store, &after, nothing).expect("edit"), after);
    assert!(edit(&store, &after, BTreeMap::from([(b"other".to_vec(), Some(entry(&key, 7)))])).is_err());
}

#[test]
fn an_unreadable_store_is_an_error_of_the_builder() {
    let (dir, store) = store();
    std::fs::remove_dir_all(dir.path().join("staging")).expect("remove");
    let mut builder = TreeBuilder::new(&store, 2);
    let failed = numbered(0..5000).iter().find_map(|(key, value)| builder.push(&entry(key, *value)).err());
    let err = failed.unwrap_or_else(|| builder.finish().expect_err("cannot write"));
    assert!(matches!(err, ContentError::Io { .. }), "{err}");
}
