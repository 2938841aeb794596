//! Properties of the executor for operators that fail, panic and drop at random, for any number of
//! threads and any batch size: order, conservation, one ledger entry a row, the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use djr::exec::{RunOptions, run};
use djr::op::{
    BandDeduplicator, Bounds, ExactDeduplicator, Family, Filter, Joins, Mapper, Measured, OpSpec,
    Operator, Stat, StatType, Verdict,
};
use djr::recipe::{LoadOptions, Recipe, RecipeSource, Step, load};
use djr::sample::{FieldPath, RowError, Sample, StatKey, StatValue, Stats};
use proptest::prelude::*;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a step may do to a row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Mapper,
    Filter,
    Exact,
    Near,
}

/// A step that decides by a hash of the row's own number and its seed, and by nothing else.
#[derive(Debug, Clone, Copy)]
struct Chance {
    seed: u64,
    /// How many rows in a hundred end in an error, in a panic, or (filters) are dropped.
    errors: u64,
    panics: u64,
    drops: u64,
    /// Deduplicators: how many different keys there are.
    keys: u64,
}

impl Chance {
    fn roll(&self, sample: &Sample) -> u64 {
        let number = sample.value(&FieldPath::new("n")).unwrap().unwrap();
        self.of(number.as_u64().unwrap())
    }

    fn of(&self, number: u64) -> u64 {
        xxh3_64_with_seed(&number.to_le_bytes(), self.seed)
    }

    /// Fails or panics by chance.
    fn risk(&self, roll: u64) -> Result<(), RowError> {
        let percent = roll % 100;
        assert!(percent >= self.panics, "a panic on purpose");
        if percent < self.panics + self.errors {
            return Err(RowError::new("wrong_type", "an error on purpose"));
        }
        Ok(())
    }

    fn drops(&self, roll: u64) -> bool {
        (roll >> 32) % 100 < self.drops
    }

    fn key(&self, roll: u64) -> u64 {
        (roll >> 16) % self.keys
    }
}

struct Filtering(Chance, StatKey);

impl Mapper for Chance {
    fn apply(&self, sample: &mut Sample) -> Result<(), RowError> {
        let roll = self.roll(sample);
        self.risk(roll)?;
        if self.drops(roll) {
            sample.set_value("mapped", Value::from(roll % 1000));
        }
        Ok(())
    }
}

impl Filter for Filtering {
    fn measure(&self, sample: &Sample) -> Result<Measured, RowError> {
        let roll = self.0.roll(sample);
        self.0.risk(roll)?;
        let dropped = i64::from(self.0.drops(roll));
        Ok([StatValue::Int(dropped)].into_iter().collect())
    }

    fn decide_within(&self, _: &[Bounds], stats: &Stats) -> Verdict {
        match stats.get(&self.1) {
            Some(StatValue::Int(0)) => Verdict::Keep,
            _ => Verdict::drop(self.1.clone(), StatValue::Int(1), "chance: 0"),
        }
    }
}

impl ExactDeduplicator for Chance {
    fn key(&self, sample: &Sample) -> Result<Option<u128>, RowError> {
        let roll = self.roll(sample);
        self.risk(roll)?;
        Ok((!self.drops(roll)).then(|| u128::from(Chance::key(self, roll))))
    }
}

impl BandDeduplicator for Chance {
    fn bands(&self) -> usize {
        1
    }

    fn keys(&self, sample: &Sample, out: &mut Vec<u64>) -> Result<(), RowError> {
        let roll = self.roll(sample);
        self.risk(roll)?;
        out.push(self.key(roll));
        Ok(())
    }

    fn joins(&self) -> Joins {
        Joins::Equal { alone: None }
    }
}

/// A recipe over `rows` numbered rows, every tenth of them broken, with these steps.
fn recipe(dir: &Path, rows: u64, steps: &[(Kind, Chance)], outputs: &str) -> Recipe {
    let lines: String = (0..rows)
        .map(|n| {
            if n % 10 == 9 {
                format!("{{\"n\": {n}, broken\n")
            } else {
                format!("{{\"n\": {n}, \"id\": \"{n:04}\", \"text\": \"row {n}\"}}\n")
            }
        })
        .collect();
    fs::write(dir.join("in.jsonl"), lines).unwrap();
    let text = format!("dataset_path: in.jsonl\noutputs: {outputs}\nprocess: []\n");
    let source = RecipeSource::Text {
        name: "test".into(),
        text,
    };
    let mut recipe = load(&source, &LoadOptions::new(dir)).unwrap_or_else(|e| panic!("{e}"));
    for (index, (kind, chance)) in steps.iter().enumerate() {
        let (family, operator) = match kind {
            Kind::Mapper => (Family::Mapper, Operator::Mapper(Box::new(*chance))),
            Kind::Filter => {
                let filter = Filtering(*chance, format!("s{index}").into());
                (Family::Filter, Operator::Filter(Box::new(filter)))
            }
            Kind::Exact => (Family::Deduplicator, Operator::Exact(Box::new(*chance))),
            Kind::Near => (Family::Deduplicator, Operator::Near(Box::new(*chance))),
        };
        let def = djr::op::find("text_length_filter").unwrap();
        let mut spec = OpSpec::new(def.name, family, operator.kind());
        if *kind == Kind::Filter {
            spec.stats.push(Stat {
                name: format!("s{index}").into(),
                kind: StatType::Integer,
                unit: "",
                min: None,
                max: None,
                beside: false,
                nullable: false,
            });
        }
        recipe.steps.push(Step {
            index,
            name: def.name,
            family,
            line: 0,
            params: serde_json::Map::new(),
            base: djr::op::BaseParams::default(),
            spec,
            operator,
        });
    }
    recipe
}

