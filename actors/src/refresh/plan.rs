//! What the agreed state says is to be read again now.

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::engine::{Reader, StorageError};
use twinmcp_storage::ids::LibraryId;
use twinmcp_storage::jobs::{self, JOBS_MAX, Source};
use twinmcp_storage::libraries;
use twinmcp_storage::refresh::{self, Origin, Schedule};

use super::due::{Planned, due};

/// Schedules read from the store at a time.
const PAGE: usize = 1_000;

/// The current versions that are due, and where they came from, with whom they belong to now; of libraries for which
/// `is_asked` holds.
pub(super) fn due_now(
    reader: &dyn Reader,
    now: Timestamp,
    is_asked: impl Fn(&LibraryId) -> bool,
) -> Result<Vec<Origin>, StorageError> {
    let mut found = scheduled(reader)?;
    found.retain(|(schedule, _)| is_asked(&schedule.library));
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let jobs = jobs::list(reader, None, JOBS_MAX)?;
    let planned = found.iter().map(|(schedule, origin)| {
        let begun = jobs.iter().filter(|job| job.library == origin.library).map(|job| job.created_at);
        Planned {
            library: &origin.library,
            account: &origin.account,
            every_s: schedule.every_s,
            source: &origin.source,
            last: begun.fold(origin.checked_at, Ord::max),
        }
    });
    let open = jobs.iter().filter(|job| !job.state.is_ended()).map(|job| (&job.account, &job.source));
    let chosen = due(now, &planned.collect::<Vec<_>>(), open);
    Ok(chosen.into_iter().map(|at| found[at].1.clone()).collect())
}

