//! Compartments and what lies in them. A resource's row keeps the path of its compartment; renaming and moving a compartment
//! rewrites the paths of everything inside it in one transaction. Also the number that grows with every change of what
//! decides: servers compile their statements anew when it did.

use drydock_domain::access::Scope;
use drydock_domain::ids::CompartmentId;
use jiff::Timestamp;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::error::{StoreError, StoreResult};
use crate::row::{big_count, id, int, micros, storable, text, time};
use crate::sql::{Sql, like_escaped};

/// A compartment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompartmentRecord {
    /// Its id.
    pub id: CompartmentId,
    /// Its path, for example `/A/web`; its name is the last part.
    pub path: String,
    /// For people.
    pub description: String,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Grows with every change; the etag.
    pub version: i64,
}

/// What lies in compartments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An instance: by id or name.
    Instance,
    /// A managed instance group: by name.
    Group,
    /// An enrolment profile: by id.
    Profile,
    /// A software source: by name.
    Source,
    /// A lifecycle environment: by name.
    Environment,
    /// A patch job: by id.
    PatchJob,
    /// A patch deployment: by name.
    Deployment,
    /// A maintenance window: by name.
    Window,
    /// A freeze calendar: by name.
    Freeze,
    /// A group of reboot slots: by name.
    RebootSlots,
    /// A policy assignment: by name.
    Assignment,
    /// A preview of policies: by id.
    Preview,
    /// A secret: by name.
    Secret,
    /// An exception: by id.
    Exception,
}

/// Where a thing lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lying {
    /// Its id (a secret's is its name).
    pub id: String,
    /// Its name, or its id where it has none.
    pub name: String,
    /// The path of its compartment.
    pub compartment: String,
}

/// The tables with a column `compartment`, each with the words of its statements.
struct Table {
    /// Reads `id`, `name`, `compartment` by `$1`, which is a name or an id.
    find: &'static str,
    /// Writes the compartment `$2` of the row `$1`.
    put: &'static str,
    /// Counts the rows in the compartment `$1` or below (`$2`, a pattern).
    count: &'static str,
    /// Rewrites paths: `$1` what they begin with now, `$2` what instead, `$3` the pattern of what lies below.
    rewrite: &'static str,
}

macro_rules! table {
    ($name:literal, $id:literal, $shown:literal, $found:literal) => {
        Table {
            find: concat!("SELECT ", $id, " AS id, ", $shown, " AS name, compartment FROM ", $name, " WHERE ", $found),
            put: concat!("UPDATE ", $name, " SET compartment = $2 WHERE ", $id, " = $1"),
            count: concat!("SELECT count(*) AS n FROM ", $name, " WHERE compartment = $1 OR compartment LIKE $2 ESCAPE '\\'"),
            rewrite: concat!(
                "UPDATE ",
                $name,
                " SET compartment = CAST($2 AS TEXT) || substr(compartment, length(CAST($1 AS TEXT)) + 1) ",
                "WHERE compartment = $1 OR compartment LIKE $3 ESCAPE '\\'"
            ),
        }
    };
}

const INSTANCES: Table = table!("instances", "id", "name", "id = $1 OR name = $1");
const GROUPS: Table = table!("instance_groups", "id", "name", "name = $1");
const PROFILES: Table = table!("profiles", "id", "id", "id = $1");
const SOURCES: Table = table!("sources", "id", "name", "name = $1");
const ENVIRONMENTS: Table = table!("environments", "id", "name", "name = $1");
const JOBS: Table = table!("patch_jobs", "id", "display_name", "id = $1");
const DEPLOYMENTS: Table = table!("patch_deployments", "id", "name", "name = $1 OR id = $1");
const WINDOWS: Table = table!("calendars", "id", "name", "kind = 'WINDOW' AND name = $1");
const FREEZES: Table = table!("calendars", "id", "name", "kind = 'FREEZE' AND name = $1");
const SLOTS: Table = table!("calendars", "id", "name", "kind = 'REBOOT_SLOTS' AND name = $1");
const ASSIGNMENTS: Table = table!("policy_assignments", "id", "name", "name = $1 OR id = $1");
const PREVIEWS: Table = table!("policy_previews", "id", "name", "id = $1");
const SECRETS: Table = table!("policy_secrets", "name", "name", "name = $1");
const EXCEPTIONS: Table = table!("vulnerability_exceptions", "id", "cve", "id = $1");
const POLICIES: Table = table!("access_policies", "id", "name", "name = $1");

