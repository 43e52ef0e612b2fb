//! One index job from its material to a bundle: fetch, parse, split, embed, build.
//!
//! Runs on one thread, away from the async ones. One page that cannot be read is counted and named,
//! and the job goes on; what fails the job is a source that cannot be read at all, a bundle that
//! cannot be written, or nothing to show in the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::KeyValue;
use tracing::info_span;
use twinmcp_storage::bundle::{
    Block, BundleBuilder, BundleDraft, BundleError, BundleStore, Embedder as BundleEmbedder, Label, Labels,
    Page, Snippet,
};
use twinmcp_storage::ids::{LibraryId, Version};
use twinmcp_storage::libraries::{Built, Facts};

use super::about::{About, Suspicious};
use super::code::{Code, Pages};
use super::fetch::{FetchError, Spool};
use super::invisible;
use super::metrics::Metrics;
use super::parse::{self, Document, ParseError, ParseLimits, Parsed, SkipReason, rust};
use super::reuse::Reuse;
use super::scan::scan;
use super::source::package::Ecosystem;
use super::source::{Kind, Source, SourceError, SourceFile, SourceLimits};
use super::split::{SplitSettings, split};
use crate::embedding::Embedder;
use crate::jobs::{PROBLEMS_MAX, Progress, Stage};

/// Characters of what a source says about itself that a job's report shows.
const SAID_SHOWN_CHARS: usize = 80;

/// What one job may read.
#[derive(Debug, Clone, Default)]
pub struct IngestLimits {
    /// Bounds of the source as a whole.
    pub source: SourceLimits,
    /// Bounds of one page.
    pub page: ParseLimits,
}

/// What a job reads, on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// An archive or a single document, as a file.
    Archive {
        /// Where it lies.
        path: PathBuf,
        /// What its sender called it.
        name: String,
    },
    /// A folder.
    Folder {
        /// Where it lies.
        path: PathBuf,
    },
    /// Pages of a web site, fetched before.
    Pages {
        /// Where they lie; goes with the last of its holders.
        spool: Arc<Spool>,
        /// Where the site begins.
        site: String,
    },
    /// Files of a git repository, fetched before.
    Repository {
        /// Where the archive lies; goes with the last of its holders.
        spool: Arc<Spool>,
        /// The files as an archive.
        archive: PathBuf,
        /// The repository, as a person opens it.
        url: String,
        /// Where its files can be opened, on hosts that are known.
        pages_at: Option<String>,
    },
}

impl Material {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Archive { path, .. } | Self::Folder { path } => path,
            Self::Pages { spool, .. } => spool.folder(),
            Self::Repository { archive, .. } => archive,
        }
    }

    /// Where it was fetched from.
    pub(super) fn origin(&self) -> Option<&str> {
        match self {
            Self::Archive { .. } | Self::Folder { .. } => None,
            Self::Pages { site, .. } => Some(site),
            Self::Repository { url, .. } => Some(url),
        }
    }

    /// Where its files can be opened, when that follows from where it was fetched.
    pub(super) fn files_at(&self) -> Option<&str> {
        match self {
            Self::Repository { pages_at, .. } => pages_at.as_deref(),
            Self::Archive { .. } | Self::Folder { .. } | Self::Pages { .. } => None,
        }
    }

    /// `message` as its sender may read it: where an archive lies on this node is nobody's business.
    pub(crate) fn public(&self, message: &str) -> String {
        match self {
            Self::Archive { path, name } => message.replace(&*path.to_string_lossy(), name),
            Self::Folder { .. } => message.to_owned(),
            Self::Pages { spool, site } => message.replace(&*spool.folder().to_string_lossy(), site),
            Self::Repository { archive, url, .. } => message.replace(&*archive.to_string_lossy(), url),
        }
    }
}

/// One job, as far as building goes.
pub(crate) struct Task<'a> {
    pub(crate) library: &'a LibraryId,
    pub(crate) version: &'a Version,
    pub(crate) material: &'a Material,
    /// What fetching said about pages that were left out or failed.
    pub(crate) fetched: &'a Progress,
    /// Where the pages are published, if anybody said.
    pub(crate) base_url: Option<&'a str>,
    pub(crate) limits: &'a IngestLimits,
    pub(crate) embedder: &'a dyn Embedder,
    pub(crate) bundles: &'a BundleStore,
    /// The bundle of the version before, in hex: what is the same in it is not embedded again.
    pub(crate) before: Option<&'a str>,
    /// Asked between pages.
    pub(crate) is_cancelled: &'a dyn Fn() -> bool,
    /// Told between pages.
    pub(crate) report: &'a dyn Fn(Progress),
}

