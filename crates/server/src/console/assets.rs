//! The console's files: one style sheet, one script, one icon, inside the binary. Each URL carries the content's hash,
//! so browsers may keep a file for ever and never see an old one.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use drydock_domain::inventory::fingerprint;

/// Hexadecimal digits of the content hash in a URL (64 bit: two versions of one file never meet).
const HASH_DIGITS: usize = 16;

/// One embedded file.
struct Asset {
    name: String,
    content_type: &'static str,
    body: &'static [u8],
}

/// Addresses of the files, for templates.
#[derive(Debug)]
pub struct AssetUrls {
    /// Style sheet.
    pub css: String,
    /// Script.
    pub js: String,
    /// Icon.
    pub icon: String,
}

fn asset(stem: &str, extension: &str, content_type: &'static str, body: &'static str) -> Asset {
    let hash = fingerprint(body.as_bytes());
    let name = format!("{stem}-{}.{extension}", &hash[..HASH_DIGITS]);
    Asset { name, content_type, body: body.as_bytes() }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        asset("console", "css", "text/css; charset=utf-8", include_str!("../../assets/console.css")),
        asset("console", "js", "text/javascript; charset=utf-8", include_str!("../../assets/console.js")),
        asset("icon", "svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
    ]
});

static URLS: LazyLock<AssetUrls> = LazyLock::new(|| {
    let [css, js, icon] = &*ASSETS;
    let url = |a: &Asset| format!("/assets/{}", a.name);
    AssetUrls { css: url(css), js: url(js), icon: url(icon) }
});

/// Addresses of the files.
pub fn urls() -> &'static AssetUrls {
    &URLS
}

/// `GET /assets/{name}`. A name with another hash is not found: an old page must not get a new script.
pub async fn serve(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|a| a.name == name) {
        Some(found) => {
            let headers =
                [(header::CONTENT_TYPE, found.content_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, found.body).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
