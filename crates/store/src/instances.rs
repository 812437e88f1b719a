//! Managed instances: their rows, labels, keys and order numbers.

use std::collections::HashMap;

use drydock_domain::access::Scope;
use drydock_domain::ids::{EnvironmentId, InstanceId};
use drydock_domain::instance::{InstanceState, Labels, PendingReason};
use drydock_domain::inventory::OsFacts;
use drydock_domain::source::host::SourcesMode;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::cursor;
use crate::error::{StoreError, StoreResult};
use crate::history_packed::{self, Packed};
use crate::records::{InstanceQuery, InstanceRecord, InventorySummary, PageQuery, Paged};
use crate::row::{
    count, flag, id, int, json, micros, opt_id, opt_json, opt_micros, opt_parsed, opt_text, opt_time, parsed, storable, text,
    time, to_json,
};
use crate::sql::{Sql, like_escaped};

const COLUMNS: &str = "SELECT id, name, state, pending_reason, duplicate_of, reject_reason, profile_id, machine_id, \
     spki_sha256, previous_spki_sha256, certificate_serial, certificate_expires_at, created_at, last_seen, labels, zone, \
     compartment, os, packages, updates, security_updates, held_updates, reboot_required, findings, inventory_changed_at, \
     sources_mode, environment_id, group_id, \
     (SELECT g.environment_id FROM instance_groups g WHERE g.id = instances.group_id) AS group_environment_id, \
     content_spki_sha256, previous_content_spki_sha256, version FROM instances";

/// Adds an instance. A duplicate (see [`StoreError::is_duplicate`]) means its name or key was taken meanwhile.
pub async fn insert(c: &mut AnyConnection, instance: &InstanceRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO instances (id, name, state, pending_reason, duplicate_of, reject_reason, profile_id, machine_id, \
         spki_sha256, created_at, labels, zone, compartment, os, packages, updates, security_updates, held_updates, \
         reboot_required, findings, order_number, version, sources_mode, environment_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, 0, 0, 0, 0, 0, 0, $15, $16, $17)",
    )
    .bind(instance.id.to_string())
    .bind(instance.name.clone())
    .bind(instance.state.as_str())
    .bind(instance.pending_reason.map(reason_name))
    .bind(instance.duplicate_of.map(|i| i.to_string()))
    .bind(instance.reject_reason.clone())
    .bind(instance.profile.to_string())
    .bind(instance.machine_id.clone())
    .bind(instance.spki_sha256.clone())
    .bind(micros(instance.created_at))
    .bind(to_json("labels", &instance.labels)?)
    .bind(instance.zone.clone())
    .bind(instance.compartment.clone())
    .bind(instance.os.as_ref().map(|os| to_json("operating-system facts", os)).transpose()?)
    .bind(instance.version)
    .bind(instance.sources_mode.as_str())
    .bind(instance.environment.map(|e| e.to_string()))
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("store an instance"))?;
    put_labels(c, instance.id, &instance.labels).await
}

/// The instance with this id.
pub async fn find(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<Option<InstanceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").bind(instance.to_string());
    sql.fetch(c, "read an instance").await?.first().map(read).transpose()
}

/// The instance with this name.
pub async fn find_by_name(c: &mut AnyConnection, name: &str) -> StoreResult<Option<InstanceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE name = ").bind(storable(name));
    sql.fetch(c, "look up an instance by name").await?.first().map(read).transpose()
}

/// The instance whose current key this is.
pub async fn find_by_key(c: &mut AnyConnection, spki_sha256: &str) -> StoreResult<Option<InstanceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE spki_sha256 = ").bind(spki_sha256.to_owned());
    sql.fetch(c, "look up an instance by key").await?.first().map(read).transpose()
}

/// The instance whose key was this one until a renewal that was not used yet.
pub async fn find_by_previous_key(c: &mut AnyConnection, spki_sha256: &str) -> StoreResult<Option<InstanceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE previous_spki_sha256 = ").bind(spki_sha256.to_owned());
    sql.fetch(c, "look up an instance by its previous key").await?.first().map(read).transpose()
}

