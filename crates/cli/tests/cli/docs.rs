//! `docs/cli.md` is what the command says of itself. `UPDATE_DOCS=1` writes it anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use drydock_cli::EXIT_CODES;
use drydock_cli::args::Cli;

const HEAD: &str = "# The command `drydock`

Generated from the command itself by its tests (`UPDATE_DOCS=1` writes this page anew); do not edit it by hand.
A first walk through the commands is in [quickstart.md](quickstart.md).

Results go to standard output, progress, notes and errors to standard error. `-o json` and `-o yaml` print the server's
own documents with absolute times, `-o csv` the rows of a list. Colours are used on a terminal only, and never with `NO_COLOR`.
";

fn page() -> String {
    let mut text = HEAD.to_owned();
    let mut root = Cli::command().term_width(100).color(clap::ColorChoice::Never);
    root.build();
    let connection: Vec<String> = root
        .get_arguments()
        .filter(|a| a.get_help_heading() == Some("Connection"))
        .map(|a| format!("- `--{}`: {}", a.get_long().unwrap_or_default(), a.get_help().cloned().unwrap_or_default()))
        .collect();
    let _ = write!(text, "\n## Every command\n\n{}\n\n```text\n{EXIT_CODES}\n```\n", connection.join("\n"));
    for noun in root.get_subcommands_mut() {
        let verbs: Vec<String> = noun.get_subcommands().map(|v| v.get_name().to_owned()).collect();
        let _ = write!(text, "\n## drydock {}\n", noun.get_name());
        if verbs.is_empty() {
            section(&mut text, noun);
            continue;
        }
        let _ = write!(text, "\n{}.\n", noun.get_about().cloned().unwrap_or_default());
        for verb in noun.get_subcommands_mut() {
            let _ = write!(text, "\n### {}\n", verb.get_bin_name().unwrap_or_default());
            section(&mut text, verb);
        }
    }
    text
}

fn section(text: &mut String, command: &mut Command) {
    // The connection options are the same everywhere and stand above once.
    let own = command.clone().mut_args(|a| {
        let shared = a.get_help_heading() == Some("Connection") || a.get_id() == "help";
        if shared { a.hide(true) } else { a }
    });
    let help = own.term_width(100).render_long_help_of();
    let _ = write!(text, "\n```text\n{}\n```\n", help.trim_end());
}

trait LongHelp {
    fn render_long_help_of(self) -> String;
}

impl LongHelp for Command {
    fn render_long_help_of(mut self) -> String {
        let lines: Vec<String> = self.render_long_help().to_string().lines().map(|l| l.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

#[test]
fn the_page_about_the_command_is_the_commands_own_help() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let want = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &want).expect("written");
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(have == want, "docs/cli.md is not what the command says; run this test with UPDATE_DOCS=1 and commit the page");
}

/// The lines of a page that call `drydock`, as words; `'…'` keeps words together.
fn calls(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter_map(|l| l.trim_start().strip_prefix("$ drydock "));
    lines
        .map(|line| {
            let line = line.replace(['"'], "'");
            let mut words = vec!["drydock".to_owned()];
            for (i, part) in line.split('\'').enumerate() {
                if i % 2 == 1 { words.push(part.to_owned()) } else { words.extend(part.split_whitespace().map(str::to_owned)) }
            }
            words
        })
        .collect()
}

#[test]
fn the_walk_through_and_the_readme_call_what_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = 0;
    for page in
        ["docs/quickstart.md", "README.md", "docs/sources.md", "docs/packages.md", "docs/deployments.md", "docs/filters.md"]
    {
        let text = std::fs::read_to_string(root.join(page)).expect("the page");
        for words in calls(&text) {
            let read = Cli::command().try_get_matches_from(&words);
            assert!(read.is_ok(), "{page}: {words:?}: {}", read.err().map(|e| e.to_string()).unwrap_or_default());
            if let Some(filter) = words.iter().skip_while(|word| *word != "--filter").nth(1) {
                drydock_domain::query::Query::parse(filter).unwrap_or_else(|e| panic!("{page}: {filter}: {e}"));
            }
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
}

#[tokio::test]
async fn the_spec_file_of_the_walk_through_is_a_right_patch_job() {
    use drydock_domain::patch::spec::PatchJobSpec;
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/quickstart.md");
    let text = std::fs::read_to_string(page).expect("the page");
    let yaml = text.split("```yaml\n").nth(1).and_then(|t| t.split("```").next()).expect("a file");
    let fake = crate::fake::Fake::start().await;
    fake.json("POST /patch-jobs", &crate::documents::job(drydock_domain::patch::job::JobState::Started, &[]));
    let ran = fake.prepared().input(yaml).run("patch run --file - --detach").await;
    assert_eq!(ran.code, 0, "{ran}");
    let spec: PatchJobSpec = serde_json::from_str(&fake.seen()[0].body).expect("a spec");
    assert_eq!(spec.validate(), Ok(()));
    assert_eq!(spec.duration_secs, Some(7200));
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}
