//! yum repositories: upstream metadata read strictly and streamed, packages kept as the bytes of their own elements,
//! metadata published from ready pieces, uploads turned into the same elements.
//!
//! Absent: sqlite variants of the metadata, delta rpms.

mod assemble;
mod build;
mod fragments;
mod fuzz;
mod header;
mod header_xml;
mod lists;
pub mod local;
mod modules;
mod notes;
mod primary;
pub mod publish;
mod read;
pub mod repomd;
mod select;
pub mod sync;
mod updateinfo;
pub(crate) mod xml;

pub(crate) use fragments::Fragments;
pub use fragments::ScanError;
pub(crate) use fuzz::{accepted as fuzz_accepted, all as fuzz};
pub(crate) use modules::options as module_yaml_options;
pub(crate) use primary::source_name;
pub(crate) use updateinfo::UPDATEINFO;
pub use xml::XmlError;
pub(crate) use xml::{Event, Tag, Walker, cut, decode};