/// Instances with this machine-id in one of these states, oldest first.
pub async fn with_machine_id(
    c: &mut AnyConnection,
    machine_id: &str,
    states: &[InstanceState],
) -> StoreResult<Vec<InstanceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE machine_id = ").bind(machine_id.to_owned());
    sql.push(" AND state IN ").bind_list(states.iter().map(|s| s.as_str().to_owned()));
    sql.push(" ORDER BY created_at, id");
    sql.fetch(c, "look up instances by machine-id").await?.iter().map(read).collect()
}

/// Names that are `base` or start with `base-`: what a new name must differ from.
pub async fn names_like(c: &mut AnyConnection, base: &str) -> StoreResult<Vec<String>> {
    let mut sql = Sql::new("SELECT name FROM instances WHERE name = ");
    sql.bind(base.to_owned()).push(" OR name LIKE ").bind(format!("{}-%", like_escaped(base))).push(" ESCAPE '\\'");
    sql.fetch(c, "look up instance names").await?.iter().map(|r| text(r, "name")).collect()
}

/// Instances by name, of those in `scope`.
pub async fn list(c: &mut AnyConnection, query: &InstanceQuery, scope: &Scope) -> StoreResult<Paged<InstanceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1").within("compartment", scope);
    if let Some([last]) = cursor::keys::<1>(&query.page)? {
        sql.push(" AND name > ").bind(last);
    }
    if let Some(state) = query.state {
        sql.push(" AND state = ").bind(state.as_str());
    }
    if let Some(zone) = &query.zone {
        sql.push(" AND zone = ").bind(storable(zone));
    }
    if !query.name_contains.is_empty() {
        let pattern = format!("%{}%", like_escaped(&storable(&query.name_contains).to_lowercase()));
        sql.push(" AND lower(name) LIKE ").bind(pattern).push(" ESCAPE '\\'");
    }
    for (key, value) in &query.labels {
        sql.push(" AND id IN (SELECT instance_id FROM instance_labels WHERE label_key = ").bind(storable(key));
        sql.push(" AND label_value = ").bind(storable(value)).push(")");
    }
    sql.push(" ORDER BY name LIMIT ").bind(cursor::fetch_limit(&query.page));
    let rows = sql.fetch(c, "list instances").await?;
    let instances = rows.iter().map(read).collect::<StoreResult<Vec<_>>>()?;
    Ok(cursor::page(&query.page, instances, |i| vec![i.name.clone()]))
}

/// These instances by name; those that are gone are left out.
pub async fn by_ids(c: &mut AnyConnection, ids: &[InstanceId]) -> StoreResult<Vec<InstanceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id IN ").bind_list(ids.iter().map(ToString::to_string)).push(" ORDER BY name");
    sql.fetch(c, "read some instances").await?.iter().map(read).collect()
}

/// The name that a page of [`list`] begins after.
pub fn page_begins(page: &PageQuery) -> StoreResult<Option<String>> {
    Ok(cursor::keys::<1>(page)?.map(|[last]| last))
}

/// Makes a page of instances by name, chosen elsewhere, with a cursor that [`list`] understands. One more than the page
/// holds says that there are more.
pub fn page_of(page: &PageQuery, instances: Vec<InstanceRecord>) -> Paged<InstanceRecord> {
    cursor::page(page, instances, |i| vec![i.name.clone()])
}

/// What a filter needs of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: InstanceId,
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its labels.
    pub labels: Labels,
    /// Name of the group it is in.
    pub group: Option<String>,
    /// Path of its compartment.
    pub compartment: String,
}

/// Every instance in this state, by name, with what filters look at. The whole fleet: some 10 MB for 50,000 hosts.
pub async fn targets(c: &mut AnyConnection, state: InstanceState) -> StoreResult<Vec<Target>> {
    let mut sql = Sql::new(
        "SELECT id, name, zone, labels, compartment, (SELECT g.name FROM instance_groups g WHERE g.id = instances.group_id) \
         AS group_name FROM instances WHERE state = ",
    );
    sql.bind(state.as_str()).push(" ORDER BY name");
    let rows = sql.fetch(c, "read the targets of a patch job").await?;
    let read = |r: &AnyRow| {
        let (id, name, zone, compartment) = (id(r, "id")?, text(r, "name")?, text(r, "zone")?, text(r, "compartment")?);
        Ok(Target { id, name, zone, labels: json(r, "labels")?, group: opt_text(r, "group_name")?, compartment })
    };
    rows.iter().map(read).collect()
}

