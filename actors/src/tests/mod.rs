//! Stories over all actors of one node.

mod disks;
mod distribution;
// The same services as in the tests of whole nodes.
#[path = "../../../tests/src/embedding_service.rs"]
#[expect(unreachable_pub, reason = "public there")]
pub(crate) mod embedding_service;
#[path = "../../../tests/src/git.rs"]
#[expect(unreachable_pub, reason = "public there")]
pub(crate) mod git;
#[path = "../../../tests/src/service.rs"]
#[expect(unreachable_pub, dead_code, reason = "public there, and used")]
pub(crate) mod service;
#[path = "../../../tests/src/site.rs"]
#[expect(unreachable_pub, reason = "public there")]
pub(crate) mod site;
mod world;

use std::time::Duration;

use twinmcp_storage::clock::Timestamp;
use twinmcp_storage::jobs::{JobState, Source};
use twinmcp_storage::libraries::Facts;
use twinmcp_storage::scope::Scope;

use crate::api_keys::{ApiKeysError, VerifyError};
use crate::jobs::{JobsError, Stage};
use crate::libraries::LibrariesError;
use crate::search::{Docs, DocsQuery, FoundSnippet, SearchError};
use crate::supervisor::ActorState;
use crate::{Actors, Owner};
pub(crate) use world::World;

