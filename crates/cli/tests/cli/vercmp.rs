//! `drydock tools vercmp` against rpm's and dpkg's own tables, when they lie beside the checkout; completions.

use std::path::PathBuf;

use crate::fake::Prepared;

fn table(name: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors").join(name);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing; CI needs it", path.display());
        println!("skipped: {} is not there", path.display());
    }
    text
}

#[tokio::test]
async fn the_tables_of_rpm_and_dpkg() {
    for (scheme, name) in [("rpm", "rpm-vercmp.tsv"), ("deb", "deb-version.tsv")] {
        let Some(text) = table(name) else { continue };
        let rows: Vec<(&str, &str)> = text.lines().filter_map(|l| l.rsplit_once('\t')).collect();
        let pairs: String = rows.iter().map(|(pair, _)| format!("{pair}\n")).collect();
        let want: String = rows.iter().map(|(_, sign)| format!("{sign}\n")).collect();
        let ran = Prepared::new().input(&pairs).run(&format!("tools vercmp {scheme} -")).await;
        assert_eq!((ran.code, ran.out, ran.err.as_str()), (0, want, ""), "{scheme}");
        assert!(rows.len() > 40, "{scheme}");
    }
}

#[tokio::test]
async fn two_versions_on_the_command_line() {
    for (line, want) in [("rpm 1.0-1 1.0-2", "<\n"), ("rpm 1:1-1 2-1", ">\n"), ("deb 1.0~rc1 1.0", "<\n"), ("deb 1 0:1-0", "=\n")]
    {
        let ran = Prepared::new().run(&format!("tools vercmp {line}")).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, want), "{line}");
    }
    let ran = Prepared::new().run("tools vercmp deb a:1 1").await;
    assert_eq!((ran.code, ran.err.as_str()), (2, "error: \"a:1\" is not a version: its epoch is not a number\n"));
}

#[tokio::test]
async fn a_pair_that_cannot_be_read_keeps_its_line() {
    let ran = Prepared::new().input("1-1\t1-2\nx:1\t1\nno tab\n1\t2\t3\n\n2-1\t1-1").run("tools vercmp rpm -").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "<\n!\n!\n!\n!\n>\n"));
}

#[tokio::test]
async fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = Prepared::new().run(&format!("completions {shell}")).await;
        assert!(ran.code == 0 && ran.out.contains("idempotency-key"), "{shell}");
    }
}
