use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_128;

use super::*;

fn key(number: u64, kernel: u64) -> Key {
    Key {
        content: xxh3_128(&number.to_le_bytes()),
        kernel,
    }
}

/// A value of some length that tells which it is.
fn value(number: u64, kernel: u64) -> Vec<u8> {
    let text = format!("{number}/{kernel} ");
    text.repeat(1 + usize::try_from(number % 40).unwrap())
        .into_bytes()
}

fn fill(cache: &Cache, numbers: std::ops::Range<u64>) {
    for number in numbers {
        for kernel in [1, 2] {
            cache
                .put(key(number, kernel), &value(number, kernel))
                .unwrap();
        }
    }
}

fn has(cache: &Cache, numbers: std::ops::Range<u64>) {
    for number in numbers {
        for kernel in [1, 2] {
            let found = cache.get(key(number, kernel));
            assert_eq!(found, Some(value(number, kernel)), "{number} {kernel}");
        }
        assert_eq!(cache.get(key(number, 3)), None);
    }
}

fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|it| it == suffix))
        .collect();
    files.sort();
    files
}

#[test]
fn what_is_put_in_is_found_at_once_and_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("a/b")).unwrap();
    assert_eq!(cache.get(key(0, 1)), None);
    fill(&cache, 0..200);
    has(&cache, 0..200);
    cache.sync().unwrap();
    has(&cache, 0..200);
    assert_eq!(cache.get(key(200, 1)), None);
    cache.put(key(7, 1), b"newer").unwrap();
    assert_eq!(cache.get(key(7, 1)).unwrap(), b"newer");
    cache.finish().unwrap();
    assert_eq!(cache.get(key(7, 1)).unwrap(), b"newer");
    cache.put(key(7, 1), b"").unwrap();
    let other = Cache::open(cache.dir()).unwrap();
    assert_eq!(other.get(key(7, 1)).unwrap(), b"newer");
    has(&other, 8..200);
    drop(cache);
    let other = Cache::open(&dir.path().join("a/b")).unwrap();
    assert_eq!(other.get(key(7, 1)).unwrap(), b"");
    has(&other, 8..200);
    assert!(other.troubles().is_empty());
}

#[test]
fn a_cache_that_is_only_asked_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    assert_eq!(cache.get(key(1, 1)), None);
    cache.sync().unwrap();
    cache.finish().unwrap();
    drop(cache);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(Cache::open(&dir.path().join("file")).is_err());
    assert!(Cache::open(&dir.path().join("file/below")).is_err());
}

#[test]
fn many_segments_are_merged_and_the_newest_value_stays() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..30 {
        let cache = Cache::open(dir.path()).unwrap();
        fill(&cache, run * 10..run * 10 + 10);
        cache.put(key(5000, 1), run.to_string().as_bytes()).unwrap();
        cache.finish().unwrap();
        assert!(files(dir.path(), "log").len() <= 8);
        assert_eq!(
            files(dir.path(), "log").len(),
            files(dir.path(), "idx").len()
        );
    }
    let cache = Cache::open(dir.path()).unwrap();
    has(&cache, 0..300);
    assert_eq!(cache.get(key(5000, 1)).unwrap(), b"29");
    assert!(cache.troubles().is_empty());
    assert!(files(dir.path(), "part").is_empty());
}

#[test]
fn a_large_segment_is_not_written_again_for_small_ones() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    fill(&cache, 0..2000);
    cache.finish().unwrap();
    let large = files(dir.path(), "log");
    for run in 0..20 {
        let cache = Cache::open(dir.path()).unwrap();
        fill(&cache, 2000 + run..2001 + run);
        cache.finish().unwrap();
    }
    assert!(files(dir.path(), "log").contains(&large[0]));
    has(&Cache::open(dir.path()).unwrap(), 0..2020);
}

#[test]
fn a_run_with_many_results_finishes_segments_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::with_own(dir.path(), 50).unwrap();
    fill(&cache, 0..200);
    assert!(files(dir.path(), "idx").len() >= 7);
    has(&cache, 0..200);
    cache.finish().unwrap();
    has(&cache, 0..200);
    has(&Cache::open(dir.path()).unwrap(), 0..200);
}

