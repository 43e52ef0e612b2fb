//! Threads for work nobody waits for: one each, of the lowest priority, so that it takes only what
//! answers leave of the processors.
//!
//! Not tokio's blocking pool: its threads are shared with work somebody waits for, and a priority
//! once lowered cannot be raised again. Threads started from such a thread inherit its priority.

use std::io;

use tokio::sync::oneshot;

/// What the system calls the least priority.
const NICE: i32 = 19;

/// Why background work has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackgroundError {
    /// The system gave no thread.
    #[error("failed to start a thread")]
    Start(#[source] io::Error),
    /// The work panicked; the panic itself is in the log.
    #[error("the thread ended before its work was done")]
    Ended,
}

/// Starts `work` on a thread of its own called `name`, of which the system shows at most 15 bytes.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let low = move || {
        // Where the system does not allow it the work keeps the usual priority. On Linux this is the
        // thread's alone, see nice(2).
        let _ = rustix::process::nice(NICE);
        work();
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(low).map(drop)
}

/// As [`spawn`], and waits for the result.
///
/// The work goes on when the future is dropped: it has to be told to stop in a way of its own.
pub(crate) async fn run<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, BackgroundError> {
    let (sender, receiver) = oneshot::channel();
    spawn(name, move || {
        // Nobody may be there to take it any more.
        let _ = sender.send(work());
    })
    .map_err(BackgroundError::Start)?;
    receiver.await.map_err(|_| BackgroundError::Ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn work_runs_at_the_lowest_priority_and_so_do_its_own_threads() {
        // The 19th field of proc(5)'s stat is the nice value; the name before it has no space here.
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            stat.split(' ').nth(18).unwrap().parse::<i32>().unwrap()
        };
        let here = nice();
        let (work, inner) =
            run("background-test", move || (nice(), std::thread::spawn(nice).join().unwrap())).await.unwrap();
        assert_eq!((work, inner), (19, 19));
        assert_eq!(nice(), here);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_whoever_waits() {
        let ended: Result<(), _> = run("background-test", || panic!("on purpose")).await;
        assert!(matches!(ended, Err(BackgroundError::Ended)));
    }
}
