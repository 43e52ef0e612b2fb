//! Whether the tests run enough lines: of everything, and of the areas where a line that nobody ran costs most.
//!
//! `llvm-cov` writes how many lines each file has and how many were run ([`step`]); here they are summed and
//! compared with the floors.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{self, Step};

/// Lines of everything that the tests must run, in percent.
const FLOOR: u64 = 80;
/// The same of each area.
const AREA_FLOOR: u64 = 85;
/// Areas with a floor of their own, and the folder of each.
const AREAS: [(&str, &str); 4] = [
    ("storage", "storage/"),
    ("ingest", "actors/src/ingest/"),
    ("search", "actors/src/search/"),
    ("consensus", "cluster/src/consensus/"),
];
/// Files that are no part of the program.
const LEFT_OUT: &str = "xtask/|tests/";

/// Runs the tests and writes what they ran to [`report`].
pub(crate) fn step() -> Step {
    let arguments = ["llvm-cov", "nextest", "--workspace", "--ignore-filename-regex", LEFT_OUT];
    let to = ["--lcov", "--summary-only", "--output-path", &report().display().to_string()];
    Step::cargo("tests with coverage", &[&arguments[..], &to].concat())
}

/// Says what the tests ran, by area; an error where that is too little.
pub(crate) fn check() -> Result<(), String> {
    let report = report();
    let text = fs::read_to_string(&report);
    let text = text.map_err(|error| format!("cannot read {}: {error}", report.display()))?;
    run::say("== coverage");
    let lines = by_area(&text, &crate::root())?;
    lines.iter().for_each(|line| run::say(&line.to_string()));
    let short: Vec<String> = lines.iter().filter(|line| line.is_short()).map(ToString::to_string).collect();
    if short.is_empty() {
        return Ok(());
    }
    Err(format!("the tests run too little: {}; `cargo llvm-cov report` tells the files", short.join("; ")))
}

fn report() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    target.map_or_else(|| crate::root().join("target"), PathBuf::from).join("coverage.lcov")
}

/// Lines of an area.
#[derive(Debug, PartialEq, Eq)]
struct Lines {
    area: &'static str,
    all: u64,
    run: u64,
    floor: u64,
}

impl Lines {
    /// An area without lines is one whose folder has another name now.
    fn is_short(&self) -> bool {
        self.all == 0 || self.run * 100 < self.all * self.floor
    }
}

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { area, all, run, floor } = self;
        // In tenths, rounded down: what is below the floor must not look as if it were not.
        let tenths = (run * 1000).checked_div(*all).unwrap_or(0);
        write!(f, "{area}: {}.{} % of {all} lines, at least {floor} % wanted", tenths / 10, tenths % 10)
    }
}

/// The lines of everything and of each area in a report of `llvm-cov` in the format of `lcov`: of each file its
/// path (`SF`), its lines (`LF`) and those that were run (`LH`).
fn by_area(report: &str, root: &Path) -> Result<Vec<Lines>, String> {
    let mut everything = Lines { area: "all", all: 0, run: 0, floor: FLOOR };
    let mut areas = AREAS.map(|(area, _)| Lines { area, all: 0, run: 0, floor: AREA_FLOOR });
    let mut file = Path::new("");
    for line in report.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        if key == "SF" {
            let path = Path::new(value);
            file = path.strip_prefix(root).unwrap_or(path);
            continue;
        }
        let count = || value.parse::<u64>().map_err(|_| format!("`{line}` is no count of lines"));
        let (all, run) = match key {
            "LF" => (count()?, 0),
            "LH" => (0, count()?),
            _ => continue,
        };
        let own = areas.iter_mut().zip(AREAS).filter(|(_, (_, folder))| file.starts_with(folder));
        for lines in own.map(|(lines, _)| lines).chain([&mut everything]) {
            lines.all += all;
            lines.run += run;
        }
    }
    Ok([everything].into_iter().chain(areas).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as `llvm-cov export --format=lcov --summary-only` tells of it.
    fn file(path: &str, all: u64, run: u64) -> String {
        format!("SF:/here/{path}\nFNF:3\nFNH:2\nBRF:0\nBRH:0\nLF:{all}\nLH:{run}\nend_of_record\n")
    }

    /// Every area run as far as it must be, the whole as well.
    fn enough() -> Vec<String> {
        vec![
            file("storage/src/engine/mod.rs", 60, 60),
            file("storage/src/audit.rs", 40, 25),
            file("actors/src/ingest/parse.rs", 200, 170),
            file("actors/src/search/rank.rs", 100, 85),
            file("cluster/src/consensus/log.rs", 100, 99),
            file("node/src/main.rs", 500, 361),
        ]
    }

    fn short(files: &[String]) -> Vec<&'static str> {
        let lines = by_area(&files.concat(), Path::new("/here")).unwrap();
        lines.iter().filter(|lines| lines.is_short()).map(|lines| lines.area).collect()
    }

    #[test]
    fn each_area_and_the_whole_have_a_floor() {
        assert_eq!(short(&enough()), [""; 0]);
        // A little less of each, of which the whole has none to spare.
        for (at, less, expected) in [
            (1, file("storage/src/audit.rs", 40, 24), &["all", "storage"][..]),
            (2, file("actors/src/ingest/parse.rs", 200, 169), &["all", "ingest"]),
            (3, file("actors/src/search/rank.rs", 100, 84), &["all", "search"]),
            (4, file("cluster/src/consensus/log.rs", 100, 84), &["all", "consensus"]),
            (5, file("node/src/main.rs", 500, 359), &["all"]),
        ] {
            let mut files = enough();
            files[at] = less;
            assert_eq!(short(&files), expected, "{at}");
        }
        // Much of everything else makes up for the whole, and for no area.
        let mut files = enough();
        files[3] = file("actors/src/search/rank.rs", 100, 84);
        files.push(file("node/src/http.rs", 900, 900));
        assert_eq!(short(&files), ["search"]);
    }

    #[test]
    fn an_area_that_is_not_in_the_report_is_missed() {
        let mut files = enough();
        // Its folder got another name, and a name that only begins like an area's is none.
        files[3] = file("actors/src/searching/rank.rs", 100, 100);
        assert_eq!(short(&files), ["search"]);
        assert_eq!(short(&[]), ["all", "storage", "ingest", "search", "consensus"]);
    }

    #[test]
    fn shares_are_told_rounded_down() {
        let lines = Lines { area: "search", all: 10_000, run: 8_499, floor: 85 };
        assert_eq!(lines.to_string(), "search: 84.9 % of 10000 lines, at least 85 % wanted");
        let none = Lines { all: 0, run: 0, ..lines };
        assert_eq!(none.to_string(), "search: 0.0 % of 0 lines, at least 85 % wanted");
        assert!(by_area("SF:/here/a.rs\nLF:many\n", Path::new("/here")).unwrap_err().contains("LF:many"));
    }
}
