//! Long work on a thread of its own, while the calling one shows progress and hears Ctrl-C.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use djr::report::progress::Listener;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How often signals are looked for.
const PATIENCE: Duration = Duration::from_millis(50);

/// As much as the main thread of a program has.
const STACK_BYTES: usize = 8 << 20;

/// What the work gets: when to end, and whom to tell how far it is.
pub struct Watcher {
    /// Set when it is to end.
    pub interrupted: Arc<AtomicBool>,
    /// Gets lines shorter than so many characters.
    pub progress: Option<(usize, Listener)>,
}

/// Does `work` and gives its outcome. `progress` is called with a line now and then, on this thread.
/// After a signal for which Python has an exception the work is asked to end, and the exception comes
/// when it has; after a second one at once.
///
/// # Errors
/// That exception, and whatever `progress` raises, which ends the work, too.
pub fn watched<T: Send + 'static>(
    py: Python<'_>,
    progress: Option<(usize, Py<PyAny>)>,
    work: impl FnOnce(Watcher) -> T + Send + 'static,
) -> PyResult<T> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let (tell, mut hear) = mpsc::channel::<String>();
    let watcher = Watcher {
        interrupted: Arc::clone(&interrupted),
        progress: progress.as_ref().map(|(width, _)| {
            let line_to = tell.clone();
            let listener: Listener = Box::new(move |line| {
                // Nobody listens any more after a second signal.
                let _ = line_to.send(line);
            });
            (*width, listener)
        }),
    };
    let worker = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // It is dropped when the work is done, or panics: that is heard at once.
            let _done = tell;
            work(watcher)
        })?;
    let mut stopped: Option<PyErr> = None;
    loop {
        let waiting = &mut hear;
        let heard = py.detach(move || waiting.recv_timeout(PATIENCE));
        let raised = match (&heard, &progress) {
            (Err(RecvTimeoutError::Disconnected), _) => break,
            (Ok(line), Some((_, show))) if stopped.is_none() => show.call1(py, (line,)).err(),
            _ => None,
        };
        if let Some(error) = raised.or_else(|| py.check_signals().err()) {
            interrupted.store(true, Ordering::Relaxed);
            if let Some(first) = stopped.replace(error) {
                return Err(first);
            }
        }
    }
    let done = py.detach(|| worker.join());
    match (stopped, done) {
        (Some(error), _) => Err(error),
        (None, Ok(done)) => Ok(done),
        (None, Err(panic)) => Err(PyRuntimeError::new_err(format!(
            "djr has an error: {}",
            djr::exec::driver::panic_message(&*panic)
        ))),
    }
}
