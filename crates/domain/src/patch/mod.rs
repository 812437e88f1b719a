//! Patch jobs: what an operator asks for ([`spec`], [`operation`], [`modules`] by [`module_rules`]), which packages that
//! touches ([`pattern`]), how a host's part moves ([`task`]), what it reports ([`report`]), how the job's state follows
//! ([`job`]) and who goes next ([`admission`]). [`deployment`] is jobs on a schedule; [`undo`] takes a task back; [`soak`] keeps young
//! versions out.

pub mod admission;
pub mod deployment;
pub mod filter;
pub mod job;
pub mod module_rules;
pub mod modules;
pub mod operation;
pub mod pattern;
pub mod report;
pub mod soak;
pub mod spec;
pub mod task;
pub mod undo;
