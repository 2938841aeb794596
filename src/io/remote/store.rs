//! The stores themselves: how one is reached, what it lists, what is uploaded to it.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, Error, ObjectStore, ObjectStoreExt as _,
    RetryConfig, WriteMultipart,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::address::UNKNOWN;
use super::{Kind, failed, hub};

/// The size of a part of an upload, and of the ranges that are read, in bytes.
pub const PART: u64 = 8 << 20;

/// Parts that are under way at once.
pub const IN_FLIGHT: usize = 4;

/// S3 takes 10,000 parts an object.
const MOST_PARTS: u64 = 9_000;

/// How often a request is made again.
const RETRIES: usize = 10;

/// How long a request may take, its body included.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The same, as the environment would say it.
const TIMEOUT_TEXT: &str = "120 seconds";

/// The threads that talk to servers. They do nothing else.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    // Nobody else may have chosen who computes for TLS, and a second choice is refused: either way
    // there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("djr-remote")
        .enable_all()
        .build()
});

/// The runtime.
///
/// # Errors
/// If its threads cannot be started.
pub fn runtime() -> io::Result<&'static Runtime> {
    RUNTIME
        .as_ref()
        .map_err(|error| failed(error.kind(), error.to_string()))
}

/// Waits for `work`.
///
/// # Errors
/// Those of `work`.
pub fn wait<T>(work: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
    runtime()?.block_on(work).map_err(told)
}

/// What a store says, as an error of reading and writing.
pub fn told(error: Error) -> io::Error {
    let (kind, what) = match &error {
        Error::NotFound { .. } => (
            io::ErrorKind::NotFound,
            "there is no such object".to_owned(),
        ),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (
            io::ErrorKind::PermissionDenied,
            format!("the store refuses it ({})", all_of(&error)),
        ),
        Error::AlreadyExists { .. } => (
            io::ErrorKind::AlreadyExists,
            "there is such an object already".to_owned(),
        ),
        Error::Precondition { .. } => (io::ErrorKind::Other, CHANGED.to_owned()),
        _ => (io::ErrorKind::Other, all_of(&error)),
    };
    failed(kind, what)
}

/// What is said of an object that is no longer the one that was opened.
pub const CHANGED: &str = "the object changed while it was read";

/// An error and what it comes from, as far as that is not said yet, on one line.
fn all_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The store of a URL, and what the object is called there. Who may do what follows from the
/// environment, as the library of the stores reads it.
///
/// # Errors
/// If the URL is none that djr knows, or something is missing in the environment.
pub fn store_of(written: &str) -> io::Result<(Arc<dyn ObjectStore>, Key)> {
    let invalid = |what: String| failed(io::ErrorKind::InvalidInput, what);
    // Clients are built for it.
    runtime()?;
    let Some(kind) = Kind::of(written) else {
        return Err(invalid(UNKNOWN.to_owned()));
    };
    let written = match kind {
        Kind::Hub => hub::url_of(written)?,
        _ => written.to_owned(),
    };
    let url = Url::parse(&written).map_err(|error| invalid(error.to_string()))?;
    let store: Arc<dyn ObjectStore> = match kind {
        Kind::S3 => {
            let mut builder = AmazonS3Builder::from_env().with_url(&written);
            if is_unset("AWS_TIMEOUT") {
                let key = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
                builder = builder.with_config(key, TIMEOUT_TEXT);
            }
            Arc::new(builder.with_retry(retries()).build().map_err(told)?)
        }
        Kind::Google => {
            let mut builder = GoogleCloudStorageBuilder::from_env().with_url(&written);
            if is_unset("GOOGLE_TIMEOUT") {
                let key = GoogleConfigKey::Client(ClientConfigKey::Timeout);
                builder = builder.with_config(key, TIMEOUT_TEXT);
            }
            Arc::new(builder.with_retry(retries()).build().map_err(told)?)
        }
        Kind::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_url(&written);
            if is_unset("AZURE_TIMEOUT") {
                let key = AzureConfigKey::Client(ClientConfigKey::Timeout);
                builder = builder.with_config(key, TIMEOUT_TEXT);
            }
            Arc::new(builder.with_retry(retries()).build().map_err(told)?)
        }
        Kind::Http | Kind::Hub => {
            let mut options = ClientOptions::new()
                .with_timeout(TIMEOUT)
                .with_allow_http(url.scheme() == "http");
            if kind == Kind::Hub {
                options = options.with_default_headers(hub::headers()?);
            }
            // A query, such as a signature, stays where it is.
            let mut base = url.clone();
            base.set_path("");
            base.set_fragment(None);
            let builder = HttpBuilder::new()
                .with_url(base.to_string())
                .with_client_options(options)
                .with_retry(retries());
            Arc::new(builder.build().map_err(told)?)
        }
    };
    let key =
        Key::from_url_path(in_store(kind, &url)).map_err(|error| invalid(error.to_string()))?;
    Ok((store, key))
}

