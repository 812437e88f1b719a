//! Feeds of advisories and vulnerabilities: files that operators bring. The body goes to a file as it comes, as that of an
//! uploaded package does; then the operation reads it.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use drydock_api::rest::{ApiError, Page};
use drydock_control::ImportAsk;
use drydock_control::content::feeds::FeedKind;
use drydock_domain::advisory::Product;
use drydock_domain::advisory::report::{Feed, FeedDetail, ImportReport};
use http::{HeaderMap, StatusCode};

use super::error::{Failure, Result};
use super::extract::{Caller, Params};
use super::split_verb;
use super::upload::{Staged, announced, receive};
use crate::limits::FEED_MAX_BYTES;
use crate::state::AppState;

/// Feeds by name. All of them: there is no second page.
#[utoipa::path(get, path = "/api/v1/advisory-feeds", tag = "advisories", operation_id = "listAdvisoryFeeds",
    responses((status = 200, body = Page<Feed>), (status = "default", body = ApiError)))]
pub async fn list(State(state): State<AppState>, caller: Caller, params: Params) -> Result<Json<Page<Feed>>> {
    params.finish()?;
    Ok(Json(Page { items: state.control.list_feeds(&caller.ctx).await?, next_cursor: None }))
}

/// One feed with what was wrong with its last import.
#[utoipa::path(get, path = "/api/v1/advisory-feeds/{name}", tag = "advisories", operation_id = "getAdvisoryFeed",
    params(("name" = String, Path)),
    responses((status = 200, body = FeedDetail), (status = "default", body = ApiError)))]
pub async fn get(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Json<FeedDetail>> {
    params.finish()?;
    Ok(Json(state.control.get_feed(&caller.ctx, &name).await?))
}

/// Deletes a feed with everything it said.
#[utoipa::path(delete, path = "/api/v1/advisory-feeds/{name}", tag = "advisories", operation_id = "deleteAdvisoryFeed",
    params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ApiError)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(name): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<StatusCode> {
    params.finish()?;
    state.control.delete_feed(&caller.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Imports a file into a feed, which is made when it is not there. The body is the file itself, also compressed (gzip, xz,
/// zstd, bzip2). The same file again does nothing; what a whole feed does not hold any more counts as withdrawn.
#[utoipa::path(post, path = "/api/v1/advisory-feeds/{name}:import", tag = "advisories", operation_id = "importAdvisoryFeed",
    params(("name" = String, Path),
        ("kind" = Option<String>, Query,
            description = "osv, debian-tracker, debian-list, usn, csaf, kev, epss or updateinfo; seen by the content when absent"),
        ("partial" = Option<bool>, Query, description = "The file is one of several of the feed: what is not in it stays"),
        ("product" = Option<String>, Query,
            description = "updateinfo: for which system, such as almalinux:8 (ID and VERSION_ID of os-release); any when absent")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = ImportReport), (status = "default", body = ApiError)))]
pub async fn verb(
    State(state): State<AppState>,
    Path(target): Path<String>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
    request: Request,
) -> Result<Response> {
    let (name, verb) = split_verb(&target)?;
    if verb != "import" {
        return Err(Failure::of_status(StatusCode::METHOD_NOT_ALLOWED));
    }
    // Before the body is read: who may not import does not cost the disk anything.
    state.control.may_import_feed(&caller.ctx, name).await?;
    let kinds = FeedKind::ALL.map(FeedKind::as_str).join(", ");
    let kind = params.parsed("kind", &format!("one of {kinds}"), FeedKind::parse)?;
    let partial = params.parsed("partial", "true or false", |t| t.parse().ok())?.unwrap_or_default();
    let product = params.parsed("product", "a system and its release, such as almalinux:8", product)?;
    params.finish()?;
    let staging = state.control.content().map_or(state.settings.data_dir.as_path(), |content| content.staging()).to_owned();
    let staged = Staged::new(&staging);
    announced(&headers, FEED_MAX_BYTES, &staging)?;
    receive(request.into_body(), staged.path(), FEED_MAX_BYTES).await?;
    let ask = ImportAsk { kind, partial, product };
    Ok(Json(state.control.import_feed(&caller.ctx, name, &ask, staged.path()).await?).into_response())
}

fn product(text: &str) -> Option<Product> {
    let (os, release) = text.split_once(':').unwrap_or((text, ""));
    let plain = |t: &str| t.len() <= 64 && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    (!os.is_empty() && plain(os) && plain(release)).then(|| Product::new(os, release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_a_system_with_or_without_its_release() {
        assert_eq!(product("almalinux:8"), Some(Product::new("almalinux", "8")));
        assert_eq!(product("debian"), Some(Product::new("debian", "")));
        for wrong in ["", ":8", "a b:8", "debian:1 2"] {
            assert_eq!(product(wrong), None, "{wrong}");
        }
    }
}
