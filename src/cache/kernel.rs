//! Who measures: a name, a version that is raised with every change of an answer, and what else
//! an answer depends on.

use std::sync::LazyLock;

use xxhash_rust::xxh3::Xxh3;

use crate::image::{DECODERS, HashMethod};

/// A measurement of contents. No bound and no decision is part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Its name.
    pub name: &'static str,
    /// Raised whenever its answers, or the bytes that they are kept as, change;
    /// `cache::tests` holds it to that.
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

/// What an operator asks a model about a row.
pub const REQUESTS: Kernel = Kernel::new("model/requests", 1);

/// What a model answers.
pub const ANSWER: Kernel = Kernel::new("model/answer", 1);

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
        depends_on.iter().for_each(|bytes| part(bytes));
        digest.digest()
    }
}

/// The id of [`FILE`].
pub static FILE_ID: LazyLock<u64> = LazyLock::new(|| FILE.id(&[]));

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
    let method = match method {
        HashMethod::Phash => "phash",
        HashMethod::Dhash => "dhash",
        HashMethod::Ahash => "ahash",
        HashMethod::Whash => "whash",
    };
    let way = [u8::from(way.reduced), u8::from(way.as_stored)];
    HASH.id(&[DECODERS.as_bytes(), method.as_bytes(), &way])
}

/// The name of the kernel of an image whose id is `id`.
#[must_use]
pub fn known_name(id: u64) -> Option<String> {
    for (known, kernel) in [
        (*FILE_ID, FILE),
        (*HEADER_ID, HEADER),
        (*VALIDATE_ID, VALIDATE),
    ] {
        if id == known {
            return Some(kernel.name.to_owned());
        }
    }
    let methods = [
        (HashMethod::Phash, "phash"),
        (HashMethod::Dhash, "dhash"),
        (HashMethod::Ahash, "ahash"),
        (HashMethod::Whash, "whash"),
    ];
    for (method, word) in methods {
        for bits in 0..4 {
            let way = HashWay {
                reduced: bits & 1 > 0,
                as_stored: bits & 2 > 0,
            };
            if id == hash_id(method, way) {
                let reduced = if way.reduced { ", reduced" } else { "" };
                let stored = if way.as_stored { ", as stored" } else { "" };
                return Some(format!("{} ({word}{reduced}{stored})", HASH.name));
            }
        }
    }
    None
}
