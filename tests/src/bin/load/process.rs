//! What the system tells about the node's process (Linux: `/proc`, see proc(5)).

use std::fs;
use std::time::Duration;

/// Ticks a second of the times in `/proc/PID/stat`: fixed for programs on every architecture Linux runs nodes on.
const TICKS_PER_SECOND: u64 = 100;

/// One process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// CPU time of all its threads so far, in steps of 10 ms.
    pub(crate) fn cpu(self) -> Result<Duration, String> {
        let path = format!("/proc/{}/stat", self.pid);
        let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        cpu_of(&stat).ok_or_else(|| format!("{path} has another form than expected"))
    }

    /// Memory it holds now, in bytes.
    pub(crate) fn rss(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory it held, in bytes.
    pub(crate) fn rss_peak(self) -> u64 {
        self.status("VmHWM:")
    }

    /// Begins the peak anew; where the system does not let us, it stays that of the whole life.
    pub(crate) fn forget_peak(self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid), "5");
    }

    fn status(self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let kibibytes = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        kibibytes.and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() * 1024
    }
}

/// Fields 14 and 15, counted from behind the program's name, which may hold anything.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    let ticks = times.next()? + times.next()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 1 1 1";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_of("nothing"), None);
    }
}
