//! Asking for a password: a terminal does not show it; without one a line of standard input is read.

use std::io::{Read, Write};

use crate::failure::Failure;
use crate::world::World;

/// Longest line read, bytes; longer than any password the server takes.
const LINE_MAX_BYTES: usize = 1024;
/// What Ctrl-C and Ctrl-D are while the terminal does not act on them.
const INTERRUPT: [u8; 2] = [3, 4];
/// What the backspace key is.
const ERASE: [u8; 2] = [8, 127];

/// Asks for a password.
pub fn ask(prompt: &str, world: &mut World) -> Result<String, Failure> {
    write!(world.err, "{prompt}")?;
    world.err.flush()?;
    let hidden = (world.hide)(true);
    let line = read_line(world);
    if hidden {
        (world.hide)(false);
        writeln!(world.err)?;
    }
    let line = String::from_utf8(line?).map_err(|_| Failure::Usage("the password is not UTF-8".to_owned()))?;
    if line.is_empty() {
        return Err(Failure::Usage("no password was given".to_owned()));
    }
    Ok(line)
}

/// Asks for a new password, twice.
pub fn ask_new(world: &mut World) -> Result<String, Failure> {
    let first = ask("New password: ", world)?;
    if ask("Once more: ", world)? != first {
        return Err(Failure::Usage("the two passwords differ; nothing was changed".to_owned()));
    }
    Ok(first)
}

/// Asks for something that may be seen, or nothing.
pub fn ask_open(prompt: &str, world: &mut World) -> Result<String, Failure> {
    write!(world.err, "{prompt}")?;
    world.err.flush()?;
    Ok(String::from_utf8_lossy(&read_line(world)?).trim().to_owned())
}

fn read_line(world: &mut World) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    let mut byte = [0_u8; 1];
    loop {
        let n = world.input.read(&mut byte).map_err(|e| Failure::Usage(format!("cannot read the password: {e}")))?;
        match byte[0] {
            _ if n == 0 => return Ok(line),
            b'\n' | b'\r' => return Ok(line),
            b if INTERRUPT.contains(&b) => return Err(Failure::Usage("interrupted".to_owned())),
            b if ERASE.contains(&b) => {
                // A whole character: its first byte and what continues it.
                while line.pop().is_some_and(|b: u8| b & 0xC0 == 0x80) {}
            }
            b => line.push(b),
        }
        if line.len() > LINE_MAX_BYTES {
            return Err(Failure::Usage(format!("the password has more than {LINE_MAX_BYTES} bytes")));
        }
    }
}
