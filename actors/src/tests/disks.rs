//! What a disk lost, and a start with much to do.

use twinmcp_storage::clock::{Clock, SystemClock, SystemEntropy};
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::ids::JobId;
use twinmcp_storage::jobs::{self, JobState, Source};

use super::world::World;
use crate::Owner;
use crate::jobs::JobView;
use crate::mending::Remedy;
use crate::search::SearchError;

const PAGES: &[(&str, &str)] = &[("guide.md", "# Widget\n\nPolish the widget with a soft cloth.\n")];

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_full_list_of_jobs_answers_while_it_goes_through_them() {
    let world = World::new().await;
    for _ in 0..300 {
        let source = Source::Upload { hash: "0".repeat(64), name: "gone.tar".to_owned() };
        let submission = world.submission("/acme/gone", "1", source);
        let command = jobs::Command::Submit {
            id: JobId::random(SystemClock.now(), &SystemEntropy).unwrap(),
            account: submission.account,
            library: submission.library,
            version: submission.version,
            source: submission.source,
            base_url: None,
        };
        assert_eq!(world.cluster.propose(Command::Jobs(command)).await.unwrap().outcome, Outcome::Done);
    }
    let world = world.crash_and_restart().await;
    world.index("/acme/widget", "1", world.source("widget", PAGES)).await;
    let all = || world.actors.jobs.list(&Owner::Operator, None, 1_000).unwrap();
    let is_failed = |view: &&JobView| matches!(view.job.state, JobState::Failed { .. });
    world
        .until("every job without its archive fails", || all().iter().filter(is_failed).count() == 300)
        .await;
    assert_eq!(all().len(), 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_bundle_is_built_again_once_and_one_without_a_source_says_what_to_do() {
    let world = World::new().await;
    world.index("/acme/widget", "1", world.source("widget", PAGES)).await;
    world.index("/acme/gone", "1", world.source("gone", PAGES)).await;
    std::fs::remove_dir_all(world.folder().join("gone")).unwrap();
    world.lose_bundles();
    let world = world.crash_and_restart().await;
    // The start found them missing; whichever comes first, the question or the job, it ends with an answer.
    let found = loop {
        match world.docs("/acme/widget", "polish").await {
            Ok(found) => break found,
            Err(SearchError::Lost(loss)) => {
                let Remedy::Job(job) = &loss.remedy else { panic!("{loss}") };
                assert_eq!(world.ended(job).await.job.state, JobState::Unchanged);
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(found.snippets.len(), 1);
    let Err(SearchError::Lost(loss)) = world.docs("/acme/gone", "polish").await else {
        panic!("it has no bundle")
    };
    assert!(matches!(loss.remedy, Remedy::Nothing(_)), "{loss}");
    assert!(loss.to_string().contains("twinmcp index SOURCE --library /acme/gone --version 1"), "{loss}");
    assert_eq!(world.actors.mending.losses().unwrap(), [loss]);

    // Lost a second time in the life of the process: the disk is at fault, and no job is started any more.
    world.lose_bundles();
    let jobs = world.actors.jobs.list(&Owner::Operator, None, 100).unwrap().len();
    let again = world.actors.mending.losses().unwrap();
    assert!(again.iter().any(|loss| loss.to_string().contains("look after the disk")), "{again:?}");
    assert_eq!(world.actors.jobs.list(&Owner::Operator, None, 100).unwrap().len(), jobs);
}
