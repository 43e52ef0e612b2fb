//! Which of two jobs that read the same gives way: several nodes may start one in the same moment, as none sees the other's
//! before both are agreed on. A rule over the agreed state, which each node asks about its own job once that is agreed on.

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::ids::JobId;
use twinmcp_storage::jobs::{Job, JobState};

/// The job of `jobs` that waits and will read what `new` was to read, which is older and of the same version and source. The
/// node that was agreed on later sees both, and in the order of their age only one of the two gives way.
pub(super) fn in_place_of<'a>(new: &Job, jobs: &'a [Job]) -> Option<&'a Job> {
    let is_same =
        |job: &&Job| job.library == new.library && job.version == new.version && job.source == new.source;
    let mut older: Vec<&Job> = jobs.iter().filter(is_same).filter(|job| age(job) < age(new)).collect();
    older.sort_unstable_by_key(|job| age(job));
    let stays = |job: &&Job| job.state == JobState::Queued && !older.iter().any(|one| may_replace(one, job));
    older.iter().copied().find(stays)
}

/// When it was agreed on; within one millisecond its id decides.
fn age(job: &Job) -> (Timestamp, &JobId) {
    (job.created_at, &job.id)
}

/// Whether `job` may be giving way to `older`, which waited still when it was made: so nobody may rely on it.
fn may_replace(older: &Job, job: &Job) -> bool {
    let is_after = |at: Option<Timestamp>| at.is_none_or(|at| at >= job.created_at);
    age(older) < age(job) && is_after(older.started_at) && is_after(older.ended_at)
}

#[cfg(test)]
mod tests {
    use twinmcp_storage::jobs::Source;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn waiting(number: u32, created_at: u64) -> Job {
        Job {
            id: format!("job_{number:026}").parse().unwrap(),
            account: format!("acct_{:026}", 1).parse().unwrap(),
            library: "/acme/kiln".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            source: Source::Web { url: "https://example.org/".to_owned() },
            base_url: None,
            state: JobState::Queued,
            attempt: 0,
            created_at: at(created_at),
            started_at: None,
            ended_at: None,
        }
    }

    fn running(job: Job, since: u64) -> Job {
        Job { state: JobState::Running, attempt: 1, started_at: Some(at(since)), ..job }
    }

    #[test]
    fn of_jobs_that_wait_for_the_same_all_but_the_oldest_give_way_to_it() {
        // Ids are made by clocks of nodes that differ; of one millisecond they decide.
        let jobs = [waiting(3, 10), waiting(1, 20), waiting(2, 20), waiting(4, 30)];
        let replaced = jobs.each_ref().map(|job| in_place_of(job, &jobs).map(|job| &job.id));
        let oldest = Some(&jobs[0].id);
        assert_eq!(replaced, [None, oldest, oldest, oldest]);
        let same_moment = [waiting(1, 20), waiting(2, 20)];
        let replaced = same_moment.each_ref().map(|job| in_place_of(job, &same_moment).is_some());
        assert_eq!(replaced, [false, true]);
    }

    #[test]
    fn a_job_gives_way_to_none_that_reads_something_else_or_has_begun() {
        let new = waiting(2, 20);
        let source = Source::Web { url: "https://example.org/other".to_owned() };
        for older in [
            Job { library: "/acme/lamp".parse().unwrap(), ..waiting(1, 10) },
            Job { version: "2.0".parse().unwrap(), ..waiting(1, 10) },
            Job { source, ..waiting(1, 10) },
            running(waiting(1, 10), 15),
            Job { state: JobState::Cancelled, ended_at: Some(at(15)), ..waiting(1, 10) },
        ] {
            assert_eq!(in_place_of(&new, &[older.clone(), new.clone()]), None, "{older:?}");
        }
    }

    #[test]
    fn a_job_gives_way_to_one_that_waits_behind_a_running_one_but_not_when_that_may_give_way_too() {
        let (behind, new) = (waiting(2, 20), waiting(3, 30));
        let jobs = [running(waiting(1, 10), 19), behind.clone(), new.clone()];
        assert_eq!(in_place_of(&new, &jobs), Some(&behind));
        // It waited when the second was made, whose node may be cancelling that one.
        let jobs = [running(waiting(1, 10), 20), behind, new.clone()];
        assert_eq!(in_place_of(&new, &jobs), None);
    }
}
