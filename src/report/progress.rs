//! Progress of a long run: one line that fits the terminal, plain lines elsewhere, nothing for short
//! runs. A program that runs a command gets the line to show it itself.

use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use super::log::{Event, Level, Log, LogFormat, LogLine};
use super::table::{bytes, seconds, thousands};
use crate::exec::{Moment, Observer};
use crate::record::counts::resident_memory;

/// Columns of a terminal that does not say.
const COLUMNS: usize = 80;

/// After so long a rate means something, and a log may have another line.
const SETTLED: Duration = Duration::from_secs(1);

/// Where a phase stood at some moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    rows: u64,
    /// Of what its share is counted in.
    part: u64,
}

/// Gets a line each time there is a new one.
pub type Listener = Box<dyn FnMut(String) + Send>;

/// Where progress is shown.
enum Place {
    /// A line that is drawn over again.
    Terminal,
    /// One line behind the other.
    Lines,
    /// Whoever listens, in lines shorter than so many characters.
    Listener(usize, Listener),
}

/// Shows progress on standard error, or tells a listener.
pub struct Progress {
    log: Log,
    place: Place,
    started: Instant,
    shown: Option<Instant>,
    interval: Duration,
    total_bytes: Option<u64>,
    /// The phase that was heard of last.
    phase: Option<usize>,
    /// Where the phase stood when it was first heard of: an earlier process may have done its start.
    begin: Mark,
    /// Where it stood when it had first moved since: before that a model may have been loaded.
    moving: Option<Mark>,
    /// Characters of the line that stands on the terminal.
    drawn: usize,
}

impl Progress {
    /// Progress of a run over `total_bytes` of rows, if that is known beforehand.
    #[must_use]
    pub fn new(total_bytes: Option<u64>, log: Log) -> Self {
        let is_terminal = log.format == LogFormat::Text && std::io::stderr().is_terminal();
        let place = if is_terminal {
            Place::Terminal
        } else {
            Place::Lines
        };
        Self::at(place, total_bytes, log)
    }

    /// The same for `listener`, who shows lines shorter than `width` characters.
    #[must_use]
    pub fn told(total_bytes: Option<u64>, width: usize, listener: Listener) -> Self {
        let place = Place::Listener(width, listener);
        Self::at(place, total_bytes, Log::default())
    }

    fn at(place: Place, total_bytes: Option<u64>, log: Log) -> Self {
        let interval = match place {
            Place::Terminal | Place::Listener(..) => Duration::from_millis(200),
            Place::Lines => Duration::from_secs(10),
        };
        let now = Instant::now();
        Self {
            log,
            place,
            started: now,
            shown: None,
            interval,
            total_bytes,
            phase: None,
            begin: Mark {
                at: now,
                rows: 0,
                part: 0,
            },
            moving: None,
            drawn: 0,
        }
    }

    fn state(&self, moment: &Moment<'_>) -> State {
        let report = moment.report;
        let part = match (moment.task, moment.rows) {
            (Some((_, done, all)), _) => (all > 1).then_some((done, all)),
            (None, Some(part)) => Some(part),
            (None, None) if moment.phase == 0 => self
                .total_bytes
                .filter(|total| report.bytes_in > 0 && report.bytes_in <= *total)
                .map(|total| (report.bytes_in, total)),
            (None, None) => None,
        };
        // What has not begun to move may never do so before its end.
        let part = part.filter(|(done, _)| *done > 0);
        let share = part.map(|(done, all)| as_f64(done) / as_f64(all.max(1)));
        let rows = moment.rows.map_or(report.rows_in, |(done, _)| done);
        let left = part
            .filter(|_| moment.task.is_none())
            .zip(self.moving)
            .filter(|(_, mark)| mark.at.elapsed() >= SETTLED)
            .and_then(|((done, all), mark)| {
                let moved = done.checked_sub(mark.part).filter(|moved| *moved > 0)?;
                let seconds = mark.at.elapsed().as_secs_f64();
                let left = as_f64(all - done.min(all)) / as_f64(moved) * seconds;
                Duration::try_from_secs_f64(left).ok()
            });
        let since = self.moving.filter(|mark| rows > mark.rows);
        let since = since.unwrap_or(self.begin);
        let moved = rows.saturating_sub(since.rows);
        let what = match (moment.task, moment.rows) {
            (Some((task, ..)), _) => task,
            (None, Some(_)) => "rows that are left",
            (None, None) => "reading",
        };
        let label = if moment.task.is_none() && moment.phases > 1 {
            format!("{what} ({} of {})", moment.phase + 1, moment.phases)
        } else {
            what.to_owned()
        };
        State {
            label,
            share,
            rows,
            rate: as_f64(moved) / since.at.elapsed().as_secs_f64().max(1e-9),
            left,
            dropped: report.dropped,
            set_aside: report.quarantined,
            memory: resident_memory(),
            tokens: report
                .services
                .iter()
                .map(|s| s.tokens_in.saturating_add(s.tokens_out))
                .fold(0, u64::saturating_add),
            cost: report.services.iter().map(|service| service.cost).sum(),
        }
    }

