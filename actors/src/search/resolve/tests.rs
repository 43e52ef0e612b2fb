//! What `resolve` promises, signal by signal, on a catalogue small enough to read.

use proptest::prelude::*;

use super::*;
use crate::embedding::StaticTable;

fn entry(id: &str, title: &str, description: &str, popularity: u8) -> Entry {
    Entry {
        id: id.parse().unwrap(),
        title: title.to_owned(),
        description: description.to_owned(),
        aliases: Vec::new(),
        ecosystem: String::new(),
        popularity: Some(popularity),
        trust_tenths: None,
        snippets: 0,
    }
}

/// Id, popularity, title, description.
const ENTRIES: &str = "
/npm/react | 91 | React | A JavaScript library for building user interfaces
/npm/preact | 80 | preact | Fast 3kb React-compatible Virtual DOM library
/npm/raect | 20 | raect | An experiment
/npm/reactt | 16 | reactt | Nothing to see here
/npm/react-router | 86 | React Router | Declarative routing for React
/npm/next | 86 | Next.js | The React Framework
/npm/chart.js | 80 | Chart.js | Simple HTML5 charts using the canvas element
/npm/chartjs | 40 | chartjs | A charting library in pure javascript
/npm/@tanstack/react-query | 85 | TanStack Query | Hooks for managing and caching remote data
/npm/@nestjs/core | 77 | NestJS | Node framework for server-side applications
/npm/@angular/core | 78 | @angular/core | The core framework
/npm/is-map | 70 | is-map | Is this value a Map?
/npm/redis | 80 | node-redis | A modern, high performance Redis client
/npm/@react-three/fiber | 74 | @react-three/fiber | A React renderer for Threejs
/npm/puppeteer | 80 | Puppeteer | A high-level API to control headless Chrome
/npm/pupeteer | 41 | pupeteer | You might want to use puppeteer instead
/pypi/redis | 85 | redis | Python client for Redis database and key-value store
/pypi/scikit-learn | 84 | scikit-learn | A set of python modules for machine learning
/pypi/sklearn | 64 | sklearn | deprecated sklearn package, use scikit-learn instead
/pypi/pyyaml | 94 | PyYAML | YAML parser and emitter for Python
/pypi/python-dateutil | 95 | python-dateutil | Extensions to the datetime module
/pypi/djangorestframework | 74 | Django REST framework | Web APIs for Django, made easy
/pypi/boto3 | 98 | Boto3 | The AWS SDK for Python
/pypi/aws | 30 | aws | Utility to manage instances
/pypi/celery | 78 | Celery | Distributed Task Queue
/crates/redis | 76 | redis-rs | Redis driver for Rust
/crates/serde_json | 91 | Serde JSON | A JSON serialization file format
/crates/clap | 90 | clap | A full-featured Command Line Argument Parser
/docs/redis | 92 | Redis | In-memory data structure store: commands, persistence, streams
/docs/kubernetes | 94 | Kubernetes | Container orchestration: pods, deployments
/docs/apache-kafka | 82 | Apache Kafka | Distributed event streaming: topics, consumers
/docs/jq | 74 | jq | Command-line JSON processor: filters, functions
/docs/rails | 82 | Ruby on Rails | Rails guides: Active Record, routing
/npm/hast | 67 | hast | Renamed to rehype
/npm/rehype | 80 | rehype | HTML processor powered by plugins
/vercel/turborepo | 70 | Turborepo | Build system for monorepos";

fn entries() -> Vec<Entry> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(" | ").collect();
        entry(fields[0], fields[2], fields[3], fields[1].parse().unwrap())
    };
    let mut entries: Vec<Entry> = ENTRIES.trim().lines().map(line).collect();
    entries[4].aliases.push("remix router".to_owned());
    entries
}

fn catalogue() -> Catalogue {
    Catalogue::build(entries(), StaticTable::builtin())
}

fn ids(matches: &[Match]) -> Vec<&str> {
    matches.iter().map(|found| found.id.as_str()).collect()
}

/// Asserts what comes first and what it says first about why: name, query, id, reason.
fn assert_first(cases: &str) {
    let catalogue = catalogue();
    for case in cases.trim().lines() {
        let [name, query, id, reason] =
            case.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
        let matches = catalogue.resolve(name, query, 5);
        assert_eq!(ids(&matches).first(), Some(&id), "{name} | {query}: {matches:?}");
        assert_eq!(matches[0].reasons[0].to_string(), reason, "{name} | {query}");
    }
}

