//! Version comparison against rpm's and dpkg's own test tables, when they lie beside the checkout, and laws that hold
//! for every pair.

use std::cmp::Ordering;
use std::path::PathBuf;

use drydock_domain::version::{Scheme, compare, rpm, sort_key};
use proptest::prelude::*;

fn table(name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing; CI needs it", path.display());
        println!("skipped: {} is not there", path.display());
    }
    text
}

fn rows(text: &str) -> impl Iterator<Item = (&str, &str, Ordering)> {
    text.lines().map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        let want = match cells[2] {
            "<" => Ordering::Less,
            ">" => Ordering::Greater,
            _ => Ordering::Equal,
        };
        (cells[0], cells[1], want)
    })
}

#[test]
fn rpm_agrees_with_rpms_own_table() {
    let Some(text) = table("rpm-vercmp.tsv") else { return };
    for (a, b, want) in rows(&text) {
        assert_eq!(rpm::segments(a, b), want, "{a} {b}");
        assert_eq!(compare(Scheme::Rpm, a, b), Ok(want), "{a} {b}");
    }
}

#[test]
fn deb_agrees_with_dpkgs_own_table() {
    let Some(text) = table("deb-version.tsv") else { return };
    for (a, b, want) in rows(&text) {
        assert_eq!(compare(Scheme::Deb, a, b), Ok(want), "{a} {b}");
    }
}

#[test]
fn bad_versions_are_refused_with_a_reason() {
    for (scheme, text) in [
        (Scheme::Deb, ""),
        (Scheme::Deb, "a:1"),
        (Scheme::Deb, "1-"),
        (Scheme::Deb, "1 2"),
        (Scheme::Deb, "99999999999:1"),
        (Scheme::Rpm, ""),
        (Scheme::Rpm, "x:1-1"),
        (Scheme::Rpm, "1:"),
        (Scheme::Rpm, "1 2"),
    ] {
        assert!(compare(scheme, text, "1").is_err(), "{text:?}");
    }
    assert!(compare(Scheme::Rpm, &"1".repeat(201), "1").is_err());
}

#[test]
fn epoch_beats_version_and_release_breaks_ties() {
    assert_eq!(compare(Scheme::Rpm, "1:1-1", "2-1"), Ok(Ordering::Greater));
    assert_eq!(compare(Scheme::Rpm, "1-1.el8", "1-1.el8_1"), Ok(Ordering::Less));
    assert_eq!(compare(Scheme::Rpm, "0:1-1", "1-1"), Ok(Ordering::Equal));
}

proptest! {
    #[test]
    fn deb_order_is_total(v in proptest::collection::vec("[0-9]{1,2}[a-z0-9.+~]{0,4}(-[0-9a-z~]{1,3})?", 3)) {
        laws(Scheme::Deb, &v)?;
    }

    #[test]
    fn rpm_order_is_total(v in proptest::collection::vec("([0-9]:)?[0-9a-z]{1,2}[a-z0-9.~^]{0,4}(-[0-9a-z~^]{1,3})?", 3)) {
        laws(Scheme::Rpm, &v)?;
    }

    #[test]
    fn any_text_is_compared_or_refused(a in ".{0,40}", b in ".{0,40}") {
        let _ = compare(Scheme::Deb, &a, &b);
        let _ = compare(Scheme::Rpm, &a, &b);
        for scheme in [Scheme::Rpm, Scheme::Deb] {
            if let Ok(order) = compare(scheme, &a, &b) {
                prop_assert_eq!(sort_key(scheme, &a).expect("a key").cmp(&sort_key(scheme, &b).expect("a key")), order);
            }
        }
    }
}

fn laws(scheme: Scheme, v: &[String]) -> Result<(), TestCaseError> {
    let cmp = |a: usize, b: usize| compare(scheme, &v[a], &v[b]).expect("generated versions are valid");
    prop_assert_eq!(cmp(0, 1), cmp(1, 0).reverse());
    prop_assert_eq!(cmp(0, 0), Ordering::Equal);
    let key = |a: usize| sort_key(scheme, &v[a]).expect("generated versions have keys");
    prop_assert_eq!(key(0).cmp(&key(1)), cmp(0, 1));
    if cmp(0, 1) != Ordering::Greater && cmp(1, 2) != Ordering::Greater {
        prop_assert_ne!(cmp(0, 2), Ordering::Greater);
    }
    Ok(())
}