/// Sections long enough to be snippets of their own.
const GUIDE: (&str, &str) = (
    "docs/guide.md",
    "# Widget guide\n\n## Polishing\n\n\
     Rub the widget with a soft cloth until it shines. Start at the rim and work towards the middle in small \
     circles, because the coating is thinnest there; a dry cloth is enough for dust, a damp one for grease. Never \
     use a brush. When the widget shines on all sides, let it rest for an hour before it is used again.\n\n\
     ```rust\nlet shine = widget.polish(Cloth::Soft);\n```\n\n\
     ## Storing\n\n\
     Keep widgets in a dry box with a lid, away from sunlight and from magnets. Put paper between the layers so \
     that they do not scratch one another, and write the date on the box: a widget that was stored for more than \
     a year has to be calibrated before it is used. Boxes may be stacked, at most five of them.\n",
);

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_with_the_right_passage_of_the_right_version() {
    let world = World::new().await;
    let first = world.source("v1", &[GUIDE]);
    let done = world.index("/acme/widget", "1.0", first).await;
    assert_eq!((done.progress.stage, done.progress.pages, done.progress.failed), (Stage::Ended, 1, 0));
    let second = world.source("v2", &[("docs/guide.md", "# Widget guide\n\n## Polishing\n\nUse steam.\n")]);
    world.index("/acme/widget", "2.0", second).await;

    let latest = world.docs("/acme/widget", "how do I polish a widget").await.unwrap();
    assert_eq!(latest.version.as_str(), "2.0");
    assert!(latest.snippets[0].snippet.text().contains("Use steam"));
    let old = world.docs("/acme/widget@1.0", "how do I polish a widget").await.unwrap();
    let best = &old.snippets[0];
    assert_eq!(best.snippet.title(), "Polishing");
    assert!(best.snippet.text().contains("widget.polish(Cloth::Soft)"));
    assert_eq!(best.url, "https://docs.example.org/docs/guide.md#polishing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_there_is_never_replaced_by_another() {
    let world = World::new().await;
    let source = world.source("v1", &[GUIDE]);
    world.index("/acme/widget", "1.0", source).await;
    let refused = world.docs("/acme/widget/1.1", "polish").await.unwrap_err();
    let SearchError::VersionNotFound { available, .. } = refused else { panic!("{refused}") };
    assert_eq!(available, ["1.0".parse().unwrap()]);
    let unknown = world.docs("/acme/gadget", "polish").await.unwrap_err();
    assert!(matches!(unknown, SearchError::LibraryNotFound { .. }), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_tokens_is_never_broken() {
    let world = World::new().await;
    let source = world.source("v1", &[GUIDE]);
    world.index("/acme/widget", "1.0", source).await;
    let library = "/acme/widget".parse().unwrap();
    for tokens_max in [0, 10, 150, 1_000] {
        let query = DocsQuery {
            viewer: None,
            library: &library,
            text: "widget",
            tokens_max,
            snippets_max: 10,
            marks: |_| 0,
        };
        match world.actors.search.docs(query).await {
            Ok(docs) => assert!(docs.tokens <= tokens_max && docs.tokens > 0),
            Err(SearchError::NoSnippets { .. }) => assert!(tokens_max < 150),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_around_snippets_counts_too_and_the_first_stays() {
    type Marks = fn(&FoundSnippet) -> u32;
    let world = World::new().await;
    let page = |part: &str| {
        format!(
            "# The {part}\n\nThe {part} of a widget is polished with a soft cloth until the {part} shines.\n"
        )
    };
    let pages = ["rim", "lid", "bell"].map(|part| (format!("docs/{part}.md"), page(part)));
    let pages = pages.each_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    world.index("/acme/widget", "1.0", world.source("v1", &pages)).await;
    let library = "/acme/widget".parse().unwrap();
    let ask = async |marks| {
        let query = DocsQuery {
            viewer: None,
            library: &library,
            text: "widget",
            tokens_max: 1_000,
            snippets_max: 10,
            marks,
        };
        world.actors.search.docs(query).await.unwrap()
    };
    let ids = |docs: &Docs| docs.snippets.iter().map(|found| found.id).collect::<Vec<_>>();
    let all = ask(|_| 0).await;
    assert_eq!(all.snippets.len(), 3);
    for (marks, left) in [(|_| 1) as Marks, |_| 400, |_| 1_000].into_iter().zip([3, 2, 1]) {
        let docs = ask(marks).await;
        assert_eq!(ids(&docs), ids(&all)[..left]);
        assert_eq!(docs.tokens, docs.snippets.iter().map(|found| found.snippet.tokens).sum::<u32>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_library_can_be_resolved_and_a_removed_one_cannot() {
    let world = World::new().await;
    let source = world.source("v1", &[GUIDE]);
    world.index("/acme/widget", "1.0", source).await;
    let resolves = |actors: &Actors| !actors.search.resolve(None, "widget", "", 5).unwrap().is_empty();
    world.until("the library is resolved", || resolves(&world.actors)).await;
    let matches = world.actors.search.resolve(None, "widget", "", 5).unwrap();
    assert_eq!(matches[0].library.id.as_str(), "/acme/widget");
    assert!(!matches[0].reasons.is_empty(), "it says why");
    for name in ["acme", "widgte", "acme widget", "/acme/widget"] {
        let matches = world.actors.search.resolve(None, name, "", 5).unwrap();
        assert_eq!(matches.first().map(|found| found.library.id.as_str()), Some("/acme/widget"), "{name}");
    }
    let id = "/acme/widget".parse().unwrap();
    world.actors.libraries.remove(Owner::Account(world.account.id.clone()), &id).await.unwrap();
    world.until("the library is gone", || !resolves(&world.actors)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_page_costs_only_itself_and_is_named() {
    let world = World::new().await;
    let source = world.source("bad", &[GUIDE, ("docs/empty.md", "")]);
    std::fs::write(world.folder().join("bad/docs/binary.md"), [0xff, 0xfe, 0x00, 0x9f]).unwrap();
    let large = "word ".repeat(2_000_000);
    std::fs::write(world.folder().join("bad/docs/large.md"), large).unwrap();
    let view = world.index("/acme/widget", "1.0", source).await;
    assert!(view.progress.skipped + view.progress.failed >= 1, "{:?}", view.progress);
    assert!(world.docs("/acme/widget", "soft cloth").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_documentation_fails_its_job_and_says_why() {
    let world = World::new().await;
    let source = world.source("nothing", &[("data.bin", "x"), ("LICENSE", "y")]);
    let job = world.submit("/acme/widget", "1.0", source).await.unwrap();
    let view = world.ended(&job.job.id).await;
    let JobState::Failed { message } = view.job.state else { panic!("{:?}", view.job.state) };
    assert!(message.contains("no documentation"), "{message}");
    let unknown = world.docs("/acme/widget", "anything").await.unwrap_err();
    assert!(matches!(unknown, SearchError::LibraryNotFound { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_folders_that_are_allowed_and_uploads_of_ones_own_are_read() {
    let world = World::new().await;
    world.source("inside", &[GUIDE]);
    for path in ["/etc", "/", "relative", &format!("{}/../..", world.folder().display())] {
        let refused =
            world.submit("/acme/widget", "1", Source::Folder { path: path.into() }).await.unwrap_err();
        assert!(matches!(refused, JobsError::FolderNotAllowed { .. }), "{path}: {refused}");
    }
    #[cfg(unix)]
    {
        let link = world.folder().join("way-out");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        let source = Source::Folder { path: link.to_str().unwrap().into() };
        let refused = world.submit("/acme/widget", "1", source).await.unwrap_err();
        assert!(matches!(refused, JobsError::FolderNotAllowed { .. }), "{refused}");
    }
    let mut writer = world.actors.jobs.uploads().begin(&world.account.id).await.unwrap();
    writer.write(bytes::Bytes::from_static(b"# Title\n\nText of the page.\n")).await.unwrap();
    let upload = writer.finish().await.unwrap();
    let source = Source::Upload { hash: upload.hash, name: "page.md".into() };
    let stranger = world.actors.accounts.create("stranger").await.unwrap();
    let mut submission = world.submission("/acme/widget", "1", source);
    submission.account = stranger.id;
    let refused = world.actors.jobs.submit(submission).await.unwrap_err();
    assert!(matches!(refused, JobsError::UploadNotFound { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_libraries_of_another_account_answer_like_missing_ones() {
    let world = World::new().await;
    let source = world.source("v1", &[GUIDE]);
    let done = world.index("/acme/widget", "1.0", source.clone()).await;
    let stranger = Owner::Account(world.actors.accounts.create("stranger").await.unwrap().id);
    let (jobs, libraries) = (&world.actors.jobs, &world.actors.libraries);
    assert!(matches!(jobs.get(&stranger, &done.job.id), Err(JobsError::NotFound { .. })));
    assert!(matches!(jobs.cancel(&stranger, &done.job.id).await, Err(JobsError::NotFound { .. })));
    assert!(jobs.list(&stranger, None, 10).unwrap().is_empty());
    let id = "/acme/widget".parse().unwrap();
    let removed = libraries.remove(stranger.clone(), &id).await;
    assert!(matches!(removed, Err(LibrariesError::NotFound { .. })));
    let described = libraries.describe(stranger, &id, Facts::default(), None).await;
    assert!(matches!(described, Err(LibrariesError::NotFound { .. })));
    assert!(matches!(jobs.cancel(&Owner::Operator, &done.job.id).await, Err(JobsError::Ended { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_publishes_nothing() {
    let world = World::new().await;
    let pages: Vec<_> = (0..400).map(|page| (format!("docs/p{page}.md"), GUIDE.1.repeat(20))).collect();
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let source = world.source("large", &pages);
    let job = world.submit("/acme/widget", "1.0", source).await.unwrap();
    let cancelled = world.actors.jobs.cancel(&Owner::Operator, &job.job.id).await.unwrap();
    assert_eq!(cancelled.job.state, JobState::Cancelled);
    // The worker is free again: another job runs to its end.
    let small = world.source("small", &[GUIDE]);
    world.index("/acme/other", "1.0", small).await;
    assert!(matches!(world.docs("/acme/widget", "polish").await, Err(SearchError::LibraryNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_node_begins_no_job_and_keeps_those_that_no_other_node_can_do() {
    let world = World::new().await;
    let pages: Vec<_> = (0..300).map(|page| (format!("docs/p{page}.md"), GUIDE.1.repeat(10))).collect();
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let running = world.submit("/acme/widget", "1.0", world.source("large", &pages)).await.unwrap();
    let small = world.source("small", &[GUIDE]);
    let waiting = world.submit("/acme/other", "1.0", small.clone()).await.unwrap();
    let jobs = &world.actors.jobs;
    let job = |id| jobs.get(&Owner::Operator, id).unwrap().job;

    jobs.close();
    let refused = world.submit("/acme/third", "1.0", small).await.unwrap_err();
    assert!(matches!(refused, JobsError::Draining), "{refused}");
    // Another dispatcher begins what it finds, unless it is told that it must not.
    world.kill("jobs");
    let emptied = async { while jobs.empty().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), emptied).await.expect("nothing runs any more");
    let stays = job(&waiting.job.id);
    assert_eq!((stays.state, stays.attempt), (JobState::Queued, 0));

    jobs.open().await.unwrap();
    for id in [&running.job.id, &waiting.job.id] {
        assert_eq!(world.ended(id).await.job.state, JobState::Done);
    }
    assert_eq!(job(&waiting.job.id).attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_open_at_a_crash_is_finished_by_the_next_start() {
    let world = World::new().await;
    let pages: Vec<_> = (0..300).map(|page| (format!("docs/p{page}.md"), GUIDE.1.repeat(10))).collect();
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let source = world.source("large", &pages);
    let job = world.submit("/acme/widget", "1.0", source).await.unwrap();
    let world = world.crash_and_restart().await;
    let view = world.ended(&job.job.id).await;
    assert_eq!(view.job.state, JobState::Done);
    assert!(world.docs("/acme/widget", "polish").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_actor_dies_is_tried_again() {
    let world = World::new().await;
    let pages: Vec<_> = (0..60).map(|page| (format!("docs/p{page}.md"), GUIDE.1.repeat(10))).collect();
    let pages: Vec<_> = pages.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let source = world.source("large", &pages);
    let job = world.submit("/acme/widget", "1.0", source).await.unwrap();
    world.kill("jobs");
    let view = world.ended(&job.job.id).await;
    assert_eq!(view.job.state, JobState::Done);
    let health = world.actors.supervisor.health();
    assert!(health.iter().any(|actor| actor.name == "jobs" && actor.restarts == 1), "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_actor_heals_after_a_crash_while_readers_go_on() {
    let world = World::new().await;
    let source = world.source("v1", &[GUIDE]);
    world.index("/acme/widget", "1.0", source).await;
    for actor in [
        "accounts",
        "teams",
        "api_keys",
        "usage",
        "libraries",
        "search",
        "jobs",
        "refresh",
        "mending",
        "distribution",
        "oauth",
        "logouts",
    ] {
        world.kill(actor);
        assert!(world.docs("/acme/widget", "polish").await.is_ok(), "reads pass no mailbox");
    }
    // A call that meets the dying actor is told so, and may be made again: here it waits for the new ones.
    let restarted = || world.actors.supervisor.health().iter().all(|actor| actor.restarts == 1);
    world.until("every actor is started again", restarted).await;
    // Callers are answered by the new actors.
    world.actors.accounts.create("second").await.unwrap();
    world.actors.api_keys.create(&world.account.id, "key", vec![Scope::DocsRead], None).await.unwrap();
    let id = "/acme/widget".parse().unwrap();
    let facts = Facts { title: "Widgets".into(), ..Facts::default() };
    world.actors.libraries.describe(Owner::Operator, &id, facts, Some(90)).await.unwrap();
    let renamed = || {
        let matches = world.actors.search.resolve(None, "widgets", "", 5).unwrap();
        matches.first().is_some_and(|found| found.library.title == "Widgets")
    };
    world.until("the new search actor follows the state", renamed).await;
    let source = world.source("v2", &[GUIDE]);
    world.index("/acme/widget", "2.0", source).await;
    let health = world.actors.supervisor.health();
    assert!(
        health.iter().all(|actor| actor.state == ActorState::Running && actor.restarts == 1),
        "{health:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_keeps_dying_is_told_as_failed() {
    let world = World::new().await;
    for deaths in 1..=6_u64 {
        world.kill("libraries");
        let died = || {
            let health = world.actors.supervisor.health();
            let libraries = health.iter().find(|actor| actor.name == "libraries").unwrap();
            libraries.state == ActorState::Failed
                || (libraries.restarts == deaths && libraries.state == ActorState::Running)
        };
        world.until("the actor is back or given up", died).await;
    }
    let health = world.actors.supervisor.health();
    assert!(
        health.iter().any(|actor| actor.name == "libraries" && actor.state == ActorState::Failed),
        "{health:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_until_it_is_revoked_or_expires() {
    let world = World::new().await;
    let keys = &world.actors.api_keys;
    let new = keys.create(&world.account.id, "laptop", vec![Scope::DocsRead], None).await.unwrap();
    assert_eq!(keys.verify(new.secret.reveal()).unwrap().id, new.key.id);
    let past = Some(Timestamp::from_millis(1));
    let expired = keys.create(&world.account.id, "old", vec![Scope::DocsRead], past).await.unwrap();
    assert!(matches!(keys.verify(expired.secret.reveal()), Err(VerifyError::Refused)));
    assert!(matches!(keys.verify("sk-something"), Err(VerifyError::Malformed)));
    keys.revoke(&world.account.id, &new.key.id).await.unwrap();
    assert!(matches!(keys.verify(new.secret.reveal()), Err(VerifyError::Refused)));
    let again = keys.revoke(&world.account.id, &new.key.id).await;
    assert!(matches!(again, Err(ApiKeysError::NotFound { .. })));
    assert!(matches!(
        keys.create(&world.account.id, "", vec![Scope::Admin], None).await,
        Err(ApiKeysError::NameLength)
    ));
    assert!(matches!(keys.create(&world.account.id, "n", vec![], None).await, Err(ApiKeysError::NoScopes)));
    assert_eq!(keys.list(&world.account.id).unwrap().len(), 2);
}