/// Why no bundle was built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngestError {
    /// Somebody cancelled the job.
    #[error("cancelled")]
    Cancelled,
    /// The source cannot be read at all.
    #[error("failed to read the source")]
    Source(#[from] SourceError),
    /// The bundle cannot be written.
    #[error("failed to write the bundle")]
    Bundle(#[from] BundleError),
    /// Nothing to show.
    #[error(
        "found no documentation: {skipped} files were left out and {failed} could not be read; \
         documentation is Markdown, HTML, reStructuredText, AsciiDoc, plain text, Jupyter notebooks, OpenAPI documents, \
         or the doc comments of a Rust, TypeScript or Python package"
    )]
    Nothing {
        /// Files left out.
        skipped: u64,
        /// Pages that could not be read.
        failed: u64,
    },
    /// The archive is not the one that was sent.
    #[error("the archive was damaged on this node's disk after it was sent; send it again")]
    DamagedUpload,
    /// The thread that built it ended.
    #[error("indexing was interrupted: {reason}")]
    Interrupted {
        /// How.
        reason: String,
    },
}

/// Builds the bundle of one library version.
pub(crate) fn build(task: &Task<'_>) -> Result<(Facts, Built), IngestError> {
    let started = Instant::now();
    let metrics = Metrics::new();
    let result = Run::open(task, started).and_then(Run::finish);
    match &result {
        Ok(_) => metrics.built(started.elapsed()),
        Err(IngestError::Cancelled) => {}
        Err(error) => metrics.failed(stage_of(error), reason_of(error)),
    }
    result
}

/// Counts a job whose source was not fetched.
pub(crate) fn not_fetched(error: &FetchError) {
    Metrics::new().failed(KeyValue::new("stage", "fetch"), error.reason());
}

fn stage_of(error: &IngestError) -> KeyValue {
    KeyValue::new(
        "stage",
        match error {
            IngestError::Source(_) | IngestError::DamagedUpload => "fetch",
            IngestError::Bundle(_) => "build",
            IngestError::Nothing { .. } => "parse",
            IngestError::Cancelled | IngestError::Interrupted { .. } => "interrupted",
        },
    )
}

/// Why a job failed, from a closed list.
fn reason_of(error: &IngestError) -> &'static str {
    match error {
        IngestError::Source(error) => error.code(),
        IngestError::Bundle(_) => "bundle",
        IngestError::DamagedUpload => "damaged_upload",
        IngestError::Nothing { .. } => "no_documentation",
        IngestError::Cancelled => "cancelled",
        IngestError::Interrupted { .. } => "interrupted",
    }
}

/// The state of a job between pages.
struct Run<'a> {
    task: &'a Task<'a>,
    about: About,
    source: Source,
    code: Code,
    /// Whether the source has a readme of its own, which its metadata may repeat.
    has_readme: bool,
    bundle: BundleBuilder,
    reuse: Option<Reuse>,
    /// Snippets that were embedded, and those whose vectors were there already.
    embedded: u64,
    reused: u64,
    progress: Progress,
    started: Instant,
}

impl<'a> Run<'a> {
    fn open(task: &'a Task<'a>, started: Instant) -> Result<Self, IngestError> {
        let _span = info_span!("ingest.fetch").entered();
        (task.report)(Progress { stage: Stage::Fetch, ..task.fetched.clone() });
        let about = About::read(task.material, task.library, task.version, task.base_url);
        let (path, limits) = (task.material.path(), task.limits.source.clone());
        let is_crate = about.packages().iter().any(|package| package.ecosystem == Ecosystem::Crates);
        let source = match task.material {
            Material::Pages { .. } => Source::open_pages(path, limits)?,
            _ if is_crate => Source::open_package(path, limits)?,
            Material::Archive { name, .. } => Source::open_named(path, name, limits)?,
            Material::Folder { .. } | Material::Repository { .. } => Source::open(path, limits)?,
        };
        let code = Code::of(about.packages(), &task.limits.page);
        let embedder = BundleEmbedder {
            id: task.embedder.id().to_owned(),
            dimensions: u32::try_from(task.embedder.dimensions()).unwrap_or(u32::MAX),
        };
        let bundle = task.bundles.builder(BundleDraft {
            library: task.library.to_string(),
            version: task.version.to_string(),
            embedder: Some(embedder),
        })?;
        let reuse = task.before.and_then(|before| Reuse::open(task.bundles, before, task.embedder.id()));
        let progress = Progress {
            stage: Stage::Index,
            pages_total: Some(source.files_total() as u64),
            skipped: task.fetched.skipped,
            failed: task.fetched.failed,
            problems: task.fetched.problems.clone(),
            left_out: task.fetched.left_out.clone(),
            ..Progress::default()
        };
        Ok(Self {
            task,
            about,
            source,
            code,
            has_readme: false,
            bundle,
            reuse,
            embedded: 0,
            reused: 0,
            progress,
            started,
        })
    }

