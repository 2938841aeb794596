//! Who measures: a name, a version that is raised with every change of an answer, and what else
//! an answer depends on.

use std::sync::LazyLock;

use xxhash_rust::xxh3::Xxh3;

use super::verdict::{self, Seen};
use crate::image::{
    self, DECODERS, HashMethod, decode, decode_reduced, perceptual_hash_and_blank, validate,
};

/// A measurement of contents. No bound and no decision is part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Its name.
    pub name: &'static str,
    /// Raised whenever its answers, or the bytes that they are kept as, change;
    /// a test holds it to that.
    pub version: u32,
}

/// What is known of a file by its path.
pub const FILE: Kernel = Kernel::new("file", 1);

/// Size, format and orientation of an image.
pub const HEADER: Kernel = Kernel::new("image/header", 1);

/// Whether an image decodes to its end.
pub const VALIDATE: Kernel = Kernel::new("image/validate", 1);

/// The perceptual hash of an image.
pub const HASH: Kernel = Kernel::new("image/hash", 1);

/// What a model or a server answers.
pub const ANSWER: Kernel = Kernel::new("model/answer", 1);

/// What a model is asked of a row. Its version is raised with every change of what pictures and texts
/// are made into.
pub const ASKED: Kernel = Kernel::new("model/asked", 2);

/// What a Python with models says of itself.
pub const WORKER: Kernel = Kernel::new("model/worker", 1);

impl Kernel {
    const fn new(name: &'static str, version: u32) -> Self {
        Self { name, version }
    }

    /// What its results are found by, with all else that they depend on.
    #[must_use]
    pub fn id(self, depends_on: &[&[u8]]) -> u64 {
        let mut digest = Xxh3::new();
        let mut part = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(self.name.as_bytes());
        part(&self.version.to_le_bytes());
        for bytes in depends_on {
            part(bytes);
        }
        digest.digest()
    }
}

/// The id of [`FILE`].
pub static FILE_ID: LazyLock<u64> = LazyLock::new(|| FILE.id(&[]));

/// The id of [`WORKER`].
pub static WORKER_ID: LazyLock<u64> = LazyLock::new(|| WORKER.id(&[]));

/// The id of [`HEADER`].
pub static HEADER_ID: LazyLock<u64> = LazyLock::new(|| HEADER.id(&[DECODERS.as_bytes()]));

/// The id of [`VALIDATE`].
pub static VALIDATE_ID: LazyLock<u64> = LazyLock::new(|| VALIDATE.id(&[DECODERS.as_bytes()]));

/// How a picture is hashed, beside the method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashWay {
    /// A JPEG is decoded at a reduced scale.
    pub reduced: bool,
    /// Pixels are taken as they lie, whatever EXIF says of turning them.
    pub as_stored: bool,
}

/// The id of [`HASH`].
#[must_use]
pub fn hash_id(method: HashMethod, way: HashWay) -> u64 {
    let word = METHODS.into_iter().find(|(known, _)| *known == method);
    let word = word.map_or("", |(_, word)| word);
    let way = [u8::from(way.reduced), u8::from(way.as_stored)];
    HASH.id(&[DECODERS.as_bytes(), word.as_bytes(), &way])
}

/// How pictures are hashed, each with its word.
const METHODS: [(HashMethod, &str); 4] = [
    (HashMethod::Phash, "phash"),
    (HashMethod::Dhash, "dhash"),
    (HashMethod::Ahash, "ahash"),
    (HashMethod::Whash, "whash"),
];

/// All ways.
fn ways() -> impl Iterator<Item = HashWay> {
    [(false, false), (true, false), (false, true), (true, true)]
        .into_iter()
        .map(|(reduced, as_stored)| HashWay { reduced, as_stored })
}

/// The name of the kernel whose id is `id`, if it is one of files, images or workers.
#[must_use]
pub fn known_name(id: u64) -> Option<String> {
    let plain = [
        (*FILE_ID, FILE),
        (*HEADER_ID, HEADER),
        (*VALIDATE_ID, VALIDATE),
        (*WORKER_ID, WORKER),
    ];
    if let Some((_, kernel)) = plain.into_iter().find(|(known, _)| *known == id) {
        return Some(kernel.name.to_owned());
    }
    METHODS.into_iter().find_map(|(method, word)| {
        let way = ways().find(|way| hash_id(method, *way) == id)?;
        let reduced = if way.reduced { ", reduced" } else { "" };
        let stored = if way.as_stored { ", as stored" } else { "" };
        Some(format!("{} ({word}{reduced}{stored})", HASH.name))
    })
}

