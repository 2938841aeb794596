//! The differences to the recorded answers that are meant.

/// One case whose answer differs on purpose.
pub struct Known {
    /// `operator/case`, or `shared/operator/case`.
    pub case: &'static str,
    /// The input rows that differ; empty if the case as a whole does.
    pub rows: &'static [usize],
    /// Why ours is the better answer.
    pub why: &'static str,
}

/// All of them. An entry that no longer differs must go.
pub const TABLE: &[Known] = &[];

/// The entry for `case`.
pub fn find(case: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.case == case)
}