#[test]
fn a_name_is_found_however_it_is_spelled() {
    assert_first(
        "
        react |  | /npm/react | exact name
        React Router |  | /npm/react-router | exact name
        reactrouter |  | /npm/react-router | exact name
        Next.js |  | /npm/next | exact title
        next js |  | /npm/next | exact title
        serde json |  | /crates/serde_json | exact name
        @tanstack/react-query |  | /npm/@tanstack/react-query | exact name
        tanstack query |  | /npm/@tanstack/react-query | exact title
        chart.js |  | /npm/chart.js | exact name
        turborepo vercel |  | /vercel/turborepo | exact name",
    );
}

#[test]
fn an_id_or_its_address_is_found_as_it_is() {
    for name in [
        "/vercel/turborepo",
        "vercel/turborepo",
        "/vercel/turborepo/v2",
        "vercel/turborepo@2.1",
        "https://github.com/vercel/turborepo",
        "https://github.com/vercel/turborepo.git",
        "https://github.com/vercel/turborepo/tree/main?tab=readme#top",
    ] {
        assert_first(&format!("{name} | | /vercel/turborepo | exact id"));
    }
    assert_first(
        "
        /npm/@angular/core |  | /npm/@angular/core | exact id
        /npm/@angular/core@17 |  | /npm/@angular/core | exact id
        /npm/raect |  | /npm/raect | exact id",
    );
}

#[test]
fn slips_of_the_finger_find_the_popular_name() {
    assert_first(
        "
        raect |  | /npm/react | one edit from `react`
        reactt |  | /npm/react | one edit from `react`
        kubernets |  | /docs/kubernetes | one edit from `kubernetes`
        tanstak querry |  | /npm/@tanstack/react-query | two edits from `@tanstack/react-query`
        how to use cellery |  | /pypi/celery | one edit from `celery`
        react ruoter |  | /npm/react-router | one edit from `react-router`",
    );
}

#[test]
fn an_obscure_name_asked_for_exactly_is_first_or_second() {
    let catalogue = catalogue();
    for (name, id) in [("raect", "/npm/raect"), ("reactt", "/npm/reactt"), ("chartjs", "/npm/chartjs")] {
        let matches = catalogue.resolve(name, "", 2);
        assert!(ids(&matches).contains(&id), "{name}: {matches:?}");
    }
}

#[test]
fn the_start_of_a_name_is_enough() {
    assert_first(
        "
        turbo |  | /vercel/turborepo | name starts with `turbo`
        kubern |  | /docs/kubernetes | name starts with `kubern`",
    );
}

#[test]
fn a_known_name_wins_over_a_more_popular_neighbour() {
    assert_first(
        "
        preact |  | /npm/preact | exact name",
    );
}

#[test]
fn other_names_follow_from_rules_and_metadata() {
    assert_first(
        "
        remix router |  | /npm/react-router | alias `remixrouter`
        yaml | safe_load | /pypi/pyyaml | alias `yaml`
        dateutil |  | /pypi/python-dateutil | alias `dateutil`
        sklearn |  | /pypi/scikit-learn | alias `sklearn`
        hast |  | /npm/rehype | alias `hast`
        kafka |  | /docs/apache-kafka | alias `kafka`
        angular |  | /npm/@angular/core | alias `angular`
        k8s |  | /docs/kubernetes | alias `k8s`
        DRF |  | /pypi/djangorestframework | initials `drf`
        ror |  | /docs/rails | initials `ror`
        r3f |  | /npm/@react-three/fiber | initials `r3f`
        reactjs |  | /npm/react | exact name",
    );
}

#[test]
fn a_package_that_says_use_another_is_behind_it() {
    let matches = catalogue().resolve("pupeteer", "", 2);
    assert_eq!(ids(&matches), ["/npm/puppeteer", "/npm/pupeteer"]);
    assert!(matches[1].reasons.contains(&Reason::Retired));
}

#[test]
fn the_language_chooses_among_equal_names() {
    assert_first(
        "
        redis |  | /docs/redis | exact name
        redis rust crate |  | /crates/redis | exact name
        redis | rust: a pool of connections | /crates/redis | exact name
        redis for python |  | /pypi/redis | exact name
        redis npm package |  | /npm/redis | exact name
        redis | connect from node js | /npm/redis | exact name",
    );
    let reasons = &catalogue().resolve("redis", "in rust", 1)[0].reasons;
    assert!(reasons.contains(&Reason::Language("Rust")), "{reasons:?}");
}

#[test]
fn filler_and_versions_do_not_get_in_the_way() {
    assert_first(
        "
        how to use the react library |  | /npm/react | exact name
        react 19 |  | /npm/react | exact name
        react@18.2 |  | /npm/react | exact name
        wie benutzt man celery |  | /pypi/celery | exact name
        the latest kubernetes documentation |  | /docs/kubernetes | exact name
        is-map |  | /npm/is-map | exact name",
    );
}

