//! What is indexed and asked about: a folder of documentation, or made-up pages.

use std::path::Path;

use twinmcp_tests::docs;

/// Largest corpus that is read, in bytes.
const BYTES_MAX: u64 = 1 << 30;
/// Most questions; after the last comes the first again.
const QUESTIONS_MAX: usize = 2_000;
/// A heading with fewer letters asks nothing.
const QUESTION_CHARS: std::ops::RangeInclusive<usize> = 8..=200;

/// Documentation in one archive, and questions about it.
pub(crate) struct Corpus {
    pub(crate) archive: Vec<u8>,
    pub(crate) files: usize,
    pub(crate) questions: Vec<String>,
}

impl Corpus {
    /// Pages made up here, the same each time; asked for by the names of their sections.
    pub(crate) fn made_up(pages: usize) -> Self {
        Self::of(docs::made_up(pages, 10))
    }

    /// The files below `folder`; asked for by their headings.
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let (mut waiting, mut files, mut bytes) = (vec![folder.to_owned()], Vec::new(), 0);
        while let Some(path) = waiting.pop() {
            let about = path.symlink_metadata().map_err(|error| told(&path, error))?;
            if about.is_dir() {
                let entries = path.read_dir().map_err(|error| told(&path, error))?;
                waiting.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
            } else if about.is_file() {
                bytes += about.len();
                if bytes > BYTES_MAX {
                    return Err(format!("{} holds more than {BYTES_MAX} bytes", folder.display()));
                }
                let name = name_in(folder, &path)?;
                files.push((name, std::fs::read(&path).map_err(|error| told(&path, error))?));
            }
        }
        files.sort();
        let corpus = Self::of(files);
        if corpus.questions.is_empty() {
            return Err(format!("no page below {} has a heading to ask for", folder.display()));
        }
        Ok(corpus)
    }

    fn of(files: Vec<(String, Vec<u8>)>) -> Self {
        let mut questions: Vec<String> = files.iter().flat_map(|(_, bytes)| headings(bytes)).collect();
        questions.sort();
        questions.dedup();
        let step = (questions.len() / QUESTIONS_MAX).max(1);
        let questions = questions.into_iter().step_by(step).take(QUESTIONS_MAX).collect();
        Self { archive: docs::tar(&files), files: files.len(), questions }
    }
}

fn name_in(folder: &Path, path: &Path) -> Result<String, String> {
    let inside = path.strip_prefix(folder).map_err(|error| error.to_string())?;
    inside.to_str().map(str::to_owned).ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

/// Headings of a Markdown or HTML page, roughly: they are only questions to ask.
fn headings(page: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(page);
    let markdown =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#'));
    let html = ["<h1", "<h2", "<h3"].into_iter().flat_map(|tag| text.split(tag).skip(1)).filter_map(|rest| {
        let (_, inside) = rest.split_once('>')?;
        inside.split_once("</h").map(|(inside, _)| inside)
    });
    let mut headings: Vec<String> = markdown.chain(html).map(plain).collect();
    headings.retain(|heading| QUESTION_CHARS.contains(&heading.chars().count()));
    headings
}

/// The text without tags, on one line.
fn plain(text: &str) -> String {
    let mut inside = false;
    let letters = text.chars().filter(|letter| {
        match letter {
            '<' => inside = true,
            '>' => {
                inside = false;
                return false;
            }
            _ => {}
        }
        !inside
    });
    letters.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_of_both_formats_become_questions() {
        let page =
            b"# Title of it\n\ntext\n## A <em>second</em>\n<h2 id=\"x\">Third <code>one</code></h2>\n# No\n";
        assert_eq!(headings(page), ["Title of it", "A second", "Third one"]);
    }
}