/// Each table once.
const ALL: [&Table; 13] = [
    &INSTANCES,
    &GROUPS,
    &PROFILES,
    &SOURCES,
    &ENVIRONMENTS,
    &JOBS,
    &DEPLOYMENTS,
    &WINDOWS,
    &ASSIGNMENTS,
    &PREVIEWS,
    &SECRETS,
    &EXCEPTIONS,
    &POLICIES,
];

impl Kind {
    fn table(self) -> &'static Table {
        match self {
            Kind::Instance => &INSTANCES,
            Kind::Group => &GROUPS,
            Kind::Profile => &PROFILES,
            Kind::Source => &SOURCES,
            Kind::Environment => &ENVIRONMENTS,
            Kind::PatchJob => &JOBS,
            Kind::Deployment => &DEPLOYMENTS,
            Kind::Window => &WINDOWS,
            Kind::Freeze => &FREEZES,
            Kind::RebootSlots => &SLOTS,
            Kind::Assignment => &ASSIGNMENTS,
            Kind::Preview => &PREVIEWS,
            Kind::Secret => &SECRETS,
            Kind::Exception => &EXCEPTIONS,
        }
    }
}

/// A pattern of LIKE for everything inside a compartment.
fn inside(path: &str) -> String {
    format!("{}/%", like_escaped(path))
}

/// All compartments but the tenancy, by path.
pub async fn list(c: &mut AnyConnection) -> StoreResult<Vec<CompartmentRecord>> {
    let sql = Sql::new("SELECT id, path, description, created_by, created_at, version FROM compartments ORDER BY path");
    sql.fetch(c, "list compartments").await?.iter().map(read).collect()
}

/// Adds a compartment. A duplicate (see [`StoreError::is_duplicate`]) means there is one with this path.
pub async fn insert(c: &mut AnyConnection, own: &CompartmentRecord) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO compartments (id, path, description, created_by, created_at, version) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(own.id.to_string())
    .bind(storable(&own.path))
    .bind(storable(&own.description))
    .bind(storable(&own.created_by))
    .bind(micros(own.created_at))
    .bind(own.version)
    .execute(&mut *c)
    .await
    .map_err(StoreError::query("store a compartment"))?;
    changed(c).await
}

/// Replaces the description, if the version is still the one read.
pub async fn describe(c: &mut AnyConnection, own: CompartmentId, description: &str, version: i64) -> StoreResult<bool> {
    sqlx::query("UPDATE compartments SET description = $2, version = version + 1 WHERE id = $1 AND version = $3")
        .bind(own.to_string())
        .bind(storable(description))
        .bind(version)
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("edit a compartment"))
}

/// Gives a compartment another path, and everything inside it with it. `false`: somebody changed it meanwhile.
pub async fn rename(c: &mut AnyConnection, own: &CompartmentRecord, path: &str) -> StoreResult<bool> {
    let held = sqlx::query("UPDATE compartments SET version = version + 1 WHERE id = $1 AND version = $2 AND path = $3")
        .bind(own.id.to_string())
        .bind(own.version)
        .bind(storable(&own.path))
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("hold a compartment"))?;
    if held.rows_affected() == 0 {
        return Ok(false);
    }
    let own_rows = "UPDATE compartments SET path = CAST($2 AS TEXT) || substr(path, length(CAST($1 AS TEXT)) + 1) \
                    WHERE path = $1 OR path LIKE $3 ESCAPE '\\'";
    for statement in ALL.iter().map(|t| t.rewrite).chain([own_rows]) {
        sqlx::query(statement)
            .bind(storable(&own.path))
            .bind(storable(path))
            .bind(inside(&own.path))
            .execute(&mut *c)
            .await
            .map_err(StoreError::query("rewrite the paths of compartments"))?;
    }
    changed(c).await?;
    Ok(true)
}

/// How much lies in a compartment and below it: resources, and compartments inside it.
pub async fn contents(c: &mut AnyConnection, path: &str) -> StoreResult<u64> {
    let mut sum = 0;
    let inner = "SELECT count(*) AS n FROM compartments WHERE path <> $1 AND path LIKE $2 ESCAPE '\\'";
    for statement in ALL.iter().map(|t| t.count).chain([inner]) {
        let query = sqlx::query(statement).bind(storable(path)).bind(inside(path));
        let row = query.fetch_one(&mut *c).await.map_err(StoreError::query("count what lies in a compartment"))?;
        sum += big_count(&row, "n")?;
    }
    Ok(sum)
}

