//! What the product is built from: licences, sources and crates are those that deny.toml allows. cargo-deny itself is asked
//! where it is installed. Absent on purpose: known vulnerabilities; their database comes over the network.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn deny() -> String {
    std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there")
}

/// The quoted words of a list of deny.toml, without what its comments quote.
fn list(key: &str) -> Vec<String> {
    let text: String =
        deny().lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect();
    let (_, rest) = text.split_once(&format!("\n{key} = [")).unwrap_or_else(|| panic!("deny.toml has no {key}"));
    let inner = rest.split("\n]").next().unwrap_or_default();
    inner.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every package cargo knows of.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    metadata["packages"].as_array().expect("packages").clone()
}

/// Does an SPDX expression hold when these licences are allowed? Parts with OR bind weaker than those with AND.
fn holds(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut depth = 0_i32;
    let split = |operator: &str, depth: &mut i32| {
        let (mut parts, mut start) = (Vec::new(), 0);
        for (at, c) in expression.char_indices() {
            *depth += i32::from(c == '(') - i32::from(c == ')');
            if *depth == 0 && expression[at..].starts_with(operator) {
                parts.push(&expression[start..at]);
                start = at + operator.len();
            }
        }
        parts.push(&expression[start..]);
        parts
    };
    for (operator, any) in [(" OR ", true), ("/", true), (" AND ", false)] {
        let parts = split(operator, &mut depth);
        if parts.len() > 1 {
            let mut each = parts.into_iter().map(|part| holds(part.trim(), allowed));
            return if any { each.any(|is| is) } else { each.all(|is| is) };
        }
    }
    let bare = expression.trim();
    match bare.strip_prefix('(').and_then(|b| b.strip_suffix(')')) {
        Some(inner) => holds(inner, allowed),
        None => allowed(bare),
    }
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let allowed = list("allow");
    assert!(allowed.len() >= 8, "{allowed:?}");
    let exceptions = deny();
    for package in packages().iter().filter(|p| !p["source"].is_null()) {
        let (name, licence) = (package["name"].as_str().expect("a name"), package["license"].as_str().unwrap_or_default());
        let excepted = exceptions.contains(&format!("{{ crate = \"{name}\", allow = [\"{licence}\"] }}"));
        let good = excepted || holds(licence, &|one| allowed.iter().any(|a| a == one));
        assert!(good, "{name} has the licence {licence:?}; may we use it? then say so in deny.toml, with the reason");
    }
}

#[test]
fn everything_comes_from_the_registry_and_nothing_that_is_banned() {
    let banned: Vec<String> = list("deny");
    assert!(!banned.is_empty());
    for package in packages() {
        let (name, source) = (package["name"].as_str().expect("a name"), package["source"].as_str());
        let good = source.is_none_or(|s| s == "registry+https://github.com/rust-lang/crates.io-index");
        assert!(good, "{name} comes from {source:?}");
        assert!(!banned.iter().any(|b| b == name), "{name} is banned by deny.toml");
        for dependency in package["dependencies"].as_array().into_iter().flatten().filter(|_| source.is_none()) {
            let (what, version) =
                (dependency["name"].as_str().unwrap_or_default(), dependency["req"].as_str().unwrap_or_default());
            assert!(version != "*" || !dependency["path"].is_null(), "{name} takes any version of {what}");
        }
    }
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let mit = |one: &str| one == "MIT" || one == "Unicode-3.0";
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND Unicode-3.0", true),
        ("(GPL-3.0 OR MIT) AND BSD-3-Clause", false),
        ("", false),
    ] {
        assert_eq!(holds(expression, &mit), expected, "{expression}");
    }
}

#[test]
fn cargo_deny_agrees_where_it_is_installed() {
    let run = Command::new("cargo-deny")
        .args(["--offline", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
        .current_dir(root())
        .output();
    match run {
        Err(e) => eprintln!("skipped: cargo-deny cannot be started: {e}; the tests beside this one read the licences themselves"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
    }
}
