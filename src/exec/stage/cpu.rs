//! Processor time of a thread.

use std::time::Duration;

/// The processor time that the calling thread has taken so far.
#[must_use]
pub fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn only_work_counts() {
        let (clock, before) = (Instant::now(), thread_time());
        std::thread::sleep(Duration::from_millis(30));
        let asleep = thread_time().saturating_sub(before);
        assert!(asleep < clock.elapsed() / 2, "{asleep:?}");
        let mut sum = 0_u64;
        while thread_time() < before + asleep + Duration::from_millis(2) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(clock.elapsed() >= Duration::from_millis(32));
    }
}
