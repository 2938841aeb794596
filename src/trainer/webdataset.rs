//! WebDataset, as `datasets` and the library of that name read it: tar archives of samples.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom};
use std::path::Path;

use super::Trainer;
use super::check::{Check, Effect, FileFacts, Find};
use super::container::Container;
use super::length::ImageTokens;
use super::record::View;
use super::{llava, rules};
use crate::archive::tar::Walk;

/// The trainer.
pub const TRAINER: Trainer = Trainer {
    name: "webdataset",
    title: "WebDataset",
    reads: "Tar archives, not compressed: the members of a sample share a key and stand together.",
    view: VIEW,
    containers: &[Container::Tar],
    from_working_dir: false,
    infers_types: false,
    max_tokens: None,
    image_tokens: ImageTokens::Fixed(0),
    checks: CHECKS,
};

/// Where its samples have what it reads.
pub const VIEW: View = View {
    turns: &[],
    role: &[],
    content: &[],
    images: &["images"],
    asked: &[],
    answered: &[],
    user: &[],
    assistant: &[],
    system: &[],
    tools: &[],
};

/// It is a tar.
pub const TAR: Check = Check {
    code: "container_unread",
    rule: "The file is a tar archive, not compressed.",
    effect: Effect::CrashStart,
    loader: "finds no members, or cannot seek",
    cure: "gunzip it; tar --format=ustar",
    find: Find::File(rules::container),
};

/// Members stand together.
pub const TOGETHER: Check = Check {
    code: "key_returns",
    rule: "The members of a sample stand together, and no key comes twice.",
    effect: Effect::Wrong,
    loader: "makes two samples of it, each with a part of the members",
    cure: "sort the members by name before they are packed",
    find: Find::File(|file| of_keys(file.path, &mut Together::default())),
};

/// A member once.
pub const TWICE: Check = Check {
    code: "member_twice",
    rule: "A sample has no member twice.",
    effect: Effect::CrashMiddle,
    loader: "a ValueError",
    cure: "leave one of them out",
    find: Find::File(|file| of_keys(file.path, &mut Twice::default())),
};

const CHECKS: &[Check] = &[
    TAR,
    llava::ROWS,
    Check {
        code: "fields_differ",
        rule: "The first five samples have the same members.",
        effect: Effect::CrashStart,
        loader: "`datasets`: \"don't share the same prefix or the same types\"",
        cure: "one extension for all images, in every sample",
        find: Find::File(|file| of_keys(file.path, &mut FirstFive::default())),
    },
    TOGETHER,
    TWICE,
    Check {
        code: "key_dotted",
        rule: "The members of a sample have no dot in what they are called beside their extension.",
        effect: Effect::Wrong,
        loader: "what follows the first dot counts as the extension: samples fall together, or members are new columns",
        cure: "names without dots",
        find: Find::File(|file| of_keys(file.path, &mut Dotted)),
    },
    Check {
        effect: Effect::CrashMiddle,
        loader: "an error of the decoder",
        ..llava::IMAGES
    },
];

/// Looks at the members of an archive, by key and field.
trait Members {
    fn see(&mut self, name: &str, key: &str, field: &str) -> Option<String>;

    fn end(&mut self) -> Option<String> {
        None
    }
}

/// What `look` finds in an archive; what cannot be read as one has its own check.
fn of_keys(path: &Path, look: &mut dyn Members) -> Option<String> {
    let mut tar = BufReader::new(File::open(path).ok()?);
    let mut walk = Walk::default();
    while let Ok(Some(member)) = walk.next(&mut tar) {
        let skipped = i64::try_from(member.size + member.padding()).ok()?;
        if member.is_file {
            let name = String::from_utf8_lossy(&member.name).into_owned();
            if let Some((key, field)) = split(&name)
                && let Some(found) = look.see(&name, key, field)
            {
                return Some(found);
            }
        }
        tar.seek(SeekFrom::Current(skipped)).ok()?;
    }
    look.end()
}

/// The key and the field of a member: what stands before and after the first dot of the last part of
/// its name.
fn split(name: &str) -> Option<(&str, &str)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name.get(base..)?.find('.')?;
    let (key, field) = (name.get(..dot)?, name.get(dot + 1..)?);
    (dot > base && !key.starts_with("__")).then_some((key, field))
}

#[derive(Default)]
struct Together {
    last: String,
    seen: HashSet<String>,
}

impl Members for Together {
    fn see(&mut self, _: &str, key: &str, _: &str) -> Option<String> {
        if key == self.last {
            return None;
        }
        key.clone_into(&mut self.last);
        (!self.seen.insert(key.to_owned())).then(|| format!("key {key} comes back"))
    }
}

#[derive(Default)]
struct Twice {
    key: String,
    fields: HashSet<String>,
}

impl Members for Twice {
    fn see(&mut self, name: &str, key: &str, field: &str) -> Option<String> {
        if key != self.key {
            key.clone_into(&mut self.key);
            self.fields.clear();
        }
        (!self.fields.insert(field.to_owned())).then(|| format!("{name} is there twice"))
    }
}

#[derive(Default)]
struct FirstFive {
    samples: Vec<(String, Vec<String>)>,
}

impl FirstFive {
    fn compare(&mut self) -> Option<String> {
        for (_, fields) in &mut self.samples {
            fields.sort();
        }
        let (key, first) = self.samples.first()?;
        let (other, fields) = self.samples.iter().find(|(_, fields)| fields != first)?;
        Some(format!(
            "sample {other} has {}, {key} has {}",
            fields.join(" and "),
            first.join(" and ")
        ))
    }
}

impl Members for FirstFive {
    fn see(&mut self, _: &str, key: &str, field: &str) -> Option<String> {
        let full = self.samples.len() == 5;
        match self.samples.last_mut() {
            Some((last, fields)) if last == key => fields.push(field.to_owned()),
            _ if full => return self.compare(),
            _ => self.samples.push((key.to_owned(), vec![field.to_owned()])),
        }
        None
    }

    fn end(&mut self) -> Option<String> {
        self.compare()
    }
}

struct Dotted;

impl Members for Dotted {
    fn see(&mut self, name: &str, _: &str, field: &str) -> Option<String> {
        // `KEY.0.jpg` is the first of several images.
        let mut parts: Vec<&str> = field.split('.').collect();
        parts.pop();
        let numbers = |part: &&str| part.bytes().all(|b| b.is_ascii_digit()) && part.len() < 4;
        let known = |part: &&str| part.len() < 8 && part.bytes().all(|b| b.is_ascii_alphabetic());
        (!parts.iter().all(|part| numbers(part) || known(part)))
            .then(|| format!("{name} has the extension {field}"))
    }
}

/// How many samples an archive has.
pub fn samples(file: &FileFacts<'_>) -> u64 {
    #[derive(Default)]
    struct Count {
        last: String,
        samples: u64,
    }
    impl Members for Count {
        fn see(&mut self, _: &str, key: &str, _: &str) -> Option<String> {
            if key != self.last {
                key.clone_into(&mut self.last);
                self.samples += 1;
            }
            None
        }
    }
    let mut count = Count::default();
    of_keys(file.path, &mut count);
    count.samples
}