    fn finish(mut self) -> Result<(Facts, Built), IngestError> {
        {
            let _span = info_span!("ingest.index").entered();
            while let Some(file) = self.source.next() {
                if (self.task.is_cancelled)() {
                    return Err(IngestError::Cancelled);
                }
                self.page(&file?)?;
                self.tell();
            }
            self.readme()?;
            self.code_pages()?;
            self.suspicious();
        }
        for (skip, count) in self.source.report().counts() {
            self.progress.skipped += *count as u64;
            *self.progress.left_out.entry(skip.code()).or_default() += *count as u64;
        }
        self.task_metrics();
        (self.task.report)(self.progress.clone());
        if self.progress.snippets == 0 {
            let Progress { skipped, failed, .. } = self.progress;
            return Err(IngestError::Nothing { skipped, failed });
        }
        self.progress.stage = Stage::Build;
        (self.task.report)(self.progress.clone());
        let _span = info_span!("ingest.build").entered();
        Metrics::new().snippets(self.embedded, self.reused);
        let built = self.bundle.finish()?;
        if (self.task.is_cancelled)() {
            return Err(IngestError::Cancelled);
        }
        let built = Built {
            bundle: built.hash.to_string(),
            bundle_bytes: built.bytes,
            pages: built.pages,
            snippets: built.snippets,
            tokens: built.tokens,
            embedder: self.task.embedder.id().to_owned(),
        };
        Ok((self.about.facts, built))
    }

