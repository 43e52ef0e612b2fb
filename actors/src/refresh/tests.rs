//! The schedule at work, from the time that has come to a version that was read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ractor::Actor;
use twinmcp_storage::clock::{Clock, SystemEntropy, Timestamp};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::ids::JobId;
use twinmcp_storage::jobs::{self, JobState, Source};
use twinmcp_storage::refresh::EVERY_MIN_S;

use super::{Begun, PASSED_OVER_FOR, RefreshActor};
use crate::Owner;
use crate::tests::World;

/// A clock that counts how often it was asked: once for each look at what is due.
struct Counted {
    clock: Arc<dyn Clock>,
    looks: AtomicUsize,
}

impl Clock for Counted {
    fn now(&self) -> Timestamp {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.clock.now()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_whose_time_has_come_is_read_again_once_and_no_sooner() {
    let world = World::new().await;
    let page = |text: &str| world.source("v1", &[("guide.md", text)]);
    let first = world.index("/acme/widget", "1.0", page("# Widget\n\nPolish it with a soft cloth.\n")).await;
    let every = |every_s| world.actors.refresh.plan(&Owner::Operator, &first.job.library, every_s);
    every(Some(EVERY_MIN_S)).await.unwrap();
    let clock = Arc::new(Counted { clock: world.clock.clone(), looks: AtomicUsize::default() });
    let actor = RefreshActor {
        refresh: world.actors.refresh.clone(),
        clock: clock.clone(),
        look_every: Duration::from_millis(5),
    };
    let (actor, ended) = Actor::spawn(None, actor, ()).await.unwrap();
    let jobs = || world.actors.jobs.list(&Owner::Operator, None, 10).unwrap();
    let looks = || clock.looks.load(Ordering::SeqCst);
    // One that has begun may still be of the time before.
    let looked = async || {
        let before = looks();
        world.until("another look to be over", || looks() > before + 2).await;
    };

    let hour = Duration::from_secs(EVERY_MIN_S);
    page("# Widget\n\nUse steam and nothing else.\n");
    world.clock.advance(hour * 5 / 6);
    looked().await;
    assert_eq!(jobs().len(), 1, "the hour is not over");

    world.clock.advance(hour / 2);
    world.until("it is read again", || jobs().len() > 1 && jobs()[0].job.state.is_ended()).await;
    let again = jobs().swap_remove(0);
    assert_eq!((&again.job.library, &again.job.version), (&first.job.library, &first.job.version));
    assert_eq!((&again.job.source, &again.job.state), (&first.job.source, &JobState::Done));
    let docs = world.docs("/acme/widget", "how do I clean a widget").await.unwrap();
    assert!(docs.snippets[0].snippet.text().contains("Use steam"));
    looked().await;
    assert_eq!(jobs().len(), 2, "it was read a moment ago");

    every(None).await.unwrap();
    world.clock.advance(hour * 10);
    looked().await;
    assert_eq!(jobs().len(), 2, "nobody wants it read again any more");
    actor.stop(None);
    ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_whose_folder_is_gone_keeps_no_other_one_waiting() {
    let world = World::new().await;
    let page = |folder: &str, text: &str| world.source(folder, &[("guide.md", text)]);
    let gone = page("gone", "# Kiln\n\nFire it twice.\n");
    let kept = page("kept", "# Widget\n\nPolish it with a soft cloth.\n");
    let first = world.index("/acme/kiln", "1.0", gone.clone()).await;
    world.clock.advance(Duration::from_secs(EVERY_MIN_S));
    let second = world.index("/acme/widget", "1.0", kept).await;
    for library in [&first.job.library, &second.job.library] {
        world.actors.refresh.plan(&Owner::Operator, library, Some(EVERY_MIN_S)).await.unwrap();
    }
    let Source::Folder { path } = gone else { panic!("{gone:?}") };
    std::fs::remove_dir_all(&path).unwrap();
    page("kept", "# Widget\n\nUse steam and nothing else.\n");

    let refresh = world.actors.refresh.clone();
    let look_every = Duration::from_millis(5);
    let actor = RefreshActor { refresh, clock: world.clock.clone(), look_every };
    let (actor, ended) = Actor::spawn(None, actor, ()).await.unwrap();
    // The kiln is the more overdue, and of folders one is read at a time.
    world.clock.advance(Duration::from_secs(2 * EVERY_MIN_S));
    let jobs = || world.actors.jobs.list(&Owner::Operator, None, 10).unwrap();
    world.until("the other is read again", || jobs().len() > 2 && jobs()[0].job.state.is_ended()).await;
    assert_eq!(jobs()[0].job.library, second.job.library);

    page("gone", "# Kiln\n\nFire it three times.\n");
    world.clock.advance(PASSED_OVER_FOR);
    world.until("it is tried again", || jobs().len() > 3 && jobs()[0].job.state.is_ended()).await;
    assert_eq!(jobs()[0].job.library, first.job.library);
    actor.stop(None);
    ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_readings_that_two_nodes_begin_in_the_same_moment_the_older_stays_until_it_has_begun() {
    let world = World::new().await;
    let source = world.source("v1", &[("guide.md", "# Widget\n\nPolish it with a soft cloth.\n")]);
    let first = world.index("/acme/widget", "1.0", source).await;
    let refresh = &world.actors.refresh;
    let origin = refresh.origins(&first.job.library).unwrap().swap_remove(0);
    let a_moment = Duration::from_millis(10);
    let propose = async |command| {
        let applied = world.cluster.propose(Command::Jobs(command)).await.unwrap();
        assert_eq!(applied.outcome, Outcome::Done);
    };

    // Another node's, which this one does not see when it looks.
    world.clock.advance(a_moment);
    let other = JobId::random(world.clock.now(), &SystemEntropy).unwrap();
    propose(jobs::Command::Submit {
        id: other.clone(),
        account: origin.account.clone(),
        library: origin.library.clone(),
        version: origin.version.clone(),
        source: origin.source.clone(),
        base_url: None,
    })
    .await;
    world.clock.advance(a_moment);
    let begun = refresh.read_again(origin.clone()).await.unwrap();
    assert!(matches!(&begun, Begun::Open(job) if *job == other), "{begun:?}");
    let state = |id: &JobId| world.actors.jobs.get(&Owner::Operator, id).unwrap().job.state;
    let newest = world.actors.jobs.list(&Owner::Operator, None, 1).unwrap().swap_remove(0).job;
    assert_ne!(newest.id, other);
    assert!(newest.state.is_ended(), "the younger is cancelled, or was over by then: {:?}", newest.state);
    assert_eq!(state(&other), JobState::Queued);

    // What has begun may have read what was there before.
    propose(jobs::Command::Start { id: other.clone(), attempt: 1 }).await;
    let begun = refresh.read_again(origin).await.unwrap();
    let Begun::Started(again) = begun else { panic!("{begun:?}") };
    world.ended(&again.job.id).await;
    assert_eq!((state(&again.job.id), state(&other)), (JobState::Unchanged, JobState::Running));
}