    /// Whether it is time to say something. What reads no rows may be silent for long: it is named
    /// when it begins. A log has a line at the start, and not many in one second.
    fn is_due(&self, moment: &Moment<'_>) -> bool {
        let is_log = matches!(self.place, Place::Lines);
        match (moment.task, self.shown) {
            (None, Some(shown)) => shown.elapsed() >= self.interval,
            (Some(_), Some(shown)) if is_log => shown.elapsed() >= SETTLED,
            (_, None) if is_log && self.log.format == LogFormat::Json => true,
            _ => self.started.elapsed() >= self.interval,
        }
    }

    fn draw(&mut self, line: &str) {
        let length = line.chars().count();
        let blank = self.drawn.saturating_sub(length);
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "\r{line}{:blank$}", "");
        let _ = out.flush();
        self.drawn = length;
    }
}

impl Observer for Progress {
    fn progress(&mut self, moment: &Moment<'_>) {
        let (rows, part) = match moment.rows {
            Some((done, _)) => (done, done),
            None => (moment.report.rows_in, moment.report.bytes_in),
        };
        let at = Instant::now();
        let now = Mark { at, rows, part };
        if self.phase != Some(moment.phase) {
            self.phase = Some(moment.phase);
            self.begin = now;
            self.moving = None;
        } else if self.moving.is_none() && part > self.begin.part {
            self.moving = Some(now);
        }
        if self.log.quiet || !self.is_due(moment) {
            return;
        }
        self.shown = Some(Instant::now());
        let state = self.state(moment);
        match (&mut self.place, self.log.format) {
            (Place::Listener(width, listener), _) => listener(state.line(*width)),
            (_, LogFormat::Json) => self.log.line(&state.logged()),
            (Place::Terminal, LogFormat::Text) => self.draw(&state.line(columns())),
            (Place::Lines, LogFormat::Text) => self.log.info(&state.line(usize::MAX)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn > 0 {
            self.draw("");
            let _ = write!(std::io::stderr().lock(), "\r");
        }
    }
}

/// Columns of the terminal on standard error.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { COLUMNS } else { columns }
}

/// How far a run is, in numbers.
#[derive(Debug, Clone, PartialEq)]
struct State {
    /// What it does, in plain words.
    label: String,
    /// How much of that is done, from 0 to 1.
    share: Option<f64>,
    rows: u64,
    rate: f64,
    left: Option<Duration>,
    dropped: u64,
    set_aside: u64,
    memory: u64,
    /// Tokens of servers, and what they cost.
    tokens: u64,
    cost: f64,
}

impl State {
    /// The state in a line shorter than `width`: what is wanted most comes first, and what has no
    /// room is left out.
    fn line(&self, width: usize) -> String {
        let room = width.saturating_sub(1);
        let mut line = self.label.clone();
        let add = |line: &mut String, between: &str, part: &str| {
            let length = line.chars().count() + between.len() + part.chars().count();
            if length <= room {
                line.push_str(between);
                line.push_str(part);
            }
            length <= room
        };
        if let Some(share) = self.share {
            add(&mut line, " ", &format!("{:>3.0}%", share * 100.0));
            if width < usize::MAX {
                add(&mut line, " ", &bar(share, (width / 10).clamp(4, 20)));
            }
        }
        let mut parts = vec![
            format!("{} rows", thousands(self.rows)),
            format!("{} rows/s", thousands(rounded(self.rate))),
        ];
        parts.extend(self.left.map(|left| format!("{} left", seconds(left))));
        if self.tokens > 0 {
            parts.push(format!("{} tokens", thousands(self.tokens)));
        }
        if self.cost > 0.0 {
            parts.push(format!("cost {:.4}", self.cost));
        }
        parts.push(format!("{} dropped", thousands(self.dropped)));
        parts.push(format!("{} set aside", thousands(self.set_aside)));
        parts.push(format!("memory {}", bytes(self.memory)));
        let mut between = " ";
        for part in parts {
            // What is wanted less does not take the place of what is wanted more.
            if !add(&mut line, between, &part) {
                break;
            }
            between = ", ";
        }
        line.chars().take(room).collect()
    }