/// Schedules of libraries whose current version can be read again.
fn scheduled(reader: &dyn Reader) -> Result<Vec<(Schedule, Origin)>, StorageError> {
    let mut found = Vec::new();
    let mut after: Option<LibraryId> = None;
    loop {
        let page = refresh::schedules(reader, after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.library.clone());
        for schedule in page {
            let Some(library) = libraries::get(reader, &schedule.library)? else { continue };
            let Some(version) = library.current else { continue };
            let origin = refresh::origin(reader, &schedule.library, &version)?;
            if let Some(origin) = origin.filter(|origin| !matches!(origin.source, Source::Upload { .. })) {
                found.push((schedule, Origin { account: library.owner, ..origin }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::command::{self, Command, Outcome};
    use twinmcp_storage::engine::{Durability, Engine, Keyspace, MemoryEngine};
    use twinmcp_storage::ids::JobId;
    use twinmcp_storage::libraries::{Built, Facts};
    use twinmcp_storage::transaction::Transaction;

    use super::*;
    use crate::jobs::OPEN_JOBS_EACH_MAX;

    const HOUR_MS: u64 = 3_600_000;

    fn apply(engine: &MemoryEngine, hour: u64, command: &Command) {
        let mut transaction = Transaction::new(engine);
        let at = Timestamp::from_millis(hour * HOUR_MS);
        assert_eq!(command::apply(&mut transaction, at, command).unwrap(), Outcome::Done, "{command:?}");
        engine.commit(transaction.finish().0, Durability::Buffered).unwrap();
    }

    fn job(number: u8) -> JobId {
        format!("job_{number:026}").parse().unwrap()
    }

    fn submit(engine: &MemoryEngine, hour: u64, number: u8, source: &Source) {
        submit_for((1, "/acme/kiln"), engine, hour, number, source);
    }

    fn submit_for(
        (account, library): (u8, &str),
        engine: &MemoryEngine,
        hour: u64,
        number: u8,
        source: &Source,
    ) {
        let submit = jobs::Command::Submit {
            id: job(number),
            account: format!("acct_{account:026}").parse().unwrap(),
            library: library.parse().unwrap(),
            version: "1.0".parse().unwrap(),
            source: source.clone(),
            base_url: None,
        };
        apply(engine, hour, &Command::Jobs(submit));
    }

    /// A job from its beginning to the version it makes.
    fn index(engine: &MemoryEngine, hour: u64, number: u8, source: &Source) {
        submit(engine, hour, number, source);
        publish(engine, hour, number);
    }

    fn publish(engine: &MemoryEngine, hour: u64, number: u8) {
        apply(engine, hour, &Command::Jobs(jobs::Command::Start { id: job(number), attempt: 1 }));
        let built = Built {
            bundle: format!("{number:064}"),
            bundle_bytes: 1,
            pages: 1,
            snippets: 1,
            tokens: 1,
            embedder: "e".to_owned(),
        };
        let publish =
            libraries::Command::Publish { job: job(number), attempt: 1, facts: Facts::default(), built };
        apply(engine, hour, &Command::Libraries(publish));
    }

    fn due_at(engine: &MemoryEngine, hour: u64) -> usize {
        due_now(engine, Timestamp::from_millis(hour * HOUR_MS), |_| true).unwrap().len()
    }

    #[test]
    fn a_library_is_read_again_when_its_time_has_come_and_not_while_it_is_being_read() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        let folder = Source::Folder { path: "/docs".to_owned() };
        index(&engine, 1_000, 1, &folder);
        assert_eq!(due_at(&engine, 9_000), 0, "nobody asked for it");
        let plan = refresh::Command::Plan {
            library: "/acme/kiln".parse().unwrap(),
            account: None,
            every_s: Some(24 * 3_600),
        };
        apply(&engine, 1_000, &Command::Refresh(plan));
        assert_eq!([1_023, 1_027].map(|hour| due_at(&engine, hour)), [0, 1]);

        submit(&engine, 1_027, 2, &folder);
        assert_eq!(due_at(&engine, 2_000), 0, "its job is open");
        apply(&engine, 1_028, &Command::Jobs(jobs::Command::Start { id: job(2), attempt: 1 }));
        let fail = jobs::Command::Fail { id: job(2), attempt: 1, message: "gone".to_owned() };
        apply(&engine, 1_028, &Command::Jobs(fail));
        assert_eq!(
            [1_029, 1_054].map(|hour| due_at(&engine, hour)),
            [0, 1],
            "a source that fails is not asked at once again"
        );

        index(&engine, 1_100, 3, &Source::Upload { hash: "ab".repeat(32), name: "docs.tar".to_owned() });
        assert_eq!(due_at(&engine, 9_000), 0, "an archive that was sent says the same for ever");
    }

    #[test]
    fn an_account_with_as_many_jobs_as_it_may_have_keeps_nobody_elses_library_from_being_read() {
        let engine = MemoryEngine::new(Keyspace::STATE);
        let folder = Source::Folder { path: "/docs".to_owned() };
        let libraries = [(1, "/acme/kiln"), (2, "/other/lamp")];
        for (number, library) in (1..).zip(libraries) {
            // Further apart than the hours over which an interval is spread.
            let hour = 1_000 + 10 * u64::from(number);
            submit_for(library, &engine, hour, number, &folder);
            publish(&engine, hour, number);
            let library = library.1.parse().unwrap();
            let plan = refresh::Command::Plan { library, account: None, every_s: Some(24 * 3_600) };
            apply(&engine, 1_000, &Command::Refresh(plan));
        }
        let due = || due_now(&engine, Timestamp::from_millis(2_000 * HOUR_MS), |_| true).unwrap();
        assert_eq!(due()[0].library.as_str(), "/acme/kiln", "the most overdue");
        for number in 0..OPEN_JOBS_EACH_MAX {
            let number = 10 + u8::try_from(number).unwrap();
            submit_for((1, "/acme/many"), &engine, 1_030, number, &folder);
        }
        let libraries: Vec<_> = due().into_iter().map(|origin| origin.library).collect();
        assert_eq!(libraries, ["/other/lamp".parse().unwrap()]);
    }
}
