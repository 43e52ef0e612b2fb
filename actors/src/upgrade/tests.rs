//! Stories of upgrades, over a node in memory and a tiny model.

use std::path::PathBuf;
use std::time::Duration;

use twinmcp_storage::bundle::BundleHash;
use twinmcp_storage::command::{Command, Outcome};
use twinmcp_storage::libraries::{self, VersionManifest};

use super::{UpgradeConfig, UpgradeState};
use crate::embedding::{EndpointConfig, both, endpoint_config as config, first_of, second_of, tiny};
use crate::tests::World;
use crate::tests::embedding_service::{Behaviour, EmbeddingService};

/// A page of many sections, each a snippet of its own.
fn guide(sections: usize) -> Vec<(String, String)> {
    let section = |number: usize| {
        format!(
            "## Step {number}\n\nPolish the widget number {number} with a soft dry cloth until it shines, start at the \
             rim and never use a brush. Let it rest in a box {number} days long, away from sunlight and magnets; \
             calibrate it after {number} years, and store it with paper between the layers so that nothing scratches \
             anything else. Write the date and the number {number} on the lid of the box before it is stacked.\n\n"
        )
    };
    let text: String = (0..sections).map(section).collect();
    vec![("docs/guide.md".to_owned(), format!("# Widget guide\n\n{text}"))]
}

async fn world(model: impl FnOnce(&std::path::Path) -> PathBuf) -> World {
    World::with_upgrades(|folder| UpgradeConfig {
        model: Some(model(folder)),
        cpu_percent: 100,
        ..UpgradeConfig::default()
    })
    .await
}

/// Has `version` upgraded by another node, which names its vectors `embedder`.
async fn upgraded_elsewhere(world: &World, version: &str, embedder: &str) {
    let VersionManifest { library, version, bundle, bundle_bytes, .. } = manifest(world, version);
    let upgrade = libraries::Command::Upgrade {
        id: library,
        version,
        replaces: bundle.clone(),
        bundle,
        bundle_bytes,
        embedder: embedder.to_owned(),
    };
    let applied = world.cluster.propose(Command::Libraries(upgrade)).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Done);
}

fn tiny_model(folder: &std::path::Path) -> PathBuf {
    let model = folder.join("model");
    tiny::write(&model, 7).unwrap();
    model
}

async fn index(world: &World, version: &str, sections: usize) {
    let pages = guide(sections);
    let pages: Vec<(&str, &str)> = pages.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let source = world.source(version, &pages);
    world.index("/acme/widget", version, source).await;
}

fn manifest(world: &World, version: &str) -> VersionManifest {
    let (id, version) = ("/acme/widget".parse().unwrap(), version.parse().unwrap());
    libraries::manifest(world.cluster.reader(), &id, &version).unwrap().unwrap()
}

fn is_upgraded(world: &World, version: &str) -> bool {
    manifest(world, version).embedder.contains("+transformer-v2-")
}

