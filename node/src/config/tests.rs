//! Configuration is read whole, and every problem has its place.

use super::*;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    Config::parse(text, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(parse("", &[]).unwrap(), Config::default());
}

#[test]
fn every_problem_is_reported_by_key_and_line() {
    let text = "[http]\nlisten = \"nowhere\"\nin_flight_max = 0\nspeed = 9\n\n[weather]\nrain = true\n";
    let problems = parse(text, &[]).unwrap_err();
    let places: Vec<(&str, Option<usize>)> =
        problems.iter().map(|problem| (problem.key.as_str(), problem.line)).collect();
    let expected = [
        ("http.listen", Some(2)),
        ("http.in_flight_max", Some(3)),
        ("http.speed", Some(4)),
        ("weather", Some(6)),
    ];
    assert_eq!(places, expected);
    assert!(problems.to_string().starts_with("line 2: http.listen: "), "{problems}");
}

#[test]
fn a_broken_text_is_reported_by_line() {
    let problems = parse("[http]\nlisten = \n", &[]).unwrap_err();
    assert_eq!(problems.iter().next().unwrap().line, Some(2), "{problems}");
}

#[test]
fn variables_override_the_file() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\n";
    let variables = [
        ("TWINMCP__HTTP__LISTEN", "0.0.0.0:8080"),
        ("TWINMCP__HTTP__ALLOWED_HOSTS", "[\"docs.example.com\"]"),
        ("TWINMCP__LIMITS__ANONYMOUS_READS", "false"),
        ("TWINMCP__NODE__NAME", "42"),
        ("TWINMCP_URL", "http://elsewhere"),
    ];
    let config = parse(text, &variables).unwrap();
    assert_eq!(config.http.listen.port(), 8080);
    assert_eq!(config.http.allowed_hosts, ["docs.example.com"]);
    assert!(!config.limits.anonymous_reads);
    assert_eq!(config.node.name, "42");
}

#[test]
fn a_wrong_variable_is_named() {
    let variables = [("TWINMCP__HTTP__LISTEN", "nowhere"), ("TWINMCP__HTTP__SPEED", "9")];
    let problems = parse("", &variables).unwrap_err().to_string();
    assert!(problems.contains("(from variable TWINMCP__HTTP__LISTEN)"), "{problems}");
    assert!(problems.contains("TWINMCP__HTTP__SPEED names no key"), "{problems}");
}

#[test]
fn values_out_of_range_are_refused() {
    for (text, key) in [
        ("[node]\nname = \"a b\"", "node.name"),
        ("[http]\nallowed_origins = [\"app.example.com\"]", "http.allowed_origins"),
        ("[http]\nallowed_hosts = [\"https://app.example.com\"]", "http.allowed_hosts"),
        ("[http]\ntrusted_proxies = [\"10.0.0.0/40\"]", "http.trusted_proxies"),
        ("[http]\ntrusted_proxies = [\"::1\", \"proxy.example.com\"]", "http.trusted_proxies"),
        ("[http]\nrequest_timeout_ms = 0", "http.request_timeout_ms"),
        ("[cluster]\npublic_addresses = [\"10.0.0.1\", \"10.0.0.2\"]", "cluster.public_addresses"),
        ("[cluster]\npublic_addresses = [\"0.0.0.0\"]", "cluster.public_addresses"),
        ("[cluster]\nlocation = \"north\"", "cluster.location"),
        ("[dns]\nlisten = [\"127.0.0.1\"]", "dns.listen"),
        ("[dns]\nlisten = [\"127.0.0.1:53\"]", "dns.zone"),
        ("[dns]\nlisten = [\"127.0.0.1:53\"]\nzone = \"docs.example.com\"", "dns.name_servers"),
        ("[dns]\nresponses_per_second_max = 0", "dns.responses_per_second_max"),
        ("[storage]\ncache_bytes = 1", "storage.cache_bytes"),
        ("[ingest]\nupload_bytes_max = 1073741825", "ingest.upload_bytes_max"),
        ("[bundles]\nkeep = \"somewhere\"", "bundles.keep"),
        ("[bundles]\ncopies_per_region = 0", "bundles.copies_per_region"),
        ("[bundles]\ndisk_bytes_max = 0", "bundles.disk_bytes_max"),
        ("[bundles]\ngarbage_grace_ms = 0", "bundles.garbage_grace_ms"),
        ("[bundles]\nsend_bytes_per_s_max = 1000", "bundles.send_bytes_per_s_max"),
        ("[ingest]\nfolders = [\"docs\"]", "ingest.folders"),
        ("[outbound]\nallowed_hosts = [\"http://wiki\"]", "outbound.allowed_hosts"),
        ("[outbound]\nallowed_networks = [\"10.0.0.0/40\"]", "outbound.allowed_networks"),
        ("[outbound]\ncontact_url = \"me\"", "outbound.contact_url"),
        ("[outbound]\nidle_timeout_ms = 0", "outbound.idle_timeout_ms"),
        ("[fetch]\npages_max = 0", "fetch.pages_max"),
        ("[fetch]\nrequests_per_second = 0.0", "fetch.requests_per_second"),
        ("[fetch]\ngit_bytes_max = 1", "fetch.git_bytes_max"),
        ("[search]\ntokens_default = 60000", "search.tokens_default"),
        ("[limits]\nkey_burst = 0", "limits.key_burst"),
        ("[telemetry]\nlog = \"twinmcp=loud\"", "telemetry.log"),
        ("[telemetry]\notlp_endpoint = \"localhost\"", "telemetry.otlp_endpoint"),
        ("[telemetry]\notlp_share = 2.0", "telemetry.otlp_share"),
    ] {
        let problems = parse(text, &[]).unwrap_err();
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, [key], "{text}");
    }
}

