//! The S3 buckets of failure destinations, as files.
//!
//! An object `aws/lambda/<mapping>/<shard>/2026/11/23/2026-11-23T07.58.03-<uuid>` of the bucket `FailuresBucket` is
//! the file of that path under `failures/FailuresBucket/`.

use crate::clock;
use crate::storage::write_whole;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// All buckets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Failures {
    place: Arc<Place>,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Memory(Mutex<Vec<Object>>),
}

/// One object, as `GET /local/failures` returns it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// The bucket's logical id.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// When it was written (RFC 3339).
    pub last_modified: String,
    /// The JSON document as AWS writes it. Its `payload` is the event as a string of JSON.
    pub document: Value,
}

impl Failures {
    /// Keeps buckets in `folder`, or in memory.
    pub fn new(folder: Option<&Path>) -> Self {
        let place = match folder {
            Some(folder) => Place::Folder(folder.to_owned()),
            None => Place::Memory(Mutex::new(Vec::new())),
        };
        Self { place: Arc::new(place) }
    }

    /// Writes an object. It is on the disk when this returns.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub async fn put(&self, bucket: &str, key: &str, document: Value) -> io::Result<()> {
        let object = Object { bucket: bucket.to_owned(), key: key.to_owned(), last_modified: now(), document };
        let folder = match &*self.place {
            Place::Folder(folder) => folder.clone(),
            Place::Memory(objects) => {
                objects.lock().unwrap_or_else(PoisonError::into_inner).push(object);
                return Ok(());
            }
        };
        let write = move || {
            let file = folder.join(&object.bucket).join(&object.key);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)?;
            }
            write_whole(&file, object.document.to_string().as_bytes())?;
            // Which a new start finds as when it was written.
            File::open(&file)?.set_modified(clock::now().into())
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// All objects, newest first.
    ///
    /// # Errors
    /// If a file cannot be read or is not a JSON document.
    pub async fn list(&self) -> io::Result<Vec<Object>> {
        let mut objects = match &*self.place {
            Place::Folder(folder) => {
                let folder = folder.clone();
                let read = move || {
                    let mut objects = Vec::new();
                    collect(&folder, &folder, &mut objects).map(|()| objects)
                };
                tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??
            }
            Place::Memory(objects) => objects.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        objects.sort_by(|a, b| b.last_modified.cmp(&a.last_modified).then_with(|| b.key.cmp(&a.key)));
        Ok(objects)
    }

    /// `GET /local/failures`: `{"failures": […]}`, [`Object`]s, newest first.
    pub fn routes(self) -> Router {
        Router::new().route("/local/failures", get(list)).with_state(self)
    }
}

#[derive(Serialize)]
struct Listing {
    failures: Vec<Object>,
}

async fn list(State(failures): State<Failures>) -> Result<Json<Listing>, (http::StatusCode, String)> {
    let listed = failures.list().await;
    listed.map(|failures| Json(Listing { failures })).map_err(|error| {
        (http::StatusCode::INTERNAL_SERVER_ERROR, format!("cannot read the failure destination: {error}\n"))
    })
}

fn collect(root: &Path, folder: &Path, objects: &mut Vec<Object>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, objects)?;
        } else if path.extension().is_none_or(|extension| extension != "tmp") {
            let inside = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let (bucket, key) = inside.split_once('/').unwrap_or(("", &inside));
            let modified = OffsetDateTime::from(fs::metadata(&path)?.modified()?);
            objects.push(Object {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                last_modified: modified.format(&Rfc3339).map_err(io::Error::other)?,
                document: serde_json::from_slice(&fs::read(&path)?)?,
            });
        }
    }
    Ok(())
}

fn now() -> String {
    clock::now().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::env;

    #[tokio::test]
    async fn objects_are_files_that_a_new_start_finds_newest_first() {
        let folder = env::temp_dir().join(format!("local-failures-{}", uuid::Uuid::new_v4()));
        assert!(Failures::new(Some(&folder)).list().await.expect("an empty list").is_empty());
        for (number, day) in ["22", "23"].iter().enumerate() {
            let key = format!("aws/lambda/m/s/2026/11/{day}/2026-11-{day}T07.58.03-x");
            let put = Failures::new(Some(&folder)).put("FailuresBucket", &key, json!({ "number": number })).await;
            put.expect("written");
        }
        // A crash in the middle of a write leaves such a file.
        fs::write(folder.join("FailuresBucket/half.tmp"), "{").expect("writes");
        let objects = Failures::new(Some(&folder)).list().await.expect("a list");
        let shown: Vec<_> = objects.iter().map(|object| (object.bucket.as_str(), &object.document["number"])).collect();
        assert_eq!(shown, [("FailuresBucket", &json!(1)), ("FailuresBucket", &json!(0))]);
        assert!(objects[0].key.starts_with("aws/lambda/m/s/2026/11/23/"));
        fs::remove_dir_all(folder).expect("removes");
    }
}