#[test]
fn a_description_finds_what_it_describes() {
    assert_first(
        "
        rust command line argument parser | derive | /crates/clap | description matches `command line argument parser`
        command line json processor |  | /docs/jq | description matches `command line json processor`
        aws sdk for python | upload a file | /pypi/boto3 | description matches `aws sdk python`
        library to draw charts on a canvas |  | /npm/chart.js | name has `charts`
         | distributed task queue | /pypi/celery | description matches `distributed task queue`",
    );
}

#[test]
fn the_language_asked_for_outweighs_popularity() {
    let widgets =
        [("/npm/widget", 90), ("/pypi/widget", 40)].map(|(id, popularity)| entry(id, "", "", popularity));
    let catalogue = Catalogue::build(widgets, StaticTable::builtin());
    for (query, first) in [("", "/npm/widget"), ("in python", "/pypi/widget"), ("node js", "/npm/widget")] {
        assert_eq!(ids(&catalogue.resolve("widget", query, 1)), [first], "{query}");
    }
}

#[test]
fn a_description_that_says_it_all_outweighs_a_name_that_says_a_part() {
    let entries = [
        entry("/pypi/celery", "Celery", "Distributed Task Queue", 70),
        entry("/pypi/task-queue", "task-queue", "Nothing much", 70),
    ];
    let catalogue = Catalogue::build(entries, StaticTable::builtin());
    assert_eq!(ids(&catalogue.resolve("distributed task queue", "", 1)), ["/pypi/celery"]);
}

#[test]
fn what_means_the_same_is_found_without_a_common_word() {
    let entries = [
        entry("/a/one", "", "Everything about cars and trucks", 50),
        entry("/a/two", "", "Recipes for soups and salads", 50),
    ];
    let catalogue = Catalogue::build(entries, StaticTable::builtin());
    let matches = catalogue.resolve("automobiles, vehicles", "", 5);
    assert_eq!(ids(&matches), ["/a/one"]);
    assert_eq!(matches[0].reasons, [Reason::Meaning]);
}

#[test]
fn what_is_indexed_and_what_is_trusted_is_preferred_among_equals() {
    let widgets = |id: &str, trust_tenths, snippets| Entry {
        trust_tenths,
        snippets,
        ..entry(id, "Widgets", "Widgets for all", 50)
    };
    let entries = [
        widgets("/a/widgets", Some(10), 0),
        widgets("/b/widgets", None, 0),
        widgets("/c/widgets", Some(90), 0),
        widgets("/d/widgets", None, 1_200),
    ];
    let matches = Catalogue::build(entries, StaticTable::builtin()).resolve("widgets", "", 4);
    assert_eq!(ids(&matches), ["/d/widgets", "/c/widgets", "/b/widgets", "/a/widgets"]);
    assert!(matches[0].reasons.contains(&Reason::Indexed { snippets: 1_200 }));
    assert!(matches[1].reasons.contains(&Reason::Trusted));
}

#[test]
fn a_changed_catalogue_answers_like_one_built_anew() {
    let (mut later, base) = (entries(), catalogue());
    later.retain(|entry| entry.id.as_str() != "/npm/next");
    let mut renamed = entry("/npm/react", "React", "Now it parses command line arguments", 91);
    renamed.aliases.push("ui kit".to_owned());
    *later.iter_mut().find(|entry| entry.id == renamed.id).unwrap() = renamed.clone();
    let added = entry("/npm/zod", "Zod", "TypeScript-first schema validation", 92);
    later.push(added.clone());

    let removed: LibraryId = "/npm/next".parse().unwrap();
    let changed =
        base.with_changes([renamed], &[]).with_changes([added.clone()], std::slice::from_ref(&removed));
    let built = Catalogue::build(later, StaticTable::builtin());
    assert_eq!((changed.len(), built.len(), base.len()), (36, 36, 36));
    for (name, query) in [("react", ""), ("ui kit", ""), ("zod", ""), ("schema validation", "typescript")] {
        let (one, other) = (changed.resolve(name, query, 1), built.resolve(name, query, 1));
        assert_eq!(ids(&one), ids(&other), "{name} | {query}");
    }
    assert!(!ids(&changed.resolve("next", "", 100)).contains(&"/npm/next"));
    assert!(ids(&base.resolve("next", "", 100)).contains(&"/npm/next"), "the one before stays as it is");
    assert!(!changed.wants_rebuild());

    let gone = changed.with_changes([], &[added.id]);
    assert!(!ids(&gone.resolve("zod", "", 100)).contains(&"/npm/zod"));
    assert_eq!(gone.len(), 35);
}

#[test]
fn many_changes_ask_for_a_build() {
    let many = (0..=CHANGES_FREE).map(|at| entry(&format!("/a/b{at}"), "", "", 1));
    assert!(catalogue().with_changes(many, &[]).wants_rebuild());
}

