//! Patch jobs: what an operator asks for ([`spec`], [`operation`]), which packages that touches ([`pattern`]), how a host's part
//! moves ([`task`]), what it reports ([`report`]), how the job's state follows ([`job`]) and who goes next
//! ([`admission`]).

pub mod admission;
pub mod filter;
pub mod job;
pub mod operation;
pub mod pattern;
pub mod report;
pub mod spec;
pub mod task;