/// The operating systems of all instances in this state that told theirs.
pub async fn operating_systems(c: &mut AnyConnection, state: InstanceState) -> StoreResult<HashMap<InstanceId, OsFacts>> {
    let mut sql = Sql::new("SELECT id, os FROM instances WHERE os IS NOT NULL AND state = ");
    sql.bind(state.as_str());
    let rows = sql.fetch(c, "read the operating systems of instances").await?;
    rows.iter().map(|r| Ok((id(r, "id")?, json(r, "os")?))).collect()
}

/// What an edit replaces.
#[derive(Debug, Clone, Copy)]
pub struct Edit<'a> {
    /// Labels.
    pub labels: &'a Labels,
    /// Zone.
    pub zone: &'a str,
}

/// Replaces labels and zone, if the version is still the one read.
pub async fn edit(c: &mut AnyConnection, instance: InstanceId, edit: Edit<'_>, version: i64) -> StoreResult<bool> {
    let changed =
        sqlx::query("UPDATE instances SET labels = $2, zone = $3, version = version + 1 WHERE id = $1 AND version = $4")
            .bind(instance.to_string())
            .bind(to_json("labels", edit.labels)?)
            .bind(edit.zone.to_owned())
            .bind(version)
            .execute(&mut *c)
            .await
            .map_err(StoreError::query("edit an instance"))?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM instance_labels WHERE instance_id = $1")
        .bind(instance.to_string())
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("replace the labels of an instance"))?;
    put_labels(c, instance, edit.labels).await?;
    Ok(true)
}

/// Puts an instance into another compartment, if the version is still the one read.
pub async fn set_compartment(c: &mut AnyConnection, instance: InstanceId, path: &str, version: i64) -> StoreResult<bool> {
    sqlx::query("UPDATE instances SET compartment = $2, version = version + 1 WHERE id = $1 AND version = $3")
        .bind(instance.to_string())
        .bind(storable(path))
        .bind(version)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("move an instance"))
}

/// Moves an instance to a state, if the version is still the one read. The pending reason goes.
pub async fn set_state(
    c: &mut AnyConnection,
    instance: InstanceId,
    state: InstanceState,
    reject_reason: &str,
    version: i64,
) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE instances SET state = $2, pending_reason = NULL, reject_reason = $3, version = version + 1 \
         WHERE id = $1 AND version = $4",
    )
    .bind(instance.to_string())
    .bind(state.as_str())
    .bind(reject_reason.to_owned())
    .bind(version)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("change the state of an instance"))
}

/// Replaces sources mode and environment, if the version is still the one read. An environment that is gone is an
/// error: see [`StoreError::is_referenced`].
pub async fn set_sources(
    c: &mut AnyConnection,
    instance: InstanceId,
    mode: SourcesMode,
    environment: Option<EnvironmentId>,
    version: i64,
) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE instances SET sources_mode = $2, environment_id = $3, version = version + 1 WHERE id = $1 AND version = $4",
    )
    .bind(instance.to_string())
    .bind(mode.as_str())
    .bind(environment.map(|e| e.to_string()))
    .bind(version)
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("edit the sources of an instance"))
}

/// Records the key of a content certificate, if the instance is in `state`; the key before it stays good beside it, any
/// older one is forgotten. The same key again changes nothing. `false`: there is no such instance in `state`.
pub async fn set_content_key(
    c: &mut AnyConnection,
    instance: InstanceId,
    spki_sha256: &str,
    state: InstanceState,
) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE instances SET previous_content_spki_sha256 = CASE WHEN content_spki_sha256 = $2 \
         THEN previous_content_spki_sha256 ELSE content_spki_sha256 END, content_spki_sha256 = $2 \
         WHERE id = $1 AND state = $3",
    )
    .bind(instance.to_string())
    .bind(spki_sha256.to_owned())
    .bind(state.as_str())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("record the key of a content certificate"))
}