    /// The state as a line of a JSON log.
    fn logged(&self) -> LogLine {
        LogLine {
            phase: Some(self.label.clone()),
            rows: Some(self.rows),
            dropped: Some(self.dropped),
            quarantined: Some(self.set_aside),
            rows_per_second: Some(self.rate),
            share: self.share,
            seconds_left: self.left.map(|left| left.as_secs_f64()),
            ..LogLine::new(Level::Info, Event::Progress)
        }
    }
}

/// `[####....]`, with so many places.
fn bar(share: f64, places: usize) -> String {
    let done = usize::try_from(rounded(share * as_f64(places as u64)));
    let done = done.unwrap_or(0).min(places);
    format!("[{}{}]", "#".repeat(done), ".".repeat(places - done))
}

#[expect(clippy::cast_precision_loss, reason = "only for an estimate")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shown rounded"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunReport;

    fn state(label: &str, share: Option<f64>) -> State {
        State {
            label: label.into(),
            share,
            rows: 1_234_567,
            rate: 45_678.4,
            left: share.map(|_| Duration::from_secs(185)),
            dropped: 98_765,
            set_aside: 321,
            memory: 123_400_000,
            tokens: 0,
            cost: 0.0,
        }
    }

    #[test]
    fn what_came_before_the_first_rows_counts_for_no_rate() {
        let mut progress = Progress::told(Some(10_000), 80, Box::new(|_| {}));
        let read = |rows, bytes| RunReport {
            rows_in: rows,
            bytes_in: bytes,
            ..RunReport::default()
        };
        // An earlier process has done half, and a model is loaded for an hour.
        progress.progress(&Moment::reading(0, 1, &read(5_000, 5_000)));
        progress.begin.at -= Duration::from_secs(3_600);
        let first = read(5_500, 5_500);
        progress.progress(&Moment::reading(0, 1, &first));
        assert_eq!(
            progress.state(&Moment::reading(0, 1, &first)).left,
            None,
            "one batch says nothing of what the next ones take"
        );
        progress.moving.as_mut().unwrap().at -= Duration::from_secs(10);
        let now = read(6_500, 6_500);
        let state = progress.state(&Moment::reading(0, 1, &now));
        assert_eq!((state.rows, state.share), (6_500, Some(0.65)));
        assert!(state.rate > 50.0 && state.rate <= 100.0, "{}", state.rate);
        let left = state.left.unwrap().as_secs();
        assert!((35..70).contains(&left), "{left}");
    }

    #[test]
    fn what_is_wanted_less_gives_way() {
        let mut reading = state("reading", Some(0.42));
        reading.dropped = 0;
        assert_eq!(
            reading.line(62),
            "reading  42% [###...] 1,234,567 rows, 45,678 rows/s"
        );
    }

    #[test]
    fn a_line_fits_its_terminal_and_keeps_what_is_wanted_most() {
        let reading = state("reading", Some(0.42));
        for (width, line) in [
            (40, "reading  42% [##..] 1,234,567 rows"),
            (60, "reading  42% [###...] 1,234,567 rows, 45,678 rows/s"),
            (
                80,
                "reading  42% [###.....] 1,234,567 rows, 45,678 rows/s, 3 min 5 s left",
            ),
            (
                200,
                "reading  42% [########............] 1,234,567 rows, 45,678 rows/s, 3 min 5 s left, 98,765 dropped, 321 set aside, memory 123.4 MB",
            ),
        ] {
            assert_eq!(reading.line(width), line);
        }
        let deciding = state("document_minhash_deduplicator", None);
        for width in [1, 20, 40, 60, 80, 200] {
            assert!(deciding.line(width).chars().count() < width);
        }
        assert_eq!(
            deciding.line(60),
            "document_minhash_deduplicator 1,234,567 rows, 45,678 rows/s"
        );
    }
}