/// The ids of the kernels that need nothing but the bytes of a file.
#[must_use]
pub fn of_files() -> Vec<u64> {
    let mut all = vec![*HEADER_ID, *VALIDATE_ID];
    for (method, _) in METHODS {
        let ways = ways().filter(|way| !way.as_stored);
        all.extend(ways.map(|way| hash_id(method, way)));
    }
    all
}

/// What a kernel of [`of_files`] says of the `bytes` of a file, as it is kept; `None` for another
/// kernel.
#[must_use]
pub fn computed(id: u64, bytes: &[u8]) -> Option<Vec<u8>> {
    let seen = |header, suspect| Seen { header, suspect };
    if id == *HEADER_ID {
        let header = image::header(bytes).map(|header| seen(header, false));
        return verdict::encode(header.as_ref().copied(), &[]);
    }
    if id == *VALIDATE_ID {
        let verdict = validate(bytes).map(|(header, suspect)| seen(header, suspect));
        return verdict::encode(verdict.as_ref().copied(), &[]);
    }
    let mut all = METHODS
        .into_iter()
        .flat_map(|(method, _)| ways().map(move |way| (method, way)));
    let (method, way) = all.find(|(method, way)| hash_id(*method, *way) == id && !way.as_stored)?;
    let decoded = if way.reduced {
        decode_reduced(bytes, method.least_side())
    } else {
        decode(bytes)
    };
    match decoded {
        Ok(decoded) => {
            let (hash, blank) = perceptual_hash_and_blank(&decoded.image, method);
            let mut more = hash.to_le_bytes().to_vec();
            more.push(u8::from(blank));
            verdict::encode(Ok(seen(decoded.header, decoded.suspect)), &more)
        }
        Err(error) => verdict::encode(Err(&error), &[]),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What each kernel says of all pictures among the fixtures, by its version. Where a digest is
    /// another one, answers have changed: raise the version of the kernel, and write both here.
    const GOLDEN: [(Kernel, u64); 3] = [
        (HEADER, 0x25bf_dc77_9dbd_49cf),
        (VALIDATE, 0x2922_e04b_e5a7_4793),
        (HASH, 0x7ba8_b47e_3821_052f),
    ];

    fn pictures() -> Vec<Vec<u8>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let mut paths = Vec::new();
        for dir in ["images", "dataset/images/00000"] {
            let entries = std::fs::read_dir(root.join(dir)).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        }
        paths.retain(|path| path.is_file());
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect()
    }

    #[test]
    fn answers_change_with_versions_only() {
        // Formats that are built in by choice have other answers.
        if cfg!(any(feature = "avif", feature = "jpeg2000")) {
            return;
        }
        let pictures = pictures();
        assert!(pictures.len() > 50, "{}", pictures.len());
        let digest = |ids: &[u64]| {
            let mut digest = Xxh3::new();
            for bytes in &pictures {
                for id in ids {
                    let value = computed(*id, bytes).unwrap();
                    digest.update(&(value.len() as u64).to_le_bytes());
                    digest.update(&value);
                }
            }
            digest.digest()
        };
        let hashes: Vec<u64> = METHODS
            .iter()
            .flat_map(|(method, _)| ways().map(|way| hash_id(*method, way)))
            .filter(|id| of_files().contains(id))
            .collect();
        assert_eq!(hashes.len(), 8);
        let found = [
            (HEADER, digest(&[*HEADER_ID])),
            (VALIDATE, digest(&[*VALIDATE_ID])),
            (HASH, digest(&hashes)),
        ];
        assert_eq!(found, GOLDEN, "{found:#x?}");
    }

    #[test]
    fn an_id_tells_version_and_parameters_apart() {
        let mut ids = vec![*FILE_ID, *HEADER_ID, *VALIDATE_ID, *WORKER_ID];
        for (method, _) in METHODS {
            ids.extend(ways().map(|way| hash_id(method, way)));
        }
        let next = Kernel {
            version: VALIDATE.version + 1,
            ..VALIDATE
        };
        ids.push(next.id(&[DECODERS.as_bytes()]));
        ids.push(VALIDATE.id(&[DECODERS.as_bytes(), b""]));
        for id in &ids[..ids.len() - 2] {
            assert!(known_name(*id).is_some());
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn decoders_are_named_with_their_versions() {
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
        let lock = std::fs::read_to_string(lock).unwrap();
        for part in DECODERS.split(", ") {
            let mut words = part.split_whitespace();
            let name = words.next().unwrap();
            for version in words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
                let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
                assert!(
                    lock.contains(&entry),
                    "{part}: crates/image/src/lib.rs is out of date"
                );
            }
        }
    }
}