/// Deletes a compartment, if the version is still the one read. The caller made sure, in this transaction, that it is empty.
pub async fn delete(c: &mut AnyConnection, own: CompartmentId, version: i64) -> StoreResult<bool> {
    let deleted = sqlx::query("DELETE FROM compartments WHERE id = $1 AND version = $2")
        .bind(own.to_string())
        .bind(version)
        .execute(&mut *c)
        .await
        .map_err(StoreError::query("delete a compartment"))?;
    changed(c).await?;
    Ok(deleted.rows_affected() == 1)
}

/// Where the thing with this name or id lies.
pub async fn find(c: &mut AnyConnection, kind: Kind, name_or_id: &str) -> StoreResult<Option<Lying>> {
    let rows = sqlx::query(kind.table().find)
        .bind(storable(name_or_id))
        .fetch_all(c)
        .await
        .map_err(StoreError::query("look up where a thing lies"))?;
    // An instance may be called like another one's id: the id comes first, as everywhere.
    let by_id = rows.iter().find(|row| text(row, "id").is_ok_and(|id| id == name_or_id));
    by_id.or(rows.first()).map(lying).transpose()
}

/// Puts a thing into a compartment. `false`: there is no such thing.
pub async fn put(c: &mut AnyConnection, kind: Kind, id: &str, path: &str) -> StoreResult<bool> {
    sqlx::query(kind.table().put)
        .bind(id.to_owned())
        .bind(storable(path))
        .execute(c)
        .await
        .map(|r| r.rows_affected() == 1)
        .map_err(StoreError::query("put a thing into a compartment"))
}

/// Ids of the instances in the compartments of `scope`.
pub async fn instances_within(c: &mut AnyConnection, scope: &Scope) -> StoreResult<Vec<drydock_domain::ids::InstanceId>> {
    let mut sql = Sql::new("SELECT id FROM instances WHERE 1 = 1");
    sql.within("compartment", scope);
    sql.fetch(c, "read which instances lie in some compartments").await?.iter().map(|row| id(row, "id")).collect()
}

/// Names of the sources in the compartments of `scope`.
pub async fn sources_within(c: &mut AnyConnection, scope: &Scope) -> StoreResult<Vec<String>> {
    names(c, Sql::new("SELECT name FROM sources WHERE 1 = 1"), scope).await
}

/// Names of the environments in the compartments of `scope`.
pub async fn environments_within(c: &mut AnyConnection, scope: &Scope) -> StoreResult<Vec<String>> {
    names(c, Sql::new("SELECT name FROM environments WHERE 1 = 1"), scope).await
}

async fn names(c: &mut AnyConnection, mut sql: Sql, scope: &Scope) -> StoreResult<Vec<String>> {
    sql.within("compartment", scope);
    sql.fetch(c, "read what lies in some compartments").await?.iter().map(|row| text(row, "name")).collect()
}

/// The number that grows with every change of what decides.
pub async fn access_version(c: &mut AnyConnection) -> StoreResult<i64> {
    let rows = Sql::new("SELECT version FROM access_version WHERE id = 1").fetch(c, "read the version of access").await?;
    rows.first().map_or(Ok(0), |row| int(row, "version"))
}

/// Notes that something that decides has changed: in the transaction that changed it.
pub async fn changed(c: &mut AnyConnection) -> StoreResult<()> {
    sqlx::query("UPDATE access_version SET version = version + 1 WHERE id = 1")
        .execute(c)
        .await
        .map(drop)
        .map_err(StoreError::query("note a change of access"))
}

fn lying(row: &AnyRow) -> StoreResult<Lying> {
    Ok(Lying { id: text(row, "id")?, name: text(row, "name")?, compartment: text(row, "compartment")? })
}

fn read(row: &AnyRow) -> StoreResult<CompartmentRecord> {
    Ok(CompartmentRecord {
        id: id(row, "id")?,
        path: text(row, "path")?,
        description: text(row, "description")?,
        created_by: text(row, "created_by")?,
        created_at: time(row, "created_at")?,
        version: int(row, "version")?,
    })
}
