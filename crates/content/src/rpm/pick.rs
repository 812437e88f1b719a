//! Which packages, advisories and modules a selection takes.

use std::collections::HashSet;

use drydock_domain::source::filter::Selection;
use drydock_domain::source::unit::Format;

use crate::error::{ContentError, ContentResult};
use crate::snapshot::{AdvisoryRecord, ModuleRecord, UnitRecord};

pub(crate) fn pick(
    _: &Selection,
    _: Format,
    _: &[UnitRecord],
    _: &[AdvisoryRecord],
    _: &[ModuleRecord],
) -> ContentResult<Vec<bool>> {
    Err(ContentError::Refused { what: "selection".into(), problem: "is not supported".into() })
}

pub(crate) fn advisory_kept(record: &AdvisoryRecord, kept: &HashSet<String>) -> bool {
    record.packages.iter().any(|package| kept.contains(package))
}

pub(crate) fn module_kept(record: &ModuleRecord, kept: &HashSet<String>) -> bool {
    record.kind != "modulemd" || record.artifacts.iter().any(|package| kept.contains(package))
}