/// The instance whose content certificate has, or had before the present one, this key.
pub async fn find_by_content_key(c: &mut AnyConnection, spki_sha256: &str) -> StoreResult<Option<InstanceRecord>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE content_spki_sha256 = ").bind(spki_sha256.to_owned());
    sql.push(" OR previous_content_spki_sha256 = ").bind(spki_sha256.to_owned());
    sql.fetch(c, "look up an instance by the key of its content certificate").await?.first().map(read).transpose()
}

/// Deletes an instance with its labels, inventory, history and attachments. `false`: there is none.
pub async fn delete(c: &mut AnyConnection, instance: InstanceId) -> StoreResult<bool> {
    let gone = sqlx::query("DELETE FROM instances WHERE id = $1")
        .bind(instance.to_string())
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("delete an instance"))?;
    // Only now: who attaches holds the instance's row, so every attachment there will ever be is visible here.
    sqlx::query("DELETE FROM attachments WHERE target_kind = 'INSTANCE' AND target_id = $1")
        .bind(instance.to_string())
        .execute(c)
        .await
        .map_err(StoreError::query("detach the sources of an instance"))?;
    Ok(gone.rows_affected() == 1)
}

/// A certificate as issued.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    /// SHA-256 of its public key (SPKI, DER), hex.
    pub spki_sha256: &'a str,
    /// The key to go on accepting until this one is used; `None` when the key stays.
    pub previous: Option<&'a str>,
    /// Its serial number, hex.
    pub serial: &'a str,
    /// When it ends.
    pub not_after: Timestamp,
}

/// Records a certificate, if the current key is still `current` and the instance in `state`.
pub async fn set_certificate(
    c: &mut AnyConnection,
    instance: InstanceId,
    certificate: Certificate<'_>,
    current: &str,
    state: InstanceState,
) -> StoreResult<bool> {
    sqlx::query(
        "UPDATE instances SET spki_sha256 = $2, previous_spki_sha256 = $3, certificate_serial = $4, \
         certificate_expires_at = $5 WHERE id = $1 AND spki_sha256 = $6 AND state = $7",
    )
    .bind(instance.to_string())
    .bind(certificate.spki_sha256.to_owned())
    .bind(certificate.previous.map(str::to_owned))
    .bind(certificate.serial.to_owned())
    .bind(micros(certificate.not_after))
    .bind(current.to_owned())
    .bind(state.as_str())
    .execute(c)
    .await
    .map(|r| r.rows_affected() == 1)
    .map_err(StoreError::query("record a certificate"))
}

/// Forgets the previous key, if `current` is the current one.
pub async fn drop_previous_key(c: &mut AnyConnection, instance: InstanceId, current: &str) -> StoreResult<()> {
    sqlx::query("UPDATE instances SET previous_spki_sha256 = NULL WHERE id = $1 AND spki_sha256 = $2")
        .bind(instance.to_string())
        .bind(current.to_owned())
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("forget the previous key of an instance"))
}

/// Notes a contact; never goes back.
pub async fn touch(c: &mut AnyConnection, instance: InstanceId, at: Timestamp) -> StoreResult<()> {
    sqlx::query("UPDATE instances SET last_seen = $2 WHERE id = $1 AND (last_seen IS NULL OR last_seen < $2)")
        .bind(instance.to_string())
        .bind(micros(at))
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note a contact of an instance"))
}

/// Gives out the instance's next order number: one more than the last, and at least `floor`. Holds the instance's row
/// until the transaction ends. `None`: there is no such instance in `state`.
pub async fn next_order_number(
    c: &mut AnyConnection,
    instance: InstanceId,
    floor: i64,
    state: InstanceState,
) -> StoreResult<Option<i64>> {
    let row = sqlx::query(
        "UPDATE instances SET order_number = CASE WHEN order_number >= $2 THEN order_number + 1 ELSE $2 END \
         WHERE id = $1 AND state = $3 RETURNING order_number",
    )
    .bind(instance.to_string())
    .bind(floor)
    .bind(state.as_str())
    .fetch_optional(c)
    .await
    .map_err(StoreError::query("give out an order number"))?;
    row.map(|r| int(&r, "order_number")).transpose()
}

