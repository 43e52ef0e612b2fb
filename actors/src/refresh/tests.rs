//! The schedule at work, from the time that has come to a version that was read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ractor::Actor;
use twinmcp_storage::clock::{Clock, Timestamp};
use twinmcp_storage::jobs::JobState;
use twinmcp_storage::refresh::EVERY_MIN_S;

use super::RefreshActor;
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
