//! The exit codes of every command. Scripts rely on them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; every row accounted for and none set aside. A reader of the standard output that
    /// goes away early is success too, where nothing else was to be written.
    Success = 0,
    /// 1: finished, but rows were quarantined or refused, or a sample fell short; `verify`: something
    /// differs; `diff`: the two differ.
    Losses = 1,
    /// 2: the arguments, the recipe or the configuration are wrong; nothing was written. `why`: there
    /// is no such row.
    Usage = 2,
    /// 3: the run failed; no output stands under its final name, or the message says which do.
    Failed = 3,
    /// 10: `next`: no task can be done now, since others are still to end.
    NotYet = 10,
    /// 11: `next`: all tasks are done.
    AllDone = 11,
    /// 130: stopped by SIGINT.
    Interrupted = 130,
    /// 143: stopped by SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
