//! What surrounds every step of a kind: its directory, its note, its limit, and the end of its mistakes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use drydock_domain::inventory::fingerprint;
use drydock_domain::policy::Resource;
use drydock_domain::policy::host::STEP_TIMEOUT_DEFAULT_SECS;
use serde::Serialize;

use super::{Key, Tools};
use crate::platform;
use crate::policy::kind::{Cx, Failure, Kind, Memory};
use crate::policy::kinds::{FileMemory, NoMemory};

/// Of a file name, characters.
const NAME_CHARS: usize = 32;

fn name<T: Serialize>(of: &T) -> String {
    // Plain texts always have a JSON form.
    fingerprint(&serde_json::to_vec(of).unwrap_or_default())[..NAME_CHARS].to_owned()
}

/// Name of a resource's directory of downloads: it goes when the resource changes.
pub fn scratch_name(key: &Key, resource: &Resource) -> String {
    name(&(key, resource))
}

/// Name of a resource's note: it goes with the resource.
pub fn memory_name(key: &Key) -> String {
    name(key)
}

/// Calls `work` with what a resource may use. A panic in it is a failure like others.
pub fn with_cx<T>(
    kind: &mut dyn Kind,
    (key, resource): (&Key, &Resource),
    tools: &Tools<'_>,
    work: impl FnOnce(&mut dyn Kind, &Cx<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let scratch = tools.scratch.join(scratch_name(key, resource));
    platform::private_dir(&scratch).map_err(|e| Failure::of(format!("cannot create {}: {e}", scratch.display())))?;
    let kept = tools.memory.as_ref().map(|dir| FileMemory::new(dir.join(memory_name(key))));
    let memory: &dyn Memory = match &kept {
        Some(file) => file,
        None => &NoMemory,
    };
    let cx = Cx {
        root: tools.root,
        runner: tools.runner,
        transactions: tools.transactions,
        units: tools.units,
        scratch: &scratch,
        limit: Duration::from_secs(resource.timeout_secs.unwrap_or(STEP_TIMEOUT_DEFAULT_SECS)),
        secrets: tools.secrets,
        memory,
    };
    // What a kind leaves behind is read again by its next validation.
    catch_unwind(AssertUnwindSafe(|| work(kind, &cx))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref().cloned());
        let why = text.unwrap_or_else(|| "no word".to_owned());
        Err(Failure::of(format!("the agent made a mistake here ({why}); please report it")))
    })
}