/// Stores what the inventory adds up to, and the facts when they changed.
pub async fn set_inventory(
    c: &mut AnyConnection,
    instance: InstanceId,
    summary: &InventorySummary,
    os: Option<&str>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE instances SET packages = $2, updates = $3, security_updates = $4, held_updates = $5, reboot_required = $6, \
         findings = $7, inventory_changed_at = $8, os = COALESCE($9, os) WHERE id = $1",
    )
    .bind(instance.to_string())
    .bind(i64::from(summary.packages))
    .bind(i64::from(summary.updates))
    .bind(i64::from(summary.security_updates))
    .bind(i64::from(summary.held_updates))
    .bind(i64::from(summary.reboot_required))
    .bind(i64::from(summary.findings))
    .bind(opt_micros(summary.changed_at))
    .bind(os.map(str::to_owned))
    .execute(c)
    .await
    .map(drop)
    .map_err(StoreError::query("store the inventory's summary"))
}

/// Rows changed by one statement, count.
const CHUNK_ROWS: usize = 128;

/// Stores what inventories add up to, and operating-system facts where they changed.
pub async fn set_inventories(
    c: &mut AnyConnection,
    summaries: &[(InstanceId, InventorySummary, Option<String>)],
) -> StoreResult<()> {
    for chunk in summaries.chunks(CHUNK_ROWS) {
        let mut sql = Sql::new(
            "UPDATE instances SET packages = v.column2, updates = v.column3, security_updates = v.column4, \
             held_updates = v.column5, reboot_required = v.column6, findings = v.column7, inventory_changed_at = v.column8, \
             os = COALESCE(v.column9, instances.os) FROM (VALUES ",
        );
        for (n, (instance, sum, os)) in chunk.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" }).bind(instance.to_string());
            let counts = [sum.packages, sum.updates, sum.security_updates, sum.held_updates];
            for count in counts.into_iter().chain([u32::from(sum.reboot_required), sum.findings]) {
                sql.push(", ").bind(i64::from(count));
            }
            sql.push(", ").bind(opt_micros(sum.changed_at)).push(", ").bind(os.clone()).push(")");
        }
        sql.push(") AS v WHERE instances.id = v.column1");
        sql.execute(c, "store the inventories' summaries").await?;
    }
    Ok(())
}

/// What the inventories of some instances add up to, and the JSON of their operating-system facts; deleted ones are left
/// out.
pub async fn inventories(
    c: &mut AnyConnection,
    instances: &[InstanceId],
) -> StoreResult<HashMap<InstanceId, (InventorySummary, Option<String>)>> {
    let mut sql = SUMMARIES.sql(c);
    sql.push(" WHERE id IN ").bind_list(instances.iter().map(ToString::to_string));
    let text = history_packed::fetch(sql, c, "read the inventory's summaries").await?;
    history_packed::entries(&text).map(packed_summary).collect()
}

const SUMMARIES: Packed = Packed {
    sqlite: "SELECT group_concat(id || ':' || packages || ':' || updates || ':' || security_updates || ':' || held_updates || ':' \
             || reboot_required || ':' || findings || ':' || COALESCE(inventory_changed_at, '') || ':' || COALESCE(hex(os), ''), \
             ',') AS packed FROM instances",
    postgres: "SELECT string_agg(id || ':' || packages || ':' || updates || ':' || security_updates || ':' || held_updates || ':' \
               || reboot_required || ':' || findings || ':' || COALESCE(inventory_changed_at::text, '') || ':' \
               || COALESCE(encode(convert_to(os, 'UTF8'), 'hex'), ''), ',') AS packed FROM instances",
};

