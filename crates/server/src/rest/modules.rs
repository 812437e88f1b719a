//! Modules of instances.

use axum::Json;
use axum::extract::{Path, State};
use drydock_api::rest::{ApiError, ModuleList};

use super::error::Result;
use super::extract::{Caller, Params};
use crate::state::AppState;

/// Module streams of a dnf 4 host: what its managed sources offer, and what is enabled or disabled.
#[utoipa::path(get, path = "/api/v1/instances/{idOrName}/modules", tag = "instances", operation_id = "listModules",
    params(("idOrName" = String, Path), ("q" = Option<String>, Query, description = "Only modules whose name holds this text")),
    responses((status = 200, body = ModuleList), (status = "default", body = ApiError)))]
pub async fn of_instance(
    State(state): State<AppState>,
    Path(id): Path<String>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<ModuleList>> {
    let q = params.one("q")?.unwrap_or_default();
    params.finish()?;
    let mut found = state.control.instance_modules(&caller.ctx, &id).await?;
    found.modules.retain(|module| module.module.contains(&q));
    Ok(Json(ModuleList { changed_at: found.changed_at, modules: found.modules }))
}