    /// Adds one page; a page that cannot be read is noted, not an error.
    fn page(&mut self, file: &SourceFile) -> Result<(), IngestError> {
        if !self.about.includes(&file.path) {
            self.skip("not_wanted");
            return Ok(());
        }
        let (code, limits) = (&mut self.code, &self.task.limits.page);
        // The parsers do not panic as far as tests and fuzzing can tell; if one does, it costs a page.
        let parsed = catch_unwind(AssertUnwindSafe(|| read(file, code, limits)));
        self.has_readme |= file.path.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("readme"));
        match parsed {
            Ok(Ok(Read::Page(document))) => {
                self.progress.pages += 1;
                for repair in &document.repairs {
                    *self.progress.left_out.entry(repair.code()).or_default() += 1;
                }
                self.document(file.kind, &document, file.url.as_deref())?;
            }
            Ok(Ok(Read::Module)) => self.progress.pages += 1,
            Ok(Ok(Read::Nothing(reason))) => self.skip(reason),
            Ok(Err(error)) => self.problem(&file.path, error.code(), &error.to_string()),
            Err(_) => self.problem(&file.path, "parser", "the parser gave up"),
        }
        Ok(())
    }

    fn skip(&mut self, reason: &'static str) {
        self.progress.skipped += 1;
        *self.progress.left_out.entry(reason).or_default() += 1;
    }

    /// Tells the metrics what was left out and what was labelled.
    fn task_metrics(&self) {
        let metrics = Metrics::new();
        self.progress.left_out.iter().for_each(|(reason, count)| metrics.left_out(reason, *count));
        self.progress.labelled.iter().for_each(|(label, count)| metrics.labelled(label, *count));
    }

    /// Adds the readme that is part of a package's metadata, when no file holds it.
    fn readme(&mut self) -> Result<(), IngestError> {
        let readme = self.about.packages().iter().find_map(|package| package.readme.clone());
        let Some((name, text)) = readme.filter(|_| !self.has_readme) else { return Ok(()) };
        let (path, bytes) = (name.to_owned(), text.into_bytes());
        self.page(&SourceFile { path, kind: Kind::Page, bytes, url: None })
    }

    /// Adds the pages made of doc comments.
    fn code_pages(&mut self) -> Result<(), IngestError> {
        let code = std::mem::take(&mut self.code);
        self.about.called(code.import_names());
        for Pages { kind, documents } in code.finish() {
            match documents {
                Some(documents) => {
                    documents.iter().try_for_each(|document| self.document(kind, document, None))?;
                }
                None => self.problem("doc comments", "parser", "the parser gave up"),
            }
        }
        Ok(())
    }

    /// Leaves out a title, a description and rules that the scan labels: an agent chooses by the first two, shown without
    /// labels, and follows the last, so that a label beside it would come too late.
    fn suspicious(&mut self) {
        for Suspicious { what, reason, text, labels } in self.about.take_suspicious() {
            *self.progress.left_out.entry(reason).or_default() += 1;
            if self.progress.problems.len() < PROBLEMS_MAX {
                let names: Vec<_> = labels.iter().map(Label::name).collect();
                let start: String = text.chars().take(SAID_SHOWN_CHARS).collect();
                let told = format!("{what} \"{start}\" was left out ({})", names.join(", "));
                self.progress.problems.push(told);
            }
        }
    }

    fn document(&mut self, kind: Kind, document: &Document, url: Option<&str>) -> Result<(), IngestError> {
        let mut title = document.title.clone();
        invisible::clean(&mut title);
        let url = url.map_or_else(|| self.about.url(kind, &document.path), str::to_owned);
        let page = Page { path: document.path.clone(), url, title };
        let embedder = self.task.embedder;
        let count_tokens = |text: &str| embedder.count_tokens(text);
        let number = self.bundle.add_page(page)?;
        for mut snippet in split(document, number, &SplitSettings::default(), &count_tokens) {
            let labels = cleaned(&mut snippet);
            let text = snippet.text();
            let known = self.reuse.as_ref().and_then(|reuse| reuse.find(&snippet.heading_path, &text));
            *if known.is_some() { &mut self.reused } else { &mut self.embedded } += 1;
            let embedding = known.or_else(|| embedder.embed_snippet(&snippet.heading_path, &text));
            if let Some(embedding) = &embedding {
                snippet.tokens = u32::try_from(embedding.tokens).unwrap_or(u32::MAX);
            }
            let vector = embedding.as_ref().map(|embedding| embedding.vector.as_slice());
            match self.bundle.add_labelled(&snippet, vector, labels) {
                Ok(_) => {
                    self.progress.snippets += 1;
                    labels
                        .iter()
                        .for_each(|label| *self.progress.labelled.entry(label.name()).or_default() += 1);
                }
                Err(BundleError::Limit { .. }) => {
                    self.problem(&document.path, "too_large", "one snippet is too large");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn problem(&mut self, path: &str, reason: &'static str, sentence: &str) {
        self.progress.failed += 1;
        *self.progress.left_out.entry(reason).or_default() += 1;
        if self.progress.problems.len() < PROBLEMS_MAX {
            self.progress.problems.push(format!("{path}: {sentence}"));
        }
    }

    fn tell(&mut self) {
        let progress = &mut self.progress;
        let fetched = self.task.fetched.skipped + self.task.fetched.failed;
        let looked_at = (progress.pages + progress.skipped + progress.failed).saturating_sub(fetched);
        let elapsed = self.started.elapsed().as_secs_f64();
        progress.pages_per_second = if elapsed > 0.0 { progress.pages as f64 / elapsed } else { 0.0 };
        let left = progress.pages_total.map(|total| total.saturating_sub(looked_at) as f64);
        progress.seconds_left = left.filter(|_| looked_at > 0).map(|left| left * elapsed / looked_at as f64);
        (self.task.report)(progress.clone());
    }
}

/// What became of a file.
enum Read {
    Page(Document),
    /// A source, whose documentation follows with the whole package's.
    Module,
    /// Nothing to index, for a reason that is no fault.
    Nothing(&'static str),
}

/// Takes out what nobody sees, and says what is suspicious about the rest.
pub(crate) fn cleaned(snippet: &mut Snippet) -> Labels {
    let mut deceptive = 0;
    let texts = snippet.blocks.iter_mut().map(|block| match block {
        Block::Prose(text) | Block::Code { code: text, .. } => text,
    });
    for text in texts.chain(&mut snippet.heading_path).chain(&mut snippet.anchors) {
        deceptive += invisible::clean(text).deceptive;
    }
    let mut labels = scan(snippet);
    if deceptive > 0 {
        labels.insert(Label::HiddenText);
    }
    labels
}

fn read(file: &SourceFile, code: &mut Code, limits: &ParseLimits) -> Result<Read, ParseError> {
    match file.kind {
        Kind::Page => Ok(match parse::parse(&file.path, &file.bytes, limits)? {
            Parsed::Document(document) => Read::Page(document),
            Parsed::Skipped(reason) => Read::Nothing(reason.code()),
        }),
        Kind::RustExample => {
            rust::example(&file.path, &String::from_utf8_lossy(&file.bytes), limits).map(Read::Page)
        }
        Kind::RustSource | Kind::TypeScript | Kind::Python => {
            Ok(if code.add(file)? { Read::Module } else { Read::Nothing(SkipReason::UnknownFormat.code()) })
        }
    }
}