const SAMPLE: &str = include_str!("../../../twinmcp.sample.toml");

#[test]
fn an_embedding_service_is_checked_whole_once_it_has_a_url() {
    assert!(parse("[embeddings]\nmodel = \"\"\n", &[]).is_ok(), "without a URL there is none");
    let whole =
        "[embeddings]\nurl = \"http://[::1]:11434/v1\"\nmodel = \"nomic-embed-text\"\ndimensions = 768\n";
    assert!(parse(whole, &[]).is_ok());
    for (wrong, key) in [
        (whole.replace("http:", "ftp:"), "embeddings.url"),
        (whole.replace("[::1]", "user:secret@[::1]"), "embeddings.url"),
        (whole.replace("/v1", "/v1?api-version=1"), "embeddings.url"),
        (whole.replace("nomic-embed-text", "one & two"), "embeddings.model"),
        (whole.replace("768", "0"), "embeddings.dimensions"),
        (format!("{whole}key_file = \"key\"\nkey_variable = \"KEY\"\n"), "embeddings.key_variable"),
        (format!("{whole}items_max = 257\n"), "embeddings.items_max"),
        (format!("{whole}query_timeout_ms = 0\n"), "embeddings.query_timeout_ms"),
        (format!("{whole}weight = nan\n"), "embeddings.weight"),
    ] {
        let problems = parse(&wrong, &[]).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{wrong}");
        assert!(!problems.to_string().contains("secret"), "{problems}");
    }
}

#[test]
fn a_bucket_is_checked_whole_once_it_has_an_endpoint() {
    assert!(parse("[bucket]\nname = \"\"\n", &[]).is_ok(), "without an endpoint there is none");
    let whole = "[bucket]\nendpoint = \"http://127.0.0.1:3900\"\nname = \"docs\"\nprefix = \"a/b\"\n\
                 access_key_file = \"access\"\nsecret_key_variable = \"SECRET\"\n";
    assert!(parse(whole, &[]).is_ok());
    assert!(parse(&whole.replace("127.0.0.1", "garage.internal").replace("http:", "https:"), &[]).is_ok());
    for (wrong, key) in [
        (whole.replace("http:", "s3:"), "bucket.endpoint"),
        (whole.replace("127.0.0.1", "user:secret@127.0.0.1"), "bucket.endpoint"),
        (whole.replace("3900", "3900/docs"), "bucket.endpoint"),
        (whole.replace("127.0.0.1", "garage.internal"), "bucket.endpoint"),
        (format!("{whole}path_style = false\n"), "bucket.path_style"),
        (whole.replace("\"docs\"", "\"a/b\""), "bucket.name"),
        (format!("{whole}region = \"\"\n"), "bucket.region"),
        (whole.replace("a/b", "a/../b"), "bucket.prefix"),
        (format!("{whole}access_key_variable = \"KEY\"\n"), "bucket.access_key_file"),
        (whole.replace("secret_key_variable = \"SECRET\"\n", ""), "bucket.secret_key_file"),
    ] {
        let problems = parse(&wrong, &[]).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), [key], "{wrong}");
        assert!(!problems.to_string().contains("secret@"), "{problems}");
    }
    assert!(
        parse(&whole.replace("127.0.0.1", "garage.internal"), &[("TWINMCP__BUCKET__ALLOW_HTTP", "true")])
            .is_ok()
    );
}

#[test]
fn the_sample_file_holds_every_key_with_its_default() {
    assert_eq!(parse(SAMPLE, &[]).unwrap(), Config::default());
    for (section, keys) in Config::SECTIONS {
        let from = SAMPLE.find(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("no section {section}"));
        let body = &SAMPLE[from + 2..];
        let body = &body[..body.find("\n[").unwrap_or(body.len())];
        for key in *keys {
            let at = body.find(&format!("\n{key} = ")).unwrap_or_else(|| panic!("no key {section}.{key}"));
            let before = body[..at].rsplit('\n').next().unwrap_or_default();
            assert!(before.starts_with("# "), "{section}.{key} has no comment above it");
        }
    }
}

#[test]
fn a_provider_of_the_sample_file_is_one_once_its_lines_are_taken_in() {
    let (before, rest) = SAMPLE.split_once("\nproviders = []\n").expect("the sample has none");
    let (block, after) = rest.split_once("\n\n").expect("the section ends");
    let block = block.replace("#   ", "");
    assert!(block.contains("\n[[upstream.providers]]\n"), "{block}");
    let config = parse(&format!("{before}\n{block}\n\n{after}"), &[]).unwrap();
    let named: Vec<&str> = config.upstream.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(named, ["corp"]);
}

#[test]
fn a_missing_file_is_named() {
    let problems = Config::load(Some(Path::new("/nowhere/twinmcp.toml"))).unwrap_err().to_string();
    assert!(problems.starts_with("/nowhere/twinmcp.toml: cannot be read"), "{problems}");
}