#[test]
fn what_a_killed_run_has_written_is_found() {
    // A child has what is open here until its own program runs, locks included.
    let is_over = Arc::new(AtomicBool::new(false));
    let children = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                let _ = Command::new("/bin/true").status();
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    fill(&cache, 0..50);
    drop(cache);
    let [log] = &files(dir.path(), "log")[..] else {
        panic!("one log");
    };
    let whole = fs::read(log).unwrap();
    let mut found_before = 0;
    for length in (0..whole.len()).step_by(61) {
        let _ = fs::remove_file(index_path(log));
        fs::write(log, &whole[..length]).unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        assert!(cache.troubles().is_empty(), "{:?}", cache.troubles());
        let all = (0..50).flat_map(|number| [(number, 1), (number, 2)]);
        let found = all.map(|(number, kernel)| cache.get(key(number, kernel)).is_some());
        let found: Vec<bool> = found.collect();
        // A beginning of all that was put in, and never less of a longer log.
        let count = found.iter().filter(|found| **found).count();
        assert!(found[..count].iter().all(|found| *found) && count >= found_before);
        found_before = count;
    }
    assert!(found_before > 95);
    // Blocks that the system gave to the file and never wrote.
    let _ = fs::remove_file(index_path(log));
    let zeros = [&whole[..], &[0; 4096]].concat();
    fs::write(log, zeros).unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    has(&cache, 0..50);
    assert!(cache.troubles().is_empty());
    is_over.store(true, Ordering::Relaxed);
    children.join().unwrap();
}

/// Whatever happens to the bytes of a segment, the value that comes is the one that was put in, or
/// none comes, and damage is told of once.
#[test]
fn no_damage_gives_a_wrong_value() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    for number in 0..6 {
        let short = value(number, 1);
        cache.put(key(number, 1), &short[..4]).unwrap();
    }
    cache.finish().unwrap();
    drop(cache);
    let log = files(dir.path(), "log").remove(0);
    let index = index_path(&log);
    let (log_bytes, index_bytes) = (fs::read(&log).unwrap(), fs::read(&index).unwrap());
    let told = std::cell::Cell::new(0);
    let look = |what: String| {
        let cache = Cache::open(dir.path()).unwrap();
        let mut lost = 0;
        for number in 0..6 {
            match cache.get(key(number, 1)) {
                Some(found) => assert_eq!(found, value(number, 1)[..4], "{what}"),
                None => lost += 1,
            }
        }
        let troubles = cache.troubles();
        assert!(troubles.len() <= 1, "{what}: {troubles:?}");
        told.set(told.get() + troubles.len());
        (lost, troubles.len())
    };
    for (path, bytes) in [(&log, &log_bytes), (&index, &index_bytes)] {
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                fs::write(path, &damaged).unwrap();
                look(format!("{} {at} {mask}", path.display()));
            }
            fs::write(path, &bytes[..at]).unwrap();
            let what = format!("{} cut to {at}", path.display());
            assert_eq!(look(what.clone()), (6, 1), "{what}");
        }
        fs::write(path, bytes).unwrap();
    }
    // The same of a log whose run was killed: what lies before the damage is used from the next
    // time on.
    for at in 0..log_bytes.len() {
        let mut damaged = log_bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&log, &damaged).unwrap();
        let _ = fs::remove_file(&index);
        look(format!("killed, {at}"));
        if index.exists() {
            assert_eq!(look(format!("again, {at}")).1, 0);
        }
    }
    assert!(told.get() > 100);
    fs::write(&log, &log_bytes).unwrap();
    fs::write(&index, &index_bytes).unwrap();
    assert_eq!(look("whole again".into()), (0, 0));
}

#[test]
fn many_threads_share_one_cache() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::with_own(dir.path(), 300).unwrap();
    thread::scope(|scope| {
        for thread in 0..8_u64 {
            let cache = &cache;
            scope.spawn(move || {
                for number in 0..100 {
                    let number = number * 8 + thread;
                    fill(cache, number..number + 1);
                    has(cache, number..number + 1);
                    let other = key(number / 2, 1);
                    if let Some(found) = cache.get(other) {
                        assert_eq!(found, value(number / 2, 1));
                    }
                }
            });
        }
    });
    cache.finish().unwrap();
    has(&cache, 0..800);
    has(&Cache::open(dir.path()).unwrap(), 0..800);
}

/// Runs that open, fill, merge and end at the same time: each finds its own results all the time,
/// and afterwards everything is there.
#[test]
fn many_runs_share_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Arc::new(dir);
    thread::scope(|scope| {
        for run in 0..6_u64 {
            let dir = Arc::clone(&dir);
            scope.spawn(move || {
                for turn in 0..10 {
                    let from = (run * 10 + turn) * 20;
                    let cache = Cache::with_own(dir.path(), 15).unwrap();
                    fill(&cache, from..from + 20);
                    has(&cache, from..from + 20);
                    // One that was killed may be being mended by another thread just now.
                    if turn % 3 > 0 {
                        has(&cache, from - 20..from);
                    }
                    // Every third is killed.
                    if turn % 3 < 2 {
                        cache.finish().unwrap();
                    }
                    assert!(cache.troubles().is_empty(), "{:?}", cache.troubles());
                }
            });
        }
    });
    let cache = Cache::open(dir.path()).unwrap();
    has(&cache, 0..1200);
    let logs = files(dir.path(), "log")
        .into_iter()
        .collect::<BTreeSet<_>>();
    assert_eq!(logs.len(), cache.finished.read().unwrap().len());
}

