//! A document that was sent, as the archive that a job reads: beside it a `context7.json` says what the form said.

use bytes::Bytes;
use serde_json::json;
use twinmcp_actors::ingest::parse::openapi;
use twinmcp_storage::ids::LibraryId;

use super::super::error::{ApiError, sentence};
use super::form::Sent;
use super::id::slug;

/// Told by its name to be one.
pub(super) const ARCHIVE_NAME: &str = "openapi.tar";
/// Whose libraries sent documents are.
const OWNER: &str = "docs";

/// What a job is made of.
pub(super) struct Packed {
    pub(super) library: LibraryId,
    pub(super) archive: Bytes,
}

/// Checks that the file is an OpenAPI document, names its library and packs it. Parses the whole document: not for a thread
/// that answers.
pub(super) fn pack(sent: Sent) -> Result<Packed, ApiError> {
    let text = String::from_utf8_lossy(&sent.file);
    let own = openapi::title(&text).map_err(|error| {
        let message = format!("`openapiFile` is no OpenAPI document: {error}");
        ApiError::bad_request(sentence(&message)).with("field", "openapiFile")
    })?;
    let stem = sent.file_name.rsplit_once('.').map_or(sent.file_name.as_str(), |(stem, _)| stem).to_owned();
    let titles = [sent.title, own, Some(stem)].into_iter().flatten();
    let named = titles.map(|title| (slug(title.chars()), title)).find(|(name, _)| !name.is_empty());
    let Some((name, title)) = named else {
        let message =
            "No name can be made of the document's title: send one with `libraryTitle`, in Latin letters.";
        return Err(ApiError::bad_request(message).with("field", "libraryTitle"));
    };
    let library = format!("/{OWNER}/{name}")
        .parse()
        .map_err(|error| ApiError::bad_request(format!("`libraryTitle` gives no library id: {error}.")))?;
    let mut about = json!({ "projectTitle": title });
    if let Some(description) = sent.description {
        about["description"] = description.into();
    }
    let file = if text.trim_start().starts_with('{') { "openapi.json" } else { "openapi.yaml" };
    let archive = archive(&[("context7.json", about.to_string().as_bytes()), (file, &sent.file)]);
    Ok(Packed { library, archive: archive.map_err(ApiError::internal)?.into() })
}

/// The files as a tar, the same bytes each time.
fn archive(files: &[(&str, &[u8])]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *bytes)?;
    }
    archive.into_inner()
}
