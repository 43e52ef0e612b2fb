//! The rows of `docs/negative-cases.md`: each is tested by a test that has its number in its name, or says why none is.
//!
//! Invariant: the document and the names are all there is; a row needs no second list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rows of the table.
const ROWS: u16 = 120;
const TABLE: &str = "docs/negative-cases.md";
/// Folders with tests.
const SOURCES: &[&str] = &["storage", "cluster", "actors", "node", "tests"];
/// How the last cell of a row that no test has begins.
const REASONS: &[&str] = &["not yet", "not applicable: "];

/// Every rule that is broken, as a sentence.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let mut tested = BTreeSet::new();
    for folder in SOURCES {
        for path in rust_files(&root.join(folder))? {
            tested.extend(rows_of_tests(&read(&path)?));
        }
    }
    Ok(compare(&table(&read(&root.join(TABLE))?), &tested))
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

/// The last cell of each row, by its number.
fn table(text: &str) -> BTreeMap<u16, &str> {
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix('|')?.split(" |");
        let number = cells.next()?.parse().ok()?;
        Some((number, cells.last()?.trim()))
    });
    rows.collect()
}

/// The rows that the names of tests have: `case_003_…`, `case_005_and_007_to_009_…`.
fn rows_of_tests(source: &str) -> BTreeSet<u16> {
    let mut rows = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((before, name)) = line.split_once("fn ")
            && matches!(before, "" | "async ")
        {
            if let Some(numbers) = name.strip_prefix("case_").filter(|_| is_test) {
                rows.extend(numbers_of(numbers));
            }
            is_test = false;
        }
    }
    rows
}

fn numbers_of(name: &str) -> Vec<u16> {
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
        rows.extend(from..=next(Some("to")).unwrap_or(from));
        first = next(Some("and"));
    }
    rows
}

fn compare(table: &BTreeMap<u16, &str>, tested: &BTreeSet<u16>) -> Vec<String> {
    let mut problems = Vec::new();
    for row in tested.iter().filter(|row| !(1..=ROWS).contains(*row)) {
        problems.push(format!("a test is named after row {row}, which {TABLE} does not have"));
    }
    for row in 1..=ROWS {
        let has_reason = |cell: &&str| REASONS.iter().any(|reason| cell.starts_with(reason));
        match (table.get(&row), tested.contains(&row)) {
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
            ("case_003_a_code", &[3][..]),
            ("case_001_and_002_a_code", &[1, 2]),
            ("case_005_and_007_to_009_and_120_nobody", &[5, 7, 8, 9, 120]),
            ("case_058_to_nobody", &[58]),
            ("case_58_x", &[]),
        ] {
            let source = format!("#[tokio::test]\nasync fn {name}() {{\n");
            assert_eq!(rows_of_tests(&source).into_iter().collect::<Vec<_>>(), rows, "{name}");
            assert!(rows_of_tests(&format!("    fn {name}() {{")).is_empty(), "{name} is no test");
        }
        let several =
            "#[test]\n#[expect(dead_code)]\nfn case_004_x() {\n#[test]\nfn y() {\nfn case_005_z() {";
        assert_eq!(rows_of_tests(several).into_iter().collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn a_row_without_test_and_reason_is_found_and_a_reason_with_one() {
        let mut text = String::from("| # | what |\n| ---: | --- |\n");
        for row in 1..=ROWS {
            let how = ["", "not yet", "not applicable: why", "by others"][usize::from(row % 4)];
            text.push_str(&format!("| {row} | `a` or b: c | refused | 6749, 1 | {how} |\n"));
        }
        let table = table(&text);
        assert_eq!((table.len(), table[&5], table[&7]), (120, "not yet", "by others"));
        let right: BTreeSet<u16> = (1..=ROWS).filter(|row| matches!(row % 4, 0 | 3)).collect();
        assert_eq!(compare(&table, &right), [""; 0]);
        let without: BTreeSet<u16> = right.iter().copied().filter(|row| *row != 7).collect();
        assert!(compare(&table, &without)[0].starts_with("row 7 has no test `case_007_…`"));
        let more = right.iter().copied().chain([6, 121]).collect();
        let told = compare(&table, &more);
        assert!(told[0].contains("row 121") && told[1].starts_with("row 6 has a test"), "{told:?}");
    }
}
