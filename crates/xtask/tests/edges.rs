//! The crates depend on each other only as the table in ARCHITECTURE.md says. Whoever adds an edge changes the table,
//! and a new edge between rooms needs a decision record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

type Edges = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Rows `| crate | what | may depend on |` of the table between the two marks.
fn allowed() -> Edges {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let table = text.split("<!-- edges -->").nth(1).expect("ARCHITECTURE.md has the table between two <!-- edges --> marks");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        let edges = cells[3]
            .split(',')
            .map(|word| word.trim().trim_matches('`').to_owned())
            .filter(|word| !word.is_empty() && word != "–");
        (name, edges.collect())
    })
    .collect()
}

/// What cargo says: normal and build dependencies between crates of the workspace.
fn actual() -> Edges {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let short = |name: &str| name.strip_prefix("drydock-").map(str::to_owned);
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let name = short(package["name"].as_str().expect("a name")).expect("every crate is called drydock-…");
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
            let edges = dependencies.filter(|d| d["kind"] != "dev").filter_map(|d| short(d["name"].as_str()?));
            (name, edges.collect())
        })
        .collect()
}

#[test]
fn crates_depend_only_as_the_table_says() {
    assert_eq!(allowed(), actual(), "left: ARCHITECTURE.md, right: Cargo.toml files");
}
