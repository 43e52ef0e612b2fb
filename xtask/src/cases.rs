//! The rows of `docs/negative-cases.md`: each is tested by a test that has its number in its name, or says why none is.
//!
//! Invariant: the document and the names are all there is; a row needs no second list.
//!
//! Names are all it reads: it cannot see whether a test does what its row says, or ends before it has begun (a program that is not there).
//! A test that is ignored counts as none. A row whose test does less says so in its last cell, which nobody checks but its reader.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rows of the table.
const ROWS: u16 = 120;
const TABLE: &str = "docs/negative-cases.md";
/// Rows of a range in a name: more are there by accident (`case_005_to_400_codes`).
const RANGE_ROWS_MAX: u16 = 10;
/// Folders with tests.
const SOURCES: &[&str] = &["storage", "cluster", "actors", "node", "tests"];
/// How the last cell of a row that no test has begins.
const REASONS: &[&str] = &["not yet", "not applicable: "];

/// Every rule that is broken, as a sentence.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let (mut tested, mut problems) = (BTreeSet::new(), Vec::new());
    for folder in SOURCES {
        for path in rust_files(&root.join(folder))? {
            for name in tests_of_rows(&read(&path)?) {
                match rows_of(&name) {
                    Ok(rows) => tested.extend(rows),
                    Err(problem) => problems.push(format!("{}: `case_{name}`: {problem}", path.display())),
                }
            }
        }
    }
    problems.extend(compare(&table(&read(&root.join(TABLE))?), &tested));
    Ok(problems)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let failed = |error| format!("cannot list {}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Number and last cell of each row.
fn table(text: &str) -> Vec<(u16, &str)> {
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix('|')?.split(" |");
        let number = cells.next()?.parse().ok()?;
        Some((number, cells.last()?.trim()))
    });
    rows.collect()
}

/// What the names of tests that run say behind `case_`: `003_…`, `005_and_007_to_009_…`.
fn tests_of_rows(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_ignored = true;
        } else if let Some((before, name)) = line.split_once("fn ")
            && matches!(before, "" | "async ")
        {
            let name = name.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric()).next();
            let rows = name.and_then(|name| name.strip_prefix("case_"));
            names.extend(rows.filter(|_| is_test && !is_ignored).map(str::to_owned));
            (is_test, is_ignored) = (false, false);
        }
    }
    names
}

/// The rows of a name, or why it can have none.
fn rows_of(name: &str) -> Result<Vec<u16>, String> {
    let mut words = name.split('_').peekable();
    let mut next = |link: Option<&str>| {
        let number = |word: &&str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(link) = link {
            words.next_if(|word| *word == link)?;
        }
        words.next_if(number)?.parse::<u16>().ok()
    };
    let mut rows = Vec::new();
    let mut first = next(None);
    while let Some(from) = first {
        let to = next(Some("to"));
        if to.is_some_and(|to| to <= from || to - from >= RANGE_ROWS_MAX) {
            return Err(format!("from row {from} to {} is no range: say `and`", to.unwrap_or_default()));
        }
        rows.extend(from..=to.unwrap_or(from));
        first = next(Some("and"));
    }
    Ok(rows)
}

fn compare(table: &[(u16, &str)], tested: &BTreeSet<u16>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut cells = BTreeMap::new();
    for (row, cell) in table {
        if !(1..=ROWS).contains(row) {
            problems.push(format!("{TABLE} has a row {row}, and ends with {ROWS}: change `ROWS` with it"));
        }
        if cells.insert(*row, *cell).is_some() {
            problems.push(format!("{TABLE} has row {row} twice"));
        }
    }
    for row in tested.iter().filter(|row| !(1..=ROWS).contains(*row)) {
        problems.push(format!("a test is named after row {row}, which {TABLE} does not have"));
    }
    for row in 1..=ROWS {
        let has_reason = |cell: &&str| REASONS.iter().any(|reason| cell.starts_with(reason));
        match (cells.get(&row), tested.contains(&row)) {
            (None, _) => problems.push(format!("{TABLE} has no row {row}")),
            (Some(cell), true) if has_reason(cell) => {
                problems.push(format!("row {row} has a test: take `{cell}` out of its last cell in {TABLE}"));
            }
            (Some(cell), false) if !has_reason(cell) => problems.push(format!(
                "row {row} has no test `case_{row:03}_…`: write one, or say in its last cell in {TABLE} why not ({REASONS:?})"
            )),
            _ => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_this_project_is_tested_or_says_why_not() {
        assert_eq!(check(&crate::root()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_name_has_one_row_or_several() {
        for (name, rows) in [
            ("003_a_code", &[3][..]),
            ("001_and_002_a_code", &[1, 2]),
            ("005_and_007_to_009_and_120_nobody", &[5, 7, 8, 9, 120]),
            ("058_to_nobody", &[58]),
            ("58_x", &[]),
        ] {
            assert_eq!(rows_of(name).unwrap(), rows, "{name}");
        }
        for name in ["005_to_003_x", "005_to_005_x", "005_to_015_x", "001_and_017_to_400_codes"] {
            assert!(rows_of(name).unwrap_err().contains("is no range"), "{name}");
        }
    }

    #[test]
    fn a_test_that_does_not_run_counts_as_none() {
        let source = "
            #[tokio::test]
            async fn case_003_x() {
            #[test]
            #[expect(dead_code)]
            fn case_004_x() {
            #[test]
            fn y() {
            fn case_005_x() {
            #[test]
            #[ignore = \"takes an hour\"]
            fn case_006_x() {
            #[ignore]
            #[tokio::test]
            async fn case_007_x() {
            #[test]
            fn case_008_x() {";
        assert_eq!(tests_of_rows(source), ["003_x", "004_x", "008_x"]);
    }

    #[test]
    fn a_row_without_test_and_reason_is_found_and_a_reason_with_one() {
        let mut text = String::from("| # | what |\n| ---: | --- |\n");
        for row in 1..=ROWS {
            let how = ["", "not yet", "not applicable: why", "by others"][usize::from(row % 4)];
            text.push_str(&format!("| {row} | `a` or b: c | refused | 6749, 1 | {how} |\n"));
        }
        let rows = table(&text);
        assert_eq!((rows.len(), rows[4], rows[6]), (120, (5, "not yet"), (7, "by others")));
        let right: BTreeSet<u16> = (1..=ROWS).filter(|row| matches!(row % 4, 0 | 3)).collect();
        assert_eq!(compare(&rows, &right), [""; 0]);
        let without: BTreeSet<u16> = right.iter().copied().filter(|row| *row != 7).collect();
        assert!(compare(&rows, &without)[0].starts_with("row 7 has no test `case_007_…`"));
        let more = right.iter().copied().chain([6, 121]).collect();
        let told = compare(&rows, &more);
        assert!(told[0].contains("row 121") && told[1].starts_with("row 6 has a test"), "{told:?}");
        let twice = [rows.as_slice(), &[(7, ""), (121, "")]].concat();
        let told = compare(&twice, &right);
        assert!(told[0].ends_with("has row 7 twice") && told[1].contains("has a row 121"), "{told:?}");
    }
}