#[test]
fn what_is_too_old_or_too_much_is_cleaned_away() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    fill(&cache, 0..100);
    cache.finish().unwrap();
    let writes = Cache::open(dir.path()).unwrap();
    writes.put(key(1, 9), b"live").unwrap();
    let all = clean(dir.path(), Limits::default()).unwrap();
    assert_eq!(
        (all.results_before, all.results_after, all.live),
        (200, 200, 1)
    );
    assert_eq!(all.bytes_before, all.bytes_after);
    drop(writes);
    has(&Cache::open(dir.path()).unwrap(), 0..100);

    let old = clean(
        dir.path(),
        Limits {
            max_age: Some(Duration::from_secs(3600)),
            ..Limits::default()
        },
    );
    assert_eq!(old.unwrap().results_after, 201);
    let small = clean(
        dir.path(),
        Limits {
            max_bytes: Some(100),
            ..Limits::default()
        },
    );
    let small = small.unwrap();
    assert!(small.bytes_after <= 100 && small.results_before == 201);
    assert_eq!(
        files(dir.path(), "log").len(),
        usize::from(small.results_after > 0)
    );
}

#[test]
fn cleaning_keeps_what_lies_before_damage() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    fill(&cache, 0..10);
    cache.finish().unwrap();
    let log = files(dir.path(), "log").remove(0);
    let mut index = fs::read(index_path(&log)).unwrap();
    index[9] ^= 1;
    fs::write(index_path(&log), index).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(&log, bytes).unwrap();
    let cleaned = clean(dir.path(), Limits::default()).unwrap();
    assert!((4..18).contains(&cleaned.results_after), "{cleaned:?}");
    let cache = Cache::open(dir.path()).unwrap();
    has(&cache, 0..2);
    assert!(cache.troubles().is_empty());
}

/// The search by guesses finds what a search through everything finds, also where keys are not
/// spread as digests are.
#[test]
fn every_key_of_a_large_index_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let spreads: [&dyn Fn(u64) -> Key; 3] = [
        &|number| key(number, 5),
        &|number| Key {
            content: u128::from(number),
            kernel: 5,
        },
        &|number| Key {
            content: u128::from(number.wrapping_mul(number)) << 64 | u128::from(number),
            kernel: 5,
        },
    ];
    for (number, spread) in spreads.iter().enumerate() {
        let cache = Cache::open(&dir.path().join(number.to_string())).unwrap();
        for number in 0..20_000 {
            cache
                .put(spread(number * 2), &number.to_le_bytes())
                .unwrap();
        }
        cache.finish().unwrap();
        for room in [segment::MOST_HELD, 20_000 * segment::HELD_ENTRY - 1] {
            let cache = Cache::open(cache.dir()).unwrap();
            cache.room.store(room, Ordering::Relaxed);
            let holds = |cache: &Cache| cache.finished.read().unwrap()[0].is_held();
            assert!(!holds(&cache));
            for number in 0..20_000 {
                let found = cache.get(spread(number * 2));
                assert_eq!(
                    found.as_deref(),
                    Some(&number.to_le_bytes()[..]),
                    "{number}"
                );
                assert_eq!(cache.get(spread(number * 2 + 1)), None);
            }
            // An index that is read so often is held, where there is room for it.
            assert_eq!(holds(&cache), room == segment::MOST_HELD);
            assert!(cache.troubles().is_empty());
        }
    }
}

#[test]
fn a_survey_counts_results_and_finds_damage() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    fill(&cache, 0..10);
    cache.finish().unwrap();
    cache.put(key(0, 1), b"live").unwrap();
    let mut values = 0;
    let mut look = || {
        survey(dir.path(), &mut |key, value| {
            assert!(key.kernel < 3 && !value.is_empty());
            values += 1;
        })
        .unwrap()
    };
    let sound = look();
    assert_eq!((sound.segments, sound.live, sound.damage.len()), (1, 1, 0));
    assert_eq!(sound.kernels[&1].results, 10);
    assert_eq!(sound.kernels.len(), 2);
    let idx = files(dir.path(), "idx").remove(0);
    let log = idx.with_extension("log");
    for path in [idx, log] {
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(look().damage.len(), 1, "{}", path.display());
        fs::write(&path, whole).unwrap();
    }
    assert!(values >= 39);
}
