//! What the command touches besides the server: environment, standard streams, terminal, clock, Ctrl-C. A value, so
//! that tests run the whole command in their own process.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// How long the command waits while it follows a job.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Pause before asking again after a lost connection, and between two looks when there is no event stream.
    pub retry: Duration,
    /// Silence of the event stream after which the job is read again: an event may have been lost.
    pub look: Duration,
    /// How long a server may be away before the command gives up.
    pub give_up: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { retry: Duration::from_secs(2), look: Duration::from_secs(15), give_up: Duration::from_secs(600) }
    }
}

/// Everything outside the command.
pub struct World {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Standard input.
    pub input: Box<dyn Read + Send>,
    /// Standard output: results.
    pub out: Box<dyn Write + Send>,
    /// Standard error: progress, notes, errors.
    pub err: Box<dyn Write + Send>,
    /// Standard output is a terminal.
    pub out_is_terminal: bool,
    /// Size of the terminal behind standard error; `None` when it is not one.
    pub screen: fn() -> Option<Screen>,
    /// Stops the terminal behind standard input from showing what is typed, or lets it again; `false` when there is none.
    pub hide: fn(bool) -> bool,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Completes at Ctrl-C; from its first call on, Ctrl-C no longer ends the process by itself.
    pub interrupt: Box<dyn Fn() -> BoxFuture<'static, ()> + Send>,
    /// Waiting times.
    pub pace: Pace,
}

impl World {
    /// The world of this process.
    pub fn of_process() -> World {
        World {
            env: std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
            input: Box::new(std::io::stdin()),
            out: Box::new(std::io::BufWriter::new(std::io::stdout())),
            err: Box::new(std::io::stderr()),
            out_is_terminal: std::io::stdout().is_terminal(),
            screen: process_screen,
            hide: hide_typing,
            now: Timestamp::now,
            interrupt: Box::new(|| {
                Box::pin(async {
                    if tokio::signal::ctrl_c().await.is_err() {
                        // Without a handler Ctrl-C ends the process, which is as good.
                        std::future::pending::<()>().await;
                    }
                })
            }),
            pace: Pace::default(),
        }
    }

    /// An environment variable; an empty one counts as absent.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    fn wants_colour(&self) -> bool {
        self.var("NO_COLOR").is_none() && self.var("TERM") != Some("dumb")
    }

    /// May standard output carry colours?
    pub fn colour_out(&self) -> bool {
        self.out_is_terminal && self.wants_colour()
    }

    /// May standard error carry colours?
    pub fn colour_err(&self) -> bool {
        (self.screen)().is_some() && self.wants_colour()
    }
}

fn hide_typing(hidden: bool) -> bool {
    use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
    std::io::stdin().is_terminal() && if hidden { enable_raw_mode() } else { disable_raw_mode() }.is_ok()
}

fn process_screen() -> Option<Screen> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    // A terminal that does not tell its size is treated as the smallest common one.
    let (width, height) = crossterm::terminal::size().unwrap_or((80, 24));
    Some(Screen { width: width.max(20).into(), height: height.max(4).into() })
}