fn packed_summary(entry: &str) -> StoreResult<(InstanceId, (InventorySummary, Option<String>))> {
    let [id, packages, updates, security, held, reboot, findings, changed_at, os] = history_packed::fields(entry)?;
    let bad = |problem: &str| StoreError::Row { column: "packed", problem: problem.to_owned() };
    let at = |text: &str| text.parse().ok().and_then(|at| Timestamp::from_microsecond(at).ok());
    let summary = InventorySummary {
        packages: history_packed::number(packages)?,
        updates: history_packed::number(updates)?,
        security_updates: history_packed::number(security)?,
        held_updates: history_packed::number(held)?,
        reboot_required: history_packed::number(reboot)? != 0,
        findings: history_packed::number(findings)?,
        changed_at: if changed_at.is_empty() { None } else { Some(at(changed_at).ok_or_else(|| bad("a time cannot be read"))?) },
    };
    let os = String::from_utf8(history_packed::bytes(os)?).map_err(|_| bad("operating-system facts are not UTF-8"))?;
    Ok((history_packed::id(id)?, (summary, Some(os).filter(|os| !os.is_empty()))))
}

fn summary(row: &AnyRow) -> StoreResult<InventorySummary> {
    Ok(InventorySummary {
        packages: count(row, "packages")?,
        updates: count(row, "updates")?,
        security_updates: count(row, "security_updates")?,
        held_updates: count(row, "held_updates")?,
        reboot_required: flag(row, "reboot_required")?,
        findings: count(row, "findings")?,
        changed_at: opt_time(row, "inventory_changed_at")?,
    })
}

async fn put_labels(c: &mut AnyConnection, instance: InstanceId, labels: &Labels) -> StoreResult<()> {
    for (key, value) in labels {
        sqlx::query("INSERT INTO instance_labels (instance_id, label_key, label_value) VALUES ($1, $2, $3)")
            .bind(instance.to_string())
            .bind(key.clone())
            .bind(value.clone())
            .execute(&mut *c)
            .await
            .map_err(StoreError::query("store the labels of an instance"))?;
    }
    Ok(())
}

fn reason_name(reason: PendingReason) -> &'static str {
    match reason {
        PendingReason::ProfileAsks => "PROFILE_ASKS",
        PendingReason::DuplicateMachineId => "DUPLICATE_MACHINE_ID",
    }
}

fn parse_reason(text: &str) -> Option<PendingReason> {
    [PendingReason::ProfileAsks, PendingReason::DuplicateMachineId].into_iter().find(|r| reason_name(*r) == text)
}

fn read(row: &AnyRow) -> StoreResult<InstanceRecord> {
    let summary = summary(row)?;
    Ok(InstanceRecord {
        id: id(row, "id")?,
        name: text(row, "name")?,
        state: parsed(row, "state", InstanceState::parse)?,
        pending_reason: opt_parsed(row, "pending_reason", parse_reason)?,
        duplicate_of: opt_id(row, "duplicate_of")?,
        reject_reason: text(row, "reject_reason")?,
        profile: id(row, "profile_id")?,
        machine_id: text(row, "machine_id")?,
        spki_sha256: text(row, "spki_sha256")?,
        previous_spki_sha256: opt_text(row, "previous_spki_sha256")?,
        certificate_serial: opt_text(row, "certificate_serial")?,
        certificate_expires_at: opt_time(row, "certificate_expires_at")?,
        created_at: time(row, "created_at")?,
        last_seen: opt_time(row, "last_seen")?,
        labels: json(row, "labels")?,
        zone: text(row, "zone")?,
        compartment: text(row, "compartment")?,
        os: opt_json(row, "os")?,
        inventory: summary.changed_at.map(|_| summary),
        sources_mode: parsed(row, "sources_mode", SourcesMode::parse)?,
        environment: opt_id(row, "environment_id")?,
        group: opt_id(row, "group_id")?,
        group_environment: opt_id(row, "group_environment_id")?,
        content_spki_sha256: opt_text(row, "content_spki_sha256")?,
        previous_content_spki_sha256: opt_text(row, "previous_content_spki_sha256")?,
        version: int(row, "version")?,
    })
}