#[test]
fn a_graph_finds_what_the_scan_finds() {
    let catalogue = catalogue();
    let rows = catalogue.vectors().unwrap();
    let graph = Arc::new(VectorGraph::build(rows, 1, std::num::NonZeroUsize::MIN).unwrap());
    let with_graph = catalogue.with_graph(graph.clone()).unwrap();
    for name in ["library to draw charts on a canvas", "container orchestration", "react"] {
        assert_eq!(with_graph.resolve(name, "", 5), catalogue.resolve(name, "", 5), "{name}");
    }
    let smaller = Catalogue::build(entries().into_iter().take(3), StaticTable::builtin());
    assert!(smaller.with_graph(graph).is_none(), "a graph of other vectors");
}

#[test]
fn of_entries_with_one_id_the_last_counts() {
    let twice = [entry("/npm/one", "", "", 1), entry("/npm/one", "uno", "", 2)];
    let catalogue = Catalogue::build(twice, StaticTable::builtin());
    assert_eq!(catalogue.len(), 1);
    assert_eq!(catalogue.resolve("uno", "", 5)[0].reasons[0], Reason::Title);
}

#[test]
fn hostile_asks_are_answered() {
    let (catalogue, none) = (catalogue(), Catalogue::build([], StaticTable::builtin()));
    assert!(none.is_empty() && !catalogue.is_empty());
    let long = "react ".repeat(2_000);
    let blob = "x".repeat(10_000);
    let asks = [
        "",
        " ",
        "!?-_@#/\\",
        "\0",
        "re\0act",
        "/",
        "//",
        "@",
        "://",
        "/@/",
        "日本語",
        "🦀🦀🦀",
        "e\u{301}",
        "٣٤",
        "a",
        "%",
        "v4",
        "the",
        "python",
        "a1b",
        "z9999z",
        "x\u{202e}tcaer",
        &long,
        &blob,
    ];
    for name in asks {
        for query in asks {
            let matches = catalogue.resolve(name, query, 10);
            assert!(matches.len() <= 10);
            assert!(matches.iter().all(|found| found.score.is_finite() && !found.reasons.is_empty()));
            assert_eq!(none.resolve(name, query, 10), []);
        }
    }
    assert_eq!(catalogue.resolve("", "", 10), []);
    assert_eq!(catalogue.resolve("?!", "\0", 10), []);
    assert_eq!(catalogue.resolve("react", "", 0), []);
    assert!(catalogue.resolve("react", "", usize::MAX).len() <= MATCHES_MAX);
}

#[test]
fn hostile_entries_are_indexed() {
    let blob = "ab ".repeat(30_000);
    let entries = [
        ("/a/b", "", ""),
        ("/c/d", "\0🦀", "\u{202e}"),
        ("/e/f", &blob, &blob),
        ("/npm/@x/y", "@", "use to of"),
    ]
    .map(|(id, title, description)| entry(id, title, description, 255));
    let catalogue = Catalogue::build(entries, StaticTable::builtin());
    assert_eq!(catalogue.len(), 4);
    assert_eq!(ids(&catalogue.resolve("a/b", "", 1)), ["/a/b"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_ask_gives_distinct_matches_in_a_fixed_order(
        name in "(\\PC{0,40}|[a-z0-9@/._ -]{0,60}|(react|redis|rust|for|js|node|python| |-|3){0,12})",
        query in "\\PC{0,60}",
        limit in 0_usize..20,
    ) {
        static CATALOGUE: std::sync::LazyLock<Catalogue> = std::sync::LazyLock::new(catalogue);
        let matches = CATALOGUE.resolve(&name, &query, limit);
        prop_assert!(matches.len() <= limit);
        let mut distinct = ids(&matches);
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), matches.len());
        prop_assert!(matches.is_sorted_by(|one, other| one.score >= other.score));
        prop_assert!(matches.iter().all(|found| !found.reasons.is_empty()));
        prop_assert_eq!(&CATALOGUE.resolve(&name, &query, limit), &matches);
    }
}

#[test]
fn what_is_hidden_is_not_found_by_any_way_and_takes_nobodys_place() {
    let hidden: LibraryId = "/npm/react".parse().unwrap();
    let without = |name: &str, query: &str| catalogue().resolve_but(name, query, 3, &|id| *id == hidden);
    for (name, query) in [("react", ""), ("raect", ""), ("user interfaces", "components"), ("/npm/react", "")]
    {
        assert!(ids(&catalogue().resolve(name, query, 100)).contains(&"/npm/react"), "{name} | {query}");
        let found = without(name, query);
        assert!(!ids(&found).contains(&"/npm/react") && found.len() <= 3, "{name} | {query}");
    }
    let all = catalogue().resolve("react", "", 100);
    let others = ids(&all).into_iter().filter(|id| *id != "/npm/react").take(3).collect::<Vec<_>>();
    assert_eq!(ids(&without("react", "")).len(), others.len());
}
