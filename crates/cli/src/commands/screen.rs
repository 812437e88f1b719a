//! Where progress goes: redrawn in place on a terminal, appended lines anywhere else. Always standard error, so that
//! standard output holds the result alone.

use std::io::Write;

use jiff::Timestamp;

use crate::progress::{Picture, Seen, frame, title};
use crate::world::{Screen, World};

/// Draws a job's progress.
pub struct ScreenWriter<'a> {
    world: &'a mut World,
    colour: bool,
    drawn_lines: usize,
    seen: Seen,
    begun: bool,
    note: Option<String>,
}

impl<'a> ScreenWriter<'a> {
    /// Nothing is drawn yet.
    pub fn new(world: &'a mut World) -> Self {
        let colour = world.colour_err();
        ScreenWriter { world, colour, drawn_lines: 0, seen: Seen::default(), begun: false, note: None }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.world.now)()
    }

    /// Shows the picture.
    pub fn draw(&mut self, picture: &Picture) -> std::io::Result<()> {
        let now = self.now();
        // Asked each time: the operator may resize the window.
        if let Some(screen) = (self.world.screen)() {
            let lines = frame(picture, now, screen, self.colour, self.note.as_deref());
            self.redraw(&lines)?;
        } else {
            if !self.begun {
                writeln!(self.world.err, "{}", title(&picture.job))?;
            }
            for line in self.seen.news(picture, now) {
                writeln!(self.world.err, "{line}")?;
            }
        }
        self.begun = true;
        self.world.err.flush()
    }

    /// The terminal, unless lines cannot be redrawn; colours that it may have.
    pub fn terminal(&self) -> (Option<Screen>, bool) {
        ((self.world.screen)(), self.colour)
    }

    /// Draws these lines over those drawn last.
    pub fn redraw(&mut self, lines: &[String]) -> std::io::Result<()> {
        let mut text = self.erasing();
        self.drawn_lines = lines.len();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.world.err.write_all(text.as_bytes())?;
        self.world.err.flush()
    }

    /// Prints a line that stays.
    pub fn say(&mut self, line: &str) -> std::io::Result<()> {
        writeln!(self.world.err, "{line}")?;
        self.world.err.flush()
    }

    /// Sets or clears the line below the hosts, such as "the server does not answer". Printed once when lines cannot be
    /// redrawn.
    pub fn note(&mut self, note: Option<String>) -> std::io::Result<()> {
        if (self.world.screen)().is_none()
            && let Some(text) = note.as_ref().filter(|n| Some(*n) != self.note.as_ref())
        {
            writeln!(self.world.err, "{text}")?;
        }
        self.note = note;
        Ok(())
    }

    fn erasing(&self) -> String {
        // Up to the first drawn line, then clear to the end of the screen.
        if self.drawn_lines == 0 { String::new() } else { format!("\u{1b}[{}A\u{1b}[J", self.drawn_lines) }
    }

    /// Removes what can be removed, because the result follows on standard output.
    pub fn erase(&mut self) -> std::io::Result<()> {
        let text = self.erasing();
        self.drawn_lines = 0;
        self.world.err.write_all(text.as_bytes())?;
        self.world.err.flush()
    }
}