/// Everything a run left, by name; what may differ from run to run (times, the manifest) is left
/// out.
fn left(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in [dir.join("out"), dir.join("out/a.jsonl.djr")] {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if path.is_dir() || name == "manifest.json" {
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            if name.ends_with(".zst") {
                bytes = zstd::decode_all(&bytes[..]).unwrap();
            }
            found.insert(name, bytes);
        }
    }
    found
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    crate::support::rows(bytes)
        .iter()
        .map(|row| row["n"].as_u64().unwrap())
        .collect()
}

fn run_it(dir: &Path, recipe: &Recipe, threads: usize, batch: usize) -> djr::record::RunReport {
    let _ = fs::remove_dir_all(dir.join("out"));
    let options = RunOptions {
        threads: Some(threads),
        batch_rows: Some(batch),
        working_dir: dir.to_owned(),
        ..RunOptions::default()
    };
    let outcome = run(recipe, &options, &mut ()).unwrap_or_else(|e| panic!("{e}"));
    outcome.report
}

/// Panics on purpose need not be shown.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let worker = std::thread::current()
                .name()
                .is_some_and(|n| n.starts_with("djr-worker"));
            if !worker {
                others(info);
            }
        }));
    });
}

fn chance() -> impl Strategy<Value = Chance> {
    (any::<u64>(), 0..8_u64, 0..4_u64, 0..40_u64, 1..200_u64).prop_map(
        |(seed, errors, panics, drops, keys)| Chance {
            seed,
            errors,
            panics,
            drops,
            keys,
        },
    )
}

fn steps(kinds: &'static [Kind]) -> impl Strategy<Value = Vec<(Kind, Chance)>> {
    prop::collection::vec((prop::sample::select(kinds), chance()), 0..5)
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 12;
    }
    config
}

const ALL: &[Kind] = &[Kind::Mapper, Kind::Filter, Kind::Exact, Kind::Near];

proptest! {
    #![proptest_config(config())]

    /// Row by row steps: what becomes of every row is what a plain loop says.
    #[test]
    fn every_row_ends_where_a_plain_loop_says(
        steps in steps(&[Kind::Mapper, Kind::Filter]),
        rows in 0..120_u64,
        threads in 1..5_usize,
        batch in 1..40_usize,
    ) {
        quiet();
        let dir = tempfile::tempdir().unwrap();
        let recipe = recipe(dir.path(), rows, &steps, "[{format: jsonl, path: out/a.jsonl}]");
        let report = run_it(dir.path(), &recipe, threads, batch);
        prop_assert_eq!(report.check_conservation(), Ok(()));
        let mut expected = Vec::new();
        for n in 0..rows {
            let mut end = (n % 10 == 9).then_some(("quarantined", None));
            for (index, (kind, chance)) in steps.iter().enumerate() {
                let roll = chance.of(n);
                if end.is_some() {
                    break;
                }
                if roll % 100 < chance.panics + chance.errors {
                    end = Some(("quarantined", Some(index as u64)));
                } else if *kind == Kind::Filter && chance.drops(roll) {
                    end = Some(("dropped", Some(index as u64)));
                }
            }
            expected.push(end.unwrap_or(("kept", None)));
        }
        let left = left(dir.path());
        let ends = (0..rows).zip(&expected);
        let kept: Vec<u64> = ends.filter(|(_, end)| end.0 == "kept").map(|(n, _)| n).collect();
        prop_assert_eq!(numbers(&left["a.jsonl"]), kept);
        let ledger = crate::support::rows(&left["ledger.jsonl.zst"]);
        let found: Vec<_> = ledger
            .iter()
            .map(|entry| {
                // Steps are counted from 1.
                let step = entry.get("step").and_then(Value::as_u64).map(|step| step - 1);
                (entry["fate"].as_str().unwrap(), step)
            })
            .collect();
        prop_assert_eq!(found, expected);
    }

    /// All kinds of steps, barriers and samples among them: threads and batches change no byte, no
    /// row is lost or written out of order.
    #[test]
    fn threads_and_batches_change_nothing(
        steps in steps(ALL),
        rows in 0..150_u64,
        threads in 2..6_usize,
        batch in 2..64_usize,
    ) {
        quiet();
        let dir = tempfile::tempdir().unwrap();
        let outputs = "[{format: jsonl, path: out/a.jsonl}, {format: jsonl, path: out/b.jsonl, sample: 20, seed: 7}, {format: llava, path: out/c.json}]";
        let recipe = recipe(dir.path(), rows, &steps, outputs);
        let plain = run_it(dir.path(), &recipe, 1, 1);
        prop_assert_eq!(plain.check_conservation(), Ok(()));
        let expected = left(dir.path());
        for (threads, batch) in [(threads, batch), (1, 1000), (4, 1)] {
            let report = run_it(dir.path(), &recipe, threads, batch);
            prop_assert_eq!(report.check_conservation(), Ok(()));
            prop_assert_eq!(&left(dir.path()), &expected);
        }
        let ledger = crate::support::rows(&expected["ledger.jsonl.zst"]);
        let mut lines: Vec<u64> = ledger.iter().map(|e| e["line"].as_u64().unwrap()).collect();
        lines.sort_unstable();
        prop_assert_eq!(lines, (1..=rows).collect::<Vec<_>>());
        for name in ["a.jsonl", "b.jsonl"] {
            prop_assert!(numbers(&expected[name]).is_sorted_by(|a, b| a < b));
        }
        let kept = ledger.iter().filter(|e| e["fate"] == "kept").count();
        prop_assert_eq!(kept, numbers(&expected["a.jsonl"]).len());
    }
}
