//! Which libraries are to be read again now: a rule over the agreed state and the time, so that every
//! node that asked would say the same.

use std::collections::{HashMap, HashSet};

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::{AccountId, LibraryId};
use twinmcp_storage::jobs::Source;

/// Jobs of an account that may be open for the schedule to start another of it.
const OPEN_EACH_MAX: usize = 2;
/// Jobs of all accounts that may be open for the schedule to start another; of each account no more than [`OPEN_EACH_MAX`] are
/// counted, so that one with many keeps nobody else's libraries from being read.
const OPEN_MAX: usize = 20;
/// Jobs started at one look.
const STARTED_MAX: usize = 2;
/// The part of an interval over which libraries of the same interval are spread.
const JITTER_SHARE: u64 = 10;

/// A library with a schedule.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    pub(super) library: &'a LibraryId,
    /// Whose it is.
    pub(super) account: &'a AccountId,
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

/// The places in `planned` to be read again now, the most overdue first: of an account one at a time of each host, and few; few
/// in all. `open` are the accounts and sources of the jobs that are open.
pub(super) fn due<'a>(
    now: Timestamp,
    planned: &[Planned<'a>],
    open: impl Iterator<Item = (&'a AccountId, &'a Source)>,
) -> Vec<usize> {
    let mut asked = HashSet::new();
    let mut jobs: HashMap<&AccountId, usize> = HashMap::new();
    for (account, source) in open {
        *jobs.entry(account).or_default() += 1;
        asked.insert((account, host(source)));
    }
    let counted: usize = jobs.values().map(|jobs| (*jobs).min(OPEN_EACH_MAX)).sum();
    let room = OPEN_MAX.saturating_sub(counted).min(STARTED_MAX);
    let mut overdue: Vec<(Timestamp, usize)> = planned
        .iter()
        .enumerate()
        .map(|(at, planned)| (planned.due_at(), at))
        .filter(|(due, _)| *due <= now)
        .collect();
    overdue.sort_unstable();
    let mut hosts = HashSet::new();
    let mut is_chosen = |at: &usize| {
        let (account, host) = (planned[*at].account, host(planned[*at].source));
        let jobs = jobs.entry(account).or_default();
        let is_free = *jobs < OPEN_EACH_MAX && !asked.contains(&(account, host)) && hosts.insert(host);
        *jobs += usize::from(is_free);
        is_free
    };
    overdue.into_iter().map(|(_, at)| at).filter(|at| is_chosen(at)).take(room).collect()
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

    fn account(number: u32) -> AccountId {
        format!("acct_{number:026}").parse().unwrap()
    }

    fn planned<'a>(
        account: &'a AccountId,
        library: &'a LibraryId,
        source: &'a Source,
        last: u64,
    ) -> Planned<'a> {
        Planned { library, account, every_s: 24 * HOUR_S, source, last: at_hour(last) }
    }

    #[test]
    fn a_library_is_due_an_interval_after_it_was_read_and_a_little_more() {
        let (library, source) = ("/a/b".parse().unwrap(), web("https://example.org/"));
        let mine = account(1);
        let one = [planned(&mine, &library, &source, 100)];
        assert_eq!(due(at_hour(123), &one, [].into_iter()), [0; 0]);
        assert_eq!(due(at_hour(127), &one, [].into_iter()), [0], "at most a tenth later");
        let spread: HashSet<_> = ["/a/b", "/a/c", "/a/d"]
            .map(|id| planned(&mine, &id.parse().unwrap(), &source, 100).due_at())
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
        let mine = account(1);
        let all = [
            planned(&mine, &ids[0], &same, 50),
            planned(&mine, &ids[1], &one, 10),
            planned(&mine, &ids[2], &third, 40),
            planned(&mine, &ids[3], &other, 30),
        ];
        let now = at_hour(1_000);
        assert_eq!(due(now, &all, [].into_iter()), [1, 3]);
        assert_eq!(
            due(now, &all, [(&mine, &other)].into_iter()),
            [1],
            "one job is open, of a host that is asked already"
        );
        assert_eq!(due(now, &all, [(&mine, &other), (&mine, &third)].into_iter()), [0; 0]);
    }

    #[test]
    fn an_account_with_many_open_jobs_keeps_no_other_ones_libraries_from_being_read() {
        let ids: Vec<LibraryId> = (0..4).map(|number| format!("/a/{number}").parse().unwrap()).collect();
        let (busy, other) = (account(1), account(2));
        let sources = ["https://example.org/a", "https://example.com/", "https://example.net/"].map(web);
        let same_host = web("https://example.org/b");
        // The busy one's are the most overdue.
        let all = [
            planned(&busy, &ids[0], &sources[1], 10),
            planned(&busy, &ids[1], &sources[2], 20),
            planned(&other, &ids[2], &same_host, 30),
        ];
        let now = at_hour(1_000);
        let open = std::iter::repeat_n((&busy, &sources[0]), 90);
        assert_eq!(due(now, &all, open.clone()), [2], "also of a host that the busy one's jobs ask");
        let open = open.chain([(&other, &sources[0])]);
        assert_eq!(due(now, &all, open), [0; 0], "one of a host, as before");
    }

    #[test]
    fn jobs_of_many_accounts_leave_no_room() {
        let (mine, library, source) = (account(1), "/a/b".parse().unwrap(), web("https://example.org/"));
        let one = [planned(&mine, &library, &source, 10)];
        let (others, elsewhere): (Vec<_>, _) = ((2..22).map(account).collect(), web("https://example.com/"));
        let due_with = |count: usize| {
            due(at_hour(1_000), &one, others[..count].iter().map(|account| (account, &elsewhere)))
        };
        assert_eq!(due_with(OPEN_MAX - 1), [0]);
        assert_eq!(due_with(OPEN_MAX), [0; 0]);
    }
}