/// What an object is called in its store: of Azure's longer URLs the container comes first.
fn in_store(kind: Kind, url: &Url) -> &str {
    let path = url.path();
    let container_first = kind == Kind::Azure
        && url
            .host_str()
            .is_some_and(|host| host.contains(".core.windows.net"))
        && url.username().is_empty();
    if container_first {
        let rest = path.trim_start_matches('/').split_once('/');
        return rest.map_or("", |(_, rest)| rest);
    }
    path
}

fn is_unset(name: &str) -> bool {
    std::env::var_os(name).is_none()
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.,
        },
        max_retries: RETRIES,
        retry_timeout: TIMEOUT,
    }
}

/// The URLs of all objects below `folder`, sorted.
///
/// # Errors
/// If it cannot be listed.
pub fn list(folder: &str) -> io::Result<Vec<String>> {
    let kind = Kind::of(folder);
    if kind == Some(Kind::Hub) {
        return hub::list(folder);
    }
    if kind.is_some_and(|kind| !kind.lists()) {
        let what = "a web server does not say which files it has: name them one by one, or by braces such as {000..041}";
        return Err(failed(io::ErrorKind::Unsupported, what));
    }
    let (store, prefix) = store_of(folder)?;
    let found: Vec<_> = wait(store.list(Some(&prefix)).try_collect())?;
    let folder = folder.trim_end_matches('/');
    let mut urls: Vec<String> = found
        .iter()
        .filter_map(|object| {
            let rest = object.location.prefix_match(&prefix)?;
            let rest: Vec<String> = rest.map(|part| part.as_ref().to_owned()).collect();
            (!rest.is_empty()).then(|| format!("{folder}/{}", rest.join("/")))
        })
        .collect();
    urls.sort();
    Ok(urls)
}

/// Makes sure that an object can be written, as far as that is known without asking anybody.
///
/// # Errors
/// If it cannot.
pub fn check_target(url: &Path) -> io::Result<()> {
    let written = text(url)?;
    let (_, key) = store_of(written)?;
    check_written(written)?;
    if key.filename().is_none() {
        let what = "the URL names no object";
        return Err(failed(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}

/// Makes sure that djr writes to whoever has a URL.
///
/// # Errors
/// If it does not.
pub fn check_written(url: &str) -> io::Result<()> {
    if Kind::of(url).is_some_and(Kind::is_written_to) {
        return Ok(());
    }
    let what = "djr writes to s3://, gs://, az:// and abfs:// only";
    Err(failed(io::ErrorKind::Unsupported, what))
}

/// Makes the object `url` of a file: nobody sees it before it is whole.
///
/// # Errors
/// If the file cannot be read, or the store does not take it.
pub fn upload(file: &Path, url: &Path) -> io::Result<()> {
    let (store, key) = store_of(text(url)?)?;
    put(file, store.as_ref(), &key)
}

/// Makes an object of a file, in parts where it is long.
///
/// # Errors
/// As [`upload`].
pub fn put(file: &Path, store: &dyn ObjectStore, key: &Key) -> io::Result<()> {
    let size = std::fs::metadata(file)?.len();
    if size <= PART {
        let content = std::fs::read(file)?;
        wait(store.put(key, content.into()))?;
    } else {
        in_parts(file, size, store, key)?;
    }
    let found = wait(store.head(key))?.size;
    if found != size {
        let what = format!("{size} bytes were uploaded, and the store has {found}");
        return Err(failed(io::ErrorKind::Other, what));
    }
    Ok(())
}

fn in_parts(file: &Path, size: u64, store: &dyn ObjectStore, key: &Key) -> io::Result<()> {
    use std::io::Read as _;
    let part = PART.max(size / MOST_PARTS + 1);
    let part = usize::try_from(part).map_err(io::Error::other)?;
    let mut file = std::fs::File::open(file)?;
    let upload = wait(store.put_multipart(key))?;
    let mut writer = WriteMultipart::new_with_chunk_size(upload, part);
    let mut block = vec![0; 1 << 20];
    // The parts are tasks of the runtime, which starts them only within it.
    let _entered = runtime()?.enter();
    loop {
        let read = match file.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                let _ = wait(writer.abort());
                return Err(error);
            }
        };
        if let Err(error) = wait(writer.wait_for_capacity(IN_FLIGHT)) {
            let _ = wait(writer.abort());
            return Err(error);
        }
        writer.write(block.get(..read).unwrap_or_default());
    }
    // It is given up by itself where it fails.
    wait(writer.finish())?;
    Ok(())
}

/// A URL as text.
///
/// # Errors
/// If it is none.
pub fn text(url: &Path) -> io::Result<&str> {
    url.to_str()
        .ok_or_else(|| failed(io::ErrorKind::InvalidInput, "the URL is not UTF-8"))
}
