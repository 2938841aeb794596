//! Rows and clusters of rows as the page shows them, read from the inputs when they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use serde::Serialize;

use super::Viewer;
use super::answers::Asked;
use crate::analysis::live::{Live, Place};
use crate::io::source::Position;
use crate::io::{Input, LineSource};
use crate::layout::AnalysisFiles;
use crate::record::{Analysis, RecordError, Settings};
use crate::sample::Origin;
use crate::view::html::reread;
use crate::view::rows::{self, Budget, RowStyle, ShownRow};

/// So many rows that were shown are kept, for sliders go to and fro.
const KEPT: usize = 400;

/// How many rows of a cluster are shown side by side.
const CLUSTER_ROWS: usize = 6;

/// How many clusters are shown at a time.
const CLUSTERS: usize = 6;

/// A row as the page shows it.
#[derive(Debug, Serialize)]
pub struct RowCard {
    /// The value next to a bound.
    value: Option<f64>,
    /// The input's name, if there are several.
    file: Option<String>,
    line: u64,
    id: Option<String>,
    text: Option<String>,
    pictures: Vec<PictureCard>,
    more: usize,
    /// Why it was set aside.
    reason: Option<String>,
    /// What was measured of it.
    stats: Vec<(String, String)>,
    /// Whether the row could be read back.
    read: bool,
}

#[derive(Debug, Serialize)]
struct PictureCard {
    /// `data:image/jpeg;base64,…`
    address: Option<String>,
    width: u32,
    height: u32,
    /// Why there is none.
    problem: Option<String>,
}

/// Finds rows in the inputs.
pub struct Finder {
    inputs: Result<Vec<Input>, String>,
    /// Whether an input can be read from any place of it, not only from its start.
    jumps: Vec<bool>,
    /// The identity of each input's first byte, where that is known.
    bases: Vec<Option<u64>>,
    style: RowStyle,
    shown: Mutex<HashMap<u64, ShownRow>>,
}

impl Finder {
    pub fn of(live: &Live) -> Self {
        let inputs = reread(live.inputs());
        let known = inputs.as_deref().unwrap_or_default();
        let settings = Settings::of(&live.spec().to_json()).unwrap_or_default();
        let jumps = known.iter().map(|input| match input.look() {
            Ok(Some(opened)) => !opened.is_packed(),
            _ => false,
        });
        let mut bases = vec![None; known.len()];
        for place in live.places().iter().filter(|place| place.line == 1) {
            if let Some(base) = bases.get_mut(place.file as usize) {
                *base = Some(place.offset);
            }
        }
        Self {
            jumps: jumps.collect(),
            bases,
            style: RowStyle::of_recipe(&settings, known),
            shown: Mutex::default(),
            inputs,
        }
    }

    /// Why rows cannot be shown, if they cannot.
    pub fn problem(&self) -> Option<String> {
        self.inputs.as_ref().err().cloned()
    }

    /// The rows at `places`, by their identity, as far as they can be read.
    fn rows(&self, places: &[Place]) -> Result<HashMap<u64, ShownRow>, String> {
        let Ok(inputs) = &self.inputs else {
            return Ok(HashMap::new());
        };
        let lock = || self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: HashMap<u64, ShownRow> = HashMap::new();
        for place in places {
            if let Some(row) = lock().get(&place.offset) {
                found.insert(place.offset, row.clone());
            }
        }
        let missing = places
            .iter()
            .filter(|place| !found.contains_key(&place.offset));
        let (mut near, mut far) = (Vec::new(), BTreeSet::new());
        for place in missing {
            match self.jump(inputs, *place) {
                Some(row) => near.push(row),
                None => drop(far.insert(place.offset)),
            }
        }
        let budget = Budget::default();
        let mut fresh: Vec<ShownRow> = self.style.show_all(&near, &budget);
        let passed = rows::fetch(inputs.clone(), &far, &self.style, &budget);
        fresh.extend(passed.map_err(|error| error.to_string())?.into_values());
        let mut shown = lock();
        if shown.len() + fresh.len() > KEPT {
            shown.clear();
        }
        for row in fresh {
            shown.insert(row.origin.offset, row.clone());
            found.insert(row.origin.offset, row);
        }
        Ok(found)
    }

    /// Reads a row where it lies, without what stands before it. What is found there must be it.
    fn jump(&self, inputs: &[Input], place: Place) -> Option<(Origin, Vec<u8>)> {
        let file = place.file as usize;
        let base = (*self.bases.get(file)?)?;
        if !*self.jumps.get(file)? {
            return None;
        }
        let mut source = LineSource::resume(
            inputs.to_vec(),
            Position {
                file,
                bytes: place.offset.checked_sub(base)?,
                lines: place.line.checked_sub(1)?,
                base,
                summaries: Vec::new(),
            },
        );
        let batch = source.next_batch(1, 1).ok()??;
        let line = batch.lines.first()?;
        let is_it = line.origin.offset == place.offset && line.origin.line == place.line;
        // Rows with attachments are read by those who know all of their input.
        (is_it && line.attached.is_empty()).then(|| (line.origin, batch.bytes(line).to_vec()))
    }
}

