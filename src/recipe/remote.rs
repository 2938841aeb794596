//! Inputs in stores: what URLs, folders and patterns of them stand for.

use std::path::{Path, PathBuf};

use super::hub;
use super::inputs::{Finder, Listing, PassedOver, not_found};
use super::patterns::{braces, is_pattern, is_run, parts_match};
use super::yaml::{Issue, Pos};
use crate::archive::packing::split_name;
use crate::io::remote::{self, HubPlace, Kind};
use crate::note::{Code, Note};

impl Finder<'_> {
    /// The objects of a URL, which may be a pattern or that of a folder.
    pub(super) fn remote(&self, written: &str, at: Pos, listing: &mut Listing) {
        let kind = Kind::of(written);
        for url in braces(written) {
            // What stands behind a question mark is the query of a web server.
            if kind != Some(Kind::Http) && is_pattern(&url) {
                self.remote_pattern(&url, at, listing);
            } else if url.ends_with('/') || is_whole_set(&url) {
                self.remote_folder(&url, at, listing);
            } else {
                self.remote_object(&url, at, listing);
            }
        }
    }

    fn remote_object(&self, url: &str, at: Pos, listing: &mut Listing) {
        let path = PathBuf::from(url);
        if listing.files.contains(&path) {
            let what = format!("the input {url} is listed twice");
            listing.issues.push(Issue::new("input_invalid", at, what));
            return;
        }
        match remote::Object::open(&path) {
            Ok(_) => self.add(path, at, listing),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Stores know no folders: only what begins so.
                let lists = Kind::of(url).is_some_and(Kind::lists);
                if lists && remote::list(url).is_ok_and(|found| !found.is_empty()) {
                    self.remote_folder(url, at, listing);
                } else {
                    listing.issues.push(not_found(url, at));
                }
            }
            Err(error) => listing.issues.push(unreachable(url, at, &error)),
        }
    }

    /// The objects below a folder that hold rows.
    fn remote_folder(&self, url: &str, at: Pos, listing: &mut Listing) {
        let found = match remote::list(url) {
            Ok(found) => found,
            Err(error) => return listing.issues.push(unreachable(url, at, &error)),
        };
        let folder = url.trim_end_matches('/');
        let mut passed = PassedOver::default();
        let mut kept = Vec::new();
        for object in &found {
            let name = object.strip_prefix(folder).unwrap_or(object);
            let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
            let hidden = |part: &&str| part.starts_with(['.', '_']);
            let beside = |suffix: &str| {
                let stem = object.strip_suffix(".parquet");
                stem.is_some_and(|stem| found.contains(&format!("{stem}{suffix}")))
            };
            let (stem, _) = split_name(object);
            if parts.iter().any(|part| is_run(part)) {
                passed.written.push(name.to_owned());
            } else if !self.reading.spec.hidden && parts.iter().any(hidden) {
                passed.hidden += 1;
            } else if !stem.contains('.') || beside(".tar") || !self.is_named_as_wanted(object) {
                passed.foreign += 1;
            } else {
                kept.push(PathBuf::from(object));
            }
        }
        if Kind::of(url) == Some(Kind::Hub) {
            let (train, others) = hub::for_training(Path::new(folder), kept);
            kept = train;
            if others > 0 {
                let told = format!("not read of {url}: {others} files of other splits than train");
                Note::new(Code::FilesPassedOver, told).add_to(&mut listing.notes);
            }
        }
        let told = passed.told();
        if kept.is_empty() {
            let issue = Issue::new("input_not_found", at, format!("no input in {url}")).named(url);
            let issue = issue.maybe_hint(told.map(|told| format!("not read: {told}")));
            return listing.issues.push(issue);
        }
        if let Some(told) = told {
            let text = format!("not read in {url}: {told}");
            Note::new(Code::FilesPassedOver, text).add_to(&mut listing.notes);
        }
        for path in kept {
            self.add(path, at, listing);
        }
    }

    fn remote_pattern(&self, url: &str, at: Pos, listing: &mut Listing) {
        let parts: Vec<&str> = url.split('/').collect();
        let fixed = parts.iter().take_while(|part| !is_pattern(part)).count();
        let (before, pattern) = parts.split_at_checked(fixed).unwrap_or_default();
        let folder = before.join("/");
        let found = match remote::list(&folder) {
            Ok(found) => found,
            Err(error) => return listing.issues.push(unreachable(url, at, &error)),
        };
        let hidden = self.reading.spec.hidden;
        let matching = found.into_iter().filter(|object| {
            let name = object.strip_prefix(&folder).unwrap_or(object);
            let name: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
            parts_match(pattern, &name, hidden)
        });
        let matching: Vec<String> = matching.collect();
        if matching.is_empty() {
            let what = format!("no object matches {url}");
            listing
                .issues
                .push(Issue::new("input_not_found", at, what).named(url));
        }
        for object in matching {
            self.add(PathBuf::from(object), at, listing);
        }
    }
}

/// Whether it is a data set of the hub as a whole.
fn is_whole_set(url: &str) -> bool {
    let place = url.strip_prefix("hf://").and_then(HubPlace::parse);
    place.is_some_and(|place| place.path.is_empty())
}

/// What is said of a store that does not answer as it should.
fn unreachable(url: &str, at: Pos, error: &std::io::Error) -> Issue {
    let issue = Issue::new("input_invalid", at, format!("{url}: {error}"));
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            issue.hint("docs/REMOTE.md says which variables (HF_TOKEN, AWS_…) name who asks")
        }
        std::io::ErrorKind::Unsupported if Kind::of(url) != Some(Kind::Http) => {
            issue.hint("or download it first and give its path")
        }
        _ => issue,
    }
}
