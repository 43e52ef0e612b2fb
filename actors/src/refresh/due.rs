//! Which libraries are to be read again now: a rule over the agreed state and the time, so that every
//! node that asked would say the same.

use std::collections::HashSet;

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::jobs::Source;

/// Jobs that may be open for the schedule to start another.
const OPEN_JOBS_MAX: usize = 2;
/// The part of an interval over which libraries of the same interval are spread.
const JITTER_SHARE: u64 = 10;

/// A library with a schedule.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    pub(super) library: &'a LibraryId,
    pub(super) every_s: u64,
    pub(super) source: &'a Source,
    /// When it was last read, or a reading was last begun: a source that fails is not tried at once again.
    pub(super) last: Timestamp,
}

impl Planned<'_> {
    /// When it is to be read again. Spread by a hash of the name, so that what was added together is
    /// not fetched together for ever.
    fn due_at(&self) -> Timestamp {
        let every_ms = self.every_s.saturating_mul(1_000);
        let hash = blake3::hash(self.library.as_str().as_bytes());
        let spread = hash.as_bytes().iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        self.last.plus_millis(every_ms.saturating_add(spread % (every_ms / JITTER_SHARE).max(1)))
    }
}

/// The places in `planned` to be read again now, the most overdue first: one at a time of each host, and
/// few in all. `open` are the sources of the jobs that are open.
pub(super) fn due<'a>(
    now: Timestamp,
    planned: &[Planned<'a>],
    open: impl Iterator<Item = &'a Source>,
) -> Vec<usize> {
    let mut hosts = HashSet::new();
    let mut jobs = 0;
    for source in open {
        jobs += 1;
        hosts.insert(host(source));
    }
    let mut overdue: Vec<(Timestamp, usize)> = planned
        .iter()
        .enumerate()
        .map(|(at, planned)| (planned.due_at(), at))
        .filter(|(due, _)| *due <= now)
        .collect();
    overdue.sort_unstable();
    let chosen = overdue.into_iter().map(|(_, at)| at).filter(|at| hosts.insert(host(planned[*at].source)));
    chosen.take(OPEN_JOBS_MAX.saturating_sub(jobs)).collect()
}

/// Whom reading a source bothers.
fn host(source: &Source) -> &str {
    match source {
        Source::Web { url } | Source::Git { url, .. } => {
            let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            authority.rsplit('@').next().unwrap_or_default()
        }
        Source::Folder { .. } | Source::Upload { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::jobs::Revision;

    use super::*;

    const HOUR_S: u64 = 3_600;

    fn at_hour(hours: u64) -> Timestamp {
        Timestamp::from_millis(hours * HOUR_S * 1_000)
    }

    fn web(url: &str) -> Source {
        Source::Web { url: url.to_owned() }
    }

    fn planned<'a>(library: &'a LibraryId, source: &'a Source, last: u64) -> Planned<'a> {
        Planned { library, every_s: 24 * HOUR_S, source, last: at_hour(last) }
    }

    #[test]
    fn a_library_is_due_an_interval_after_it_was_read_and_a_little_more() {
        let (library, source) = ("/a/b".parse().unwrap(), web("https://example.org/"));
        let one = [planned(&library, &source, 100)];
        assert_eq!(due(at_hour(123), &one, [].into_iter()), [0; 0]);
        assert_eq!(due(at_hour(127), &one, [].into_iter()), [0], "at most a tenth later");
        let spread: HashSet<_> = ["/a/b", "/a/c", "/a/d"]
            .map(|id| planned(&id.parse().unwrap(), &source, 100).due_at())
            .into_iter()
            .collect();
        assert_eq!(spread.len(), 3);
    }

    #[test]
    fn the_most_overdue_come_first_one_of_a_host_and_few_in_all() {
        let ids: Vec<LibraryId> = (0..4).map(|number| format!("/a/{number}").parse().unwrap()).collect();
        let (one, same, other, third) = (
            web("https://example.org/one"),
            Source::Git { url: "https://git@example.org/x.git".to_owned(), revision: Revision::Head },
            web("https://example.com:8080/"),
            web("https://example.net"),
        );
        let all = [
            planned(&ids[0], &same, 50),
            planned(&ids[1], &one, 10),
            planned(&ids[2], &third, 40),
            planned(&ids[3], &other, 30),
        ];
        let now = at_hour(1_000);
        assert_eq!(due(now, &all, [].into_iter()), [1, 3]);
        assert_eq!(
            due(now, &all, [&other].into_iter()),
            [1],
            "one job is open, of a host that is asked already"
        );
        assert_eq!(due(now, &all, [&other, &third].into_iter()), [0; 0]);
    }
}