/// Rows that share something.
struct Cluster {
    /// Who says so.
    by: String,
    /// How many rows.
    rows: u64,
    /// Some of them, by their identity.
    some: Vec<u64>,
}

/// The clusters of a run or an analysis, the largest first.
pub struct Clusters(Vec<Cluster>);

impl Clusters {
    pub fn of(live: &Live, path: &Path) -> Result<Self, RecordError> {
        let mut all = Vec::new();
        if AnalysisFiles::new(path).json().exists() {
            let found = Analysis::read(path)?.duplicates;
            for (by, clusters) in [
                ("the same text", found.text),
                ("the same image", found.image),
                ("one image, several captions", found.captions_per_image),
                ("one caption, several images", found.images_per_caption),
            ] {
                all.extend(clusters.largest.into_iter().map(|cluster| Cluster {
                    by: by.to_owned(),
                    rows: cluster.rows as u64,
                    some: cluster.origins.iter().map(|row| row.offset).collect(),
                }));
            }
        }
        let mut found: BTreeMap<(usize, u64), Vec<u64>> = BTreeMap::new();
        for (step, first, row) in live.duplicates() {
            if let Some(place) = live.place(*row as usize) {
                let rows = found.entry((*step, *first)).or_insert_with(|| vec![*first]);
                rows.push(place.offset);
            }
        }
        all.extend(found.into_iter().map(|((step, _), some)| {
            Cluster {
                by: live
                    .steps()
                    .get(step)
                    .map_or("", |step| step.name)
                    .to_owned(),
                rows: some.len() as u64,
                some,
            }
        }));
        all.sort_by_key(|cluster| std::cmp::Reverse(cluster.rows));
        Ok(Self(all))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A page of clusters.
#[derive(Debug, Serialize)]
pub struct ClustersAnswer {
    total: usize,
    clusters: Vec<ClusterCard>,
}

#[derive(Debug, Serialize)]
struct ClusterCard {
    by: String,
    rows: u64,
    some: Vec<RowCard>,
}

impl Viewer {
    /// Cards of rows, each with the value that stands on it.
    pub(super) fn cards(&self, rows: &[(usize, Option<f64>)]) -> Result<Vec<RowCard>, String> {
        let places: Vec<Place> = rows
            .iter()
            .filter_map(|(row, _)| self.live.place(*row))
            .collect();
        let found = self.finder.rows(&places)?;
        let cards = rows.iter().filter_map(|(row, value)| {
            let place = self.live.place(*row)?;
            Some(self.card(*row, place, *value, found.get(&place.offset)))
        });
        Ok(cards.collect())
    }

    fn card(
        &self,
        row: usize,
        place: Place,
        value: Option<f64>,
        shown: Option<&ShownRow>,
    ) -> RowCard {
        let reason = self.live.reason(row);
        let several = self.live.inputs().len() > 1;
        let file = self.live.inputs().get(place.file as usize);
        let stats = self
            .live
            .stats()
            .iter()
            .enumerate()
            .filter_map(|(at, stat)| {
                let numbers = self.live.numbers(at, row);
                let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                (!texts.is_empty()).then(|| (stat.name.clone().into_owned(), texts.join(", ")))
            });
        let pictures = shown.map(|row| row.pictures.iter()).into_iter().flatten();
        RowCard {
            value,
            file: file.filter(|_| several).map(|file| file.name.clone()),
            line: place.line,
            id: shown.and_then(|row| row.id.clone()),
            text: shown.and_then(|row| row.text.clone()),
            pictures: pictures
                .map(|picture| match picture {
                    Ok(thumb) => PictureCard {
                        address: Some(thumb.address.clone()),
                        width: thumb.width,
                        height: thumb.height,
                        problem: None,
                    },
                    Err(problem) => PictureCard {
                        address: None,
                        width: 0,
                        height: 0,
                        problem: Some(problem.clone()),
                    },
                })
                .collect(),
            more: shown.map_or(0, |row| row.more_pictures),
            reason: reason.map(|reason| format!("{}: {}", reason.by, reason.code)),
            stats: stats.collect(),
            read: shown.is_some(),
        }
    }

    pub(super) fn clusters(&self, asked: &Asked) -> Result<ClustersAnswer, String> {
        let places = self.live.places();
        let number = |offset: &u64| {
            places
                .binary_search_by_key(offset, |place| place.offset)
                .ok()
        };
        let page = self.clusters.0.iter().skip(asked.skip).take(CLUSTERS);
        let cards = page.map(|cluster| {
            let some = cluster.some.iter().take(CLUSTER_ROWS).filter_map(number);
            let some: Vec<_> = some.map(|row| (row, None)).collect();
            Ok(ClusterCard {
                by: cluster.by.clone(),
                rows: cluster.rows,
                some: self.cards(&some)?,
            })
        });
        Ok(ClustersAnswer {
            total: self.clusters.len(),
            clusters: cards.collect::<Result<_, String>>()?,
        })
    }
}