fn hash(manifest: &VersionManifest) -> BundleHash {
    manifest.bundle.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_answers_at_once_and_from_better_vectors_later() {
    let world = world(tiny_model).await;
    index(&world, "1.0", 12).await;
    let docs = world.docs("/acme/widget", "how do I polish widget number 7").await.unwrap();
    assert!(!docs.snippets.is_empty());
    world.until("it is upgraded", || is_upgraded(&world, "1.0")).await;
    let after = manifest(&world, "1.0");
    let docs = world.docs("/acme/widget", "how do I polish widget number 7").await.unwrap();
    assert!(docs.snippets[0].snippet.text().contains("widget number 7"));
    let status = world.actors.upgrades.status();
    assert_eq!(status.embedder.as_deref(), Some(after.embedder.as_str()));
    world.until("nothing is left to do", || world.actors.upgrades.status().state == UpgradeState::Idle).await;
    assert_eq!(world.actors.upgrades.status().trouble, None);
    let bundle = world.bundles().open(hash(&after)).unwrap();
    assert_eq!((bundle.meta().snippets, bundle.meta().vectors), (after.snippets, after.snippets));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_the_model_was_named_is_upgraded_too() {
    let world = World::new().await;
    index(&world, "1.0", 3).await;
    index(&world, "2.0", 3).await;
    let before = manifest(&world, "1.0");
    let world = world
        .crash_and_restart_with(|folder| UpgradeConfig {
            model: Some(tiny_model(folder)),
            ..Default::default()
        })
        .await;
    world.until("both are upgraded", || is_upgraded(&world, "1.0") && is_upgraded(&world, "2.0")).await;
    let after = manifest(&world, "1.0");
    assert_eq!(
        (after.job, after.indexed_at, after.snippets),
        (before.job, before.indexed_at, before.snippets)
    );
    assert_ne!(after.bundle, before.bundle);
    assert!(world.bundles().contains(before.bundle.parse().unwrap()), "a bundle never changes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upgrade_goes_on_with_what_it_has_and_gives_the_same_bundle() {
    let whole = world(tiny_model).await;
    index(&whole, "1.0", 30).await;
    whole.until("it is upgraded", || is_upgraded(&whole, "1.0")).await;

    let world = world(tiny_model).await;
    index(&world, "1.0", 30).await;
    let done = || world.actors.upgrades.status().current.map_or(0, |current| current.done);
    world.until("some snippets are done", || done() > 3 || is_upgraded(&world, "1.0")).await;
    let world = world.crash_and_restart().await;
    world.until("it is upgraded", || is_upgraded(&world, "1.0")).await;
    assert_eq!(manifest(&world, "1.0").bundle, manifest(&whole, "1.0").bundle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_published_anew_is_upgraded_from_its_new_documentation() {
    let world = world(tiny_model).await;
    index(&world, "1.0", 60).await;
    let first = manifest(&world, "1.0");
    index(&world, "1.0", 5).await;
    world
        .until("the new one is upgraded", || {
            is_upgraded(&world, "1.0") && manifest(&world, "1.0").snippets < 10
        })
        .await;
    assert!(first.snippets > 20);
    world.until("nothing is left to do", || world.actors.upgrades.status().state == UpgradeState::Idle).await;
    assert!(manifest(&world, "1.0").snippets < 10, "the old upgrade was thrown away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_used_is_told_and_answers_go_on() {
    let world = world(|folder| folder.join("nowhere")).await;
    let unusable = || matches!(world.actors.upgrades.status().state, UpgradeState::Unusable(_));
    world.until("the model was tried", unusable).await;
    index(&world, "1.0", 3).await;
    assert!(world.docs("/acme/widget", "polish").await.is_ok());
    let UpgradeState::Unusable(reason) = world.actors.upgrades.status().state else { panic!("it is usable") };
    assert!(reason.contains("failed to read") && reason.contains("config.json"), "{reason}");
    assert!(!is_upgraded(&world, "1.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_gone_is_told_and_the_next_version_is_upgraded() {
    let world = World::new().await;
    index(&world, "1.0", 3).await;
    let gone = manifest(&world, "1.0");
    std::fs::remove_file(world.bundles().path(hash(&gone))).unwrap();
    // With its source it would be built again.
    std::fs::remove_dir_all(world.folder().join("1.0")).unwrap();
    let world = world
        .crash_and_restart_with(|folder| UpgradeConfig {
            model: Some(tiny_model(folder)),
            ..Default::default()
        })
        .await;
    let trouble = || world.actors.upgrades.status().trouble;
    world.until("the failure is told", || trouble().is_some()).await;
    assert!(trouble().unwrap().contains("no bundle"), "{:?}", trouble());
    index(&world, "2.0", 4).await;
    world.until("the next one is upgraded", || is_upgraded(&world, "2.0")).await;
    assert!(!is_upgraded(&world, "1.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_there_is_no_actor_and_nothing_changes() {
    let world = World::new().await;
    index(&world, "1.0", 3).await;
    assert_eq!(world.actors.upgrades.status().state, UpgradeState::Off);
    assert!(!world.actors.supervisor.health().iter().any(|actor| actor.name == "upgrade"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_has_upgraded_is_left_to_it_until_the_next_start() {
    let world = world(tiny_model).await;
    index(&world, "1.0", 3).await;
    world.until("it is upgraded", || is_upgraded(&world, "1.0")).await;
    let embedder = "twinmcp-static-128-v1+elsewhere";
    upgraded_elsewhere(&world, "1.0", embedder).await;
    // Changes are looked at in order: with the next version this one has been.
    index(&world, "2.0", 3).await;
    world.until("the next one is upgraded", || is_upgraded(&world, "2.0")).await;
    world.until("nothing is left to do", || world.actors.upgrades.status().state == UpgradeState::Idle).await;
    assert_eq!(manifest(&world, "1.0").embedder, embedder);

    let world = world.crash_and_restart().await;
    world.until("it is this node's again", || is_upgraded(&world, "1.0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_node_has_upgraded_while_it_waited_is_left_to_it() {
    let service = EmbeddingService::start().await;
    let patient = EndpointConfig { timeout: Duration::from_secs(600), ..config(&service) };
    let world = World::new().await.restart_with_endpoint(patient).await;
    let status = || world.actors.endpoint.as_ref().unwrap().status();
    // The first one is at work for as long as the service keeps it waiting.
    service.hold();
    index(&world, "1.0", 3).await;
    world.until("the first is at work", || !service.asked().is_empty() && status().waiting == 0).await;
    index(&world, "2.0", 3).await;
    world.until("the other waits", || status().waiting > 0).await;
    let working = status();
    assert_eq!(working.current.unwrap().version.as_str(), "1.0");
    assert_eq!(working.waiting, 1, "one that is at work does not wait as well");

    let other = manifest(&world, "2.0").embedder;
    let embedder = both(first_of(&other), Some("endpoint/elsewhere/64"));
    upgraded_elsewhere(&world, "2.0", &embedder).await;
    service.release();
    world.until("the first is upgraded", || has_second(&world, "1.0")).await;
    world.until("nothing is left to do", || status().state == UpgradeState::Idle).await;
    assert_eq!(manifest(&world, "2.0").embedder, embedder);
}

fn has_second(world: &World, version: &str) -> bool {
    second_of(&manifest(world, version).embedder) == Some("endpoint/test-embed/64")
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_a_service_come_beside_the_built_in_ones_and_answers_outlive_the_service() {
    let world = world(tiny_model).await;
    index(&world, "1.0", 20).await;
    let service = EmbeddingService::start().await;
    // It is busy at first: nobody who asks notices.
    let busy = |status, wait: Option<&str>| Behaviour::Refuse(status, wait.map(str::to_owned));
    service.does(&[busy(429, Some("0")), Behaviour::HangUp, busy(503, None)], Behaviour::Well);
    let world = world.restart_with_endpoint(EndpointConfig { attempts_max: 5, ..config(&service) }).await;
    world.docs("/acme/widget", "polish widget number 7").await.unwrap();
    world.until("both kinds of vectors", || has_second(&world, "1.0") && is_upgraded(&world, "1.0")).await;
    let bundle = world.bundles().open(hash(&manifest(&world, "1.0"))).unwrap();
    assert_eq!(bundle.second().unwrap().embedder().id, "endpoint/test-embed/64");
    assert!(service.asked().iter().all(|texts| texts.len() <= 4));

    let asked = service.asked().len();
    let docs = world.docs("/acme/widget", "calibrate it after 7 years").await.unwrap();
    assert!(!docs.snippets.is_empty());
    assert_eq!(service.asked()[asked..], [["calibrate it after 7 years"]], "the service embeds the question");

    service.does(&[], busy(500, None));
    let docs = world.docs("/acme/widget", "another question about widgets").await.unwrap();
    assert!(!docs.snippets.is_empty(), "words and built-in vectors answer");
    let health = world.actors.endpoint.as_ref().unwrap().health();
    assert!(health.trouble.as_deref().is_some_and(|trouble| trouble.contains("answered 500")), "{health:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_another_dimension_changes_nothing_and_is_told() {
    let world = World::new().await;
    index(&world, "1.0", 3).await;
    let before = manifest(&world, "1.0");
    let service = EmbeddingService::start().await;
    service.does(&[], Behaviour::Dimensions(5));
    let world = world.restart_with_endpoint(config(&service)).await;
    let trouble = || world.actors.endpoint.as_ref().unwrap().status().trouble;
    world.until("the trouble is told", || trouble().is_some()).await;
    assert!(trouble().unwrap().contains("5 dimensions, `embeddings.dimensions` says 64"), "{:?}", trouble());
    assert_eq!(manifest(&world, "1.0"), before);
    world.docs("/acme/widget", "polish").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_serves_nobody_is_asked_for_one_version_and_then_left_alone() {
    let world = World::new().await;
    for version in ["1.0", "2.0", "3.0"] {
        index(&world, version, 3).await;
    }
    let service = EmbeddingService::start().await;
    service.does(&[], Behaviour::Refuse(401, None));
    let world = world.restart_with_endpoint(config(&service)).await;
    let status = || world.actors.endpoint.as_ref().unwrap().status();
    world.until("the trouble is told", || status().trouble.is_some()).await;
    world.until("all wait again", || status().waiting == 3).await;
    assert_eq!(service.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_another_model_replaces_the_vectors_and_is_not_asked_before() {
    let world = World::new().await;
    index(&world, "1.0", 3).await;
    let service = EmbeddingService::start().await;
    let world = world.restart_with_endpoint(config(&service)).await;
    world.until("vectors of the service", || has_second(&world, "1.0")).await;

    // The same service under another name: its vectors are no longer those in the index.
    service.hold();
    let asked = service.asked().len();
    let other = EndpointConfig { model: "other".to_owned(), ..config(&service) };
    let world = world.restart_with_endpoint(other).await;
    world.until("documents are sent", || service.asked().len() > asked).await;
    world.docs("/acme/widget", "polish widget number 2").await.unwrap();
    assert!(!service.asked().concat().contains(&"polish widget number 2".to_owned()));

    service.release();
    let trouble = || world.actors.endpoint.as_ref().unwrap().status().trouble;
    world.until("the trouble is told", || trouble().is_some()).await;
    assert!(trouble().unwrap().contains("answered 404"), "{:?}", trouble());
    assert!(has_second(&world, "1.0"), "what was there stays");
}
