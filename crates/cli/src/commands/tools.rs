//! `drydock tools` and `drydock completions`: what needs no server.

use std::cmp::Ordering;
use std::io::{BufRead, BufReader, Write};

use clap::CommandFactory;
use drydock_domain::version::{Scheme, compare};

use crate::args::{Cli, ToolsCommand, VercmpArgs, VersionScheme};
use crate::failure::Failure;
use crate::world::World;

/// Longest line of two versions read, bytes; longer ones are no versions.
const LINE_MAX_BYTES: u64 = 64 * 1024;

/// Runs a tool.
pub fn run(command: ToolsCommand, world: &mut World) -> Result<(), Failure> {
    match command {
        ToolsCommand::Vercmp(args) => vercmp(&args, world),
    }
}

fn vercmp(args: &VercmpArgs, world: &mut World) -> Result<(), Failure> {
    let scheme = match args.scheme {
        VersionScheme::Rpm => Scheme::Rpm,
        VersionScheme::Deb => Scheme::Deb,
    };
    match (args.a.as_str(), &args.b) {
        ("-", None) => pairs(scheme, world),
        (a, Some(b)) => {
            let order = compare(scheme, a, b).map_err(|e| Failure::Usage(e.to_string()))?;
            Ok(writeln!(world.out, "{}", sign(order))?)
        }
        (_, None) => Err(Failure::Usage("vercmp needs two versions, or - to read pairs from standard input".to_owned())),
    }
}

fn pairs(scheme: Scheme, world: &mut World) -> Result<(), Failure> {
    use std::io::Read;
    let mut input = BufReader::new(&mut world.input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut line);
        if read.map_err(|e| Failure::Usage(format!("cannot read standard input: {e}")))? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        // More than one tab cannot be two versions: the rest stays in B, which is then refused.
        let order = text.trim_end_matches(['\n', '\r']).split_once('\t').and_then(|(a, b)| compare(scheme, a, b).ok());
        writeln!(world.out, "{}", order.map_or('!', sign))?;
    }
}

fn sign(order: Ordering) -> char {
    match order {
        Ordering::Less => '<',
        Ordering::Equal => '=',
        Ordering::Greater => '>',
    }
}

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell, world: &mut World) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "drydock", &mut script);
    Ok(world.out.write_all(&script)?)
}
