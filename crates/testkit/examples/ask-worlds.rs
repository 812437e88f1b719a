//! What a real package manager answers in a world: `ask-worlds (dnf4|dnf5|zypper|apt) FIRST-SEED COUNT DIR`. For looking into a
//! disagreement by hand: DIR keeps the cases.

use anyhow::{Context as _, Result, bail};
use drydock_testkit::worlds::{Tool, ask, deb_world, rpm_world};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("usage: ask-worlds (dnf4|dnf5|zypper|apt) FIRST-SEED COUNT DIR");
    let (tool, first, count, dir) = (next()?, next()?.parse::<u64>()?, next()?.parse::<u64>()?, next()?);
    let tool = match tool.as_str() {
        "dnf4" => Tool::Dnf4,
        "dnf5" => Tool::Dnf5,
        "zypper" => Tool::Zypper,
        "apt" => Tool::Apt,
        other => bail!("{other} is none of dnf4, dnf5, zypper, apt"),
    };
    let dir = std::path::Path::new(&dir);
    std::fs::create_dir_all(dir)?;
    let seeds = first..first + count;
    let answers = match tool {
        Tool::Apt => ask(tool, &seeds.map(deb_world).collect::<Vec<_>>(), dir)?,
        _ => ask(tool, &seeds.map(rpm_world).collect::<Vec<_>>(), dir)?,
    };
    for (at, answer) in answers.iter().enumerate() {
        println!("== seed {}", first + at as u64);
        for (name, text) in answer.iter().filter(|(_, text)| !text.trim().is_empty()) {
            println!("-- {name}\n{text}");
        }
    }
    Ok(())
}
