//! Files made to break whoever reads them, each with what has to become of it.
//!
//! Everything is made here, from a few lines each. Names of reasons are those that jobs and metrics
//! count (`Progress::left_out`). A case that is indexed and counts nothing is taken as the text it is: `docs/sources.md` says
//! which these are.

use std::io::Write;

/// What [`cases`] expect of the reader: entries it looks at in one source.
pub(super) const ENTRIES_MAX: usize = 5_000;
/// And bytes an archive may unpack to.
pub(super) const UNPACKED_BYTES_MAX: u64 = 16 << 20;

/// One hostile file.
pub(super) struct Case {
    /// What it tries.
    pub(super) name: &'static str,
    /// The name it is sent under.
    pub(super) file: &'static str,
    /// The file.
    pub(super) bytes: Vec<u8>,
    /// What has to become of it.
    pub(super) outcome: Outcome,
    /// Files that have to be counted as left out, by reason.
    pub(super) left_out: Vec<(&'static str, u64)>,
    /// Text that has to be in what was indexed.
    pub(super) kept: &'static str,
}

/// What has to become of a file.
pub(super) enum Outcome {
    /// The job fails, with these words in its message.
    Refused(&'static str),
    /// The job is done: what is harmless in it is documentation.
    Indexed,
}

/// One hostile site map. The site has one page besides, which is documentation.
pub(super) struct SiteMap {
    /// What it tries.
    pub(super) name: &'static str,
    /// Its bytes as they are sent.
    pub(super) bytes: Vec<u8>,
    /// The header `Content-Encoding`; empty for none.
    pub(super) encoding: &'static str,
    /// What is counted once as left out.
    pub(super) reason: &'static str,
    /// Words of the problem that the job's report names.
    pub(super) says: &'static str,
    /// Whether it is a refused request, which the guard counts too.
    pub(super) is_refused: bool,
}

const NOTHING: Outcome = Outcome::Refused("found no documentation");
const BOMB: Outcome = Outcome::Refused("unpacks to more than");

/// The whole corpus.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = archives();
    cases.extend(paths());
    cases.extend(nesting());
    cases.extend(text());
    cases
}

fn case(name: &'static str, file: &'static str, bytes: impl Into<Vec<u8>>, outcome: Outcome) -> Case {
    Case { name, file, bytes: bytes.into(), outcome, left_out: Vec::new(), kept: "" }
}

/// Site maps that unpack to more than anybody has, or expand.
pub(super) fn site_maps() -> Vec<SiteMap> {
    let bomb = spaces_after("<urlset><url><loc>/docs/</loc></url>", 60);
    let entities = entities_of_entities();
    let laughs = format!(
        "<!DOCTYPE urlset [<!ENTITY e0 \"ha\">{entities}]>\
         <urlset><url><loc>/docs/&e59;</loc></url><url><loc>/docs/page</loc></url></urlset>"
    );
    let too_far = |name, encoding| SiteMap {
        name,
        bytes: bomb.clone(),
        encoding,
        reason: "unpacked_ratio",
        says: "unpacks to more than 200 times its size",
        is_refused: true,
    };
    vec![
        too_far("a site map that is a gzip bomb", ""),
        too_far("a site map that is sent as a gzip bomb", "gzip"),
        SiteMap {
            name: "a site map with entities of entities",
            bytes: laughs.into_bytes(),
            encoding: "",
            reason: "xml_entities",
            says: "pages whose addresses hold entities were left out (1)",
            is_refused: false,
        },
    ]
}

impl Case {
    fn leaving_out(mut self, reason: &'static str, count: u64) -> Self {
        self.left_out.push((reason, count));
        self
    }

    fn keeping(mut self, text: &'static str) -> Self {
        self.kept = text;
        self
    }
}

/// Archives that unpack to more than anybody has.
fn archives() -> Vec<Case> {
    let zeros = vec![b'0'; 20 << 20];
    let bomb = tar(&[("a.md", &zeros)]);
    let inner = zip(&[("a.md", &zeros)]);
    let many: Vec<u8> =
        (0..=ENTRIES_MAX).flat_map(|at| entry(format!("{at}.md").as_bytes(), b'0', b"")).collect();
    vec![
        case("a flat zip bomb", "a.zip", zip(&[("a.md", &zeros)]), NOTHING).leaving_out("too_large", 1),
        case(
            "a zip of zip bombs",
            "a.zip",
            zip(&[("b.zip", &inner), ("good.md", b"# Good\n\nText.")]),
            Outcome::Indexed,
        )
        .leaving_out("not_documentation", 1),
        case("a zip whose entries share their bytes", "a.zip", overlapping(300), BOMB),
        case("a zip that lies about sizes", "a.zip", lying(), NOTHING).leaving_out("unreadable", 1),
        case("a gzip bomb", "a.tar.gz", gzip(&bomb), BOMB),
        case("a zstd bomb", "a.tar.zst", zstd::stream::encode_all(&bomb[..], 3).unwrap_or_default(), BOMB),
        case(
            "more files than anybody writes",
            "a.tar.gz",
            gzip(&many),
            Outcome::Refused("more than 5000 files"),
        ),
        case("a zip cut short", "a.zip", inner[..inner.len() / 2].to_vec(), Outcome::Refused("damaged")),
        case("a gzip of nothing", "a.tar.gz", gzip(b"no archive"), Outcome::Refused("damaged")),
    ]
}

/// Entries that try to leave the archive, or are no files.
fn paths() -> Vec<Case> {
    let names: [&[u8]; 10] = [
        b"../evil.md",
        b"/etc/evil.md",
        b"a/../../evil.md",
        b"C:/evil.md",
        b"a\\..\\evil.md",
        b"a/./evil.md",
        b"bad\xff.md",
        b"new\nline.md",
        "gui\u{202e}de.md".as_bytes(),
        "zero\u{200b}width.md".as_bytes(),
    ];
    let mut traversal: Vec<u8> =
        names.iter().flat_map(|name| entry(name, b'0', b"# Evil\n\nText.")).collect();
    traversal.extend(entry(b"good.md", b'0', b"# Good\n\nText."));
    let mut special = Vec::new();
    for kind in *b"123456" {
        special.extend(entry(b"special.md", kind, b""));
    }
    special.extend(entry(b"good.md", b'0', b"# Good\n\nText."));
    let slips = zip(&[
        ("../evil.md", b"x"),
        ("..\\..\\evil.md", b"x"),
        ("/evil.md", b"x"),
        ("good.md", b"# Good\n\nText."),
    ]);
    vec![
        case("tar paths that leave it", "a.tar", traversal, Outcome::Indexed).leaving_out("unsafe_path", 10),
        case("zip paths that leave it", "a.zip", slips, Outcome::Indexed).leaving_out("unsafe_path", 3),
        // Hard link, symbolic link; two devices, a folder, a pipe.
        case("links, devices and pipes", "a.tar", special, Outcome::Indexed)
            .leaving_out("link", 2)
            .leaving_out("special", 3),
    ]
}

/// Pages that nest deeper than any stack, or expand.
fn nesting() -> Vec<Case> {
    let mut laughs = "openapi: 3.0.0\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        laughs
            .push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")));
    }
    let echoes =
        format!("openapi: 3.0.0\na: &a \"{}\"\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 2_000].join(", "));
    let entities = entities_of_entities();
    let notes: String = (0..1_000).map(|depth| format!("{}.. note::\n\n", " ".repeat(depth))).collect();
    vec![
        case("deep HTML", "a.html", format!("{}text", "<div><ul><li>".repeat(50_000)), Outcome::Indexed)
            .leaving_out("deep_nesting", 1)
            .keeping("text"),
        case(
            "HTML with entities of entities",
            "a.html",
            format!("<!DOCTYPE html [<!ENTITY e0 \"ha\">{entities}]><p>&e59; text</p>"),
            Outcome::Indexed,
        )
        .keeping("&e59; text"),
        case("deep quotes", "a.md", format!("# H\n\n{} text", ">".repeat(20_000)), Outcome::Indexed)
            .keeping("text"),
        case("deep lists", "a.md", format!("# H\n\n{}text", "- ".repeat(5_000)), Outcome::Indexed)
            .keeping("text"),
        case("open brackets", "a.md", format!("# H\n\n{} text", "[![".repeat(50_000)), Outcome::Indexed)
            .keeping("text"),
        case(
            "deep reStructuredText",
            "a.rst",
            format!("H\n=\n\n{notes}{}text\n", " ".repeat(1_000)),
            Outcome::Indexed,
        )
        .keeping("text"),
        case(
            "deep AsciiDoc",
            "a.adoc",
            format!("= H\n\n{}text\n", "====\n".repeat(50_000)),
            Outcome::Indexed,
        )
        .keeping("text"),
        case("a deep notebook", "a.ipynb", format!("{{\"cells\": {}", "[".repeat(100_000)), NOTHING)
            .leaving_out("syntax", 1),
        case(
            "deep JSON",
            "a.json",
            format!("{{\"openapi\": \"3.0.0\", \"a\": {}", "[".repeat(100_000)),
            NOTHING,
        )
        .leaving_out("syntax", 1),
        case("YAML of aliases of aliases", "a.yaml", laughs, NOTHING).leaving_out("syntax", 1),
        case("YAML of one long text again and again", "a.yaml", echoes, NOTHING).leaving_out("syntax", 1),
        case("deep YAML", "a.yaml", format!("openapi: 3.0.0\na: {}", "[".repeat(100_000)), NOTHING)
            .leaving_out("syntax", 1),
        case("YAML that is no documentation", "a.yaml", "a: 1\n", NOTHING).leaving_out("unknown_format", 1),
    ]
}

/// Bytes that are no text, and text that is too much.
fn text() -> Vec<Case> {
    // As good as random, with words in between.
    let noise = (1_u32..).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).take(8_192);
    let image =
        [b"\x89PNG\r\n\x1a\n".as_slice(), &noise.collect::<Vec<u8>>(), b"\n\n# Words\n\nin between\n"]
            .concat();
    let utf16: Vec<u8> = "\u{feff}# Größe\n\nText.".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let headings: String = (0..60_000).map(|at| format!("# H{at}\n\nx\n\n")).collect();
    vec![
        case(
            "invalid UTF-8",
            "a.md",
            b"# H\xff\xfe\n\n\xc3\x28 text \xed\xa0\x80".to_vec(),
            Outcome::Indexed,
        )
        .leaving_out("broken_encoding", 1),
        case(
            "UTF-8 that breaks off",
            "a.md",
            "# Größe\n\nTäxt ä".as_bytes()[..18].to_vec(),
            Outcome::Indexed,
        )
        .leaving_out("broken_encoding", 1),
        case("UTF-16", "a.md", utf16, Outcome::Indexed).keeping("Größe"),
        case("NUL bytes", "a.md", b"# H\0\n\nte\0xt\0".to_vec(), Outcome::Indexed)
            .leaving_out("nul_characters", 1)
            .keeping("text"),
        case("a program named as a page", "a.md", vec![0; 4_096], NOTHING).leaving_out("no_text", 1),
        case("an image named as a page", "a.md", image, NOTHING).leaving_out("binary", 1),
        case("one enormous line", "a.md", "word ".repeat(800_000), Outcome::Indexed),
        case("one enormous word", "a.txt", "w".repeat(4_000_000), NOTHING).leaving_out("too_large", 1),
        case("headings without end", "a.md", headings, Outcome::Indexed),
        case("a page beyond the limit", "a.md", vec![b'a'; (8 << 20) + 1], NOTHING)
            .leaving_out("too_large", 1),
        case("an empty page", "a.md", "", NOTHING).leaving_out("no_text", 1),
    ]
}

/// A tar archive of regular files.
pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        files.iter().flat_map(|(path, content)| entry(path.as_bytes(), b'0', content)).collect();
    bytes.extend([0; 1024]);
    bytes
}

/// One entry of a tar archive, whatever its path: writers refuse the ones that are needed here (POSIX.1-1988 ustar).
fn entry(path: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    block[..path.len()].copy_from_slice(path);
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[148..156].copy_from_slice(b"        ");
    block[156] = kind;
    if matches!(kind, b'1' | b'2') {
        block[157..168].copy_from_slice(b"/etc/passwd");
    }
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// Declarations of entities, each of which is the one before twice.
fn entities_of_entities() -> String {
    (1..60).map(|level| format!("<!ENTITY e{level} \"&e{0};&e{0};\">", level - 1)).collect()
}

/// `text` and so many MiB of spaces, packed by and by: whoever makes a bomb needs no memory for it.
fn spaces_after(text: &str, mebibytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let spaces = vec![b' '; 1 << 20];
    let written = encoder.write_all(text.as_bytes());
    let written = written.and_then(|()| (0..mebibytes).try_for_each(|_| encoder.write_all(&spaces)));
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (path, content) in files {
        if writer.start_file(*path, options).is_ok() {
            let _ = writer.write_all(content);
        }
    }
    writer.finish().map(std::io::Cursor::into_inner).unwrap_or_default()
}

/// A zip whose directory names the same bytes again and again (Fifield, "A better zip bomb", WOOT 2019).
fn overlapping(entries: usize) -> Vec<u8> {
    let zeros = vec![b'0'; 4 << 20];
    let one = zip(&[("0000.md", &zeros)]);
    let directory = one.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap_or(0);
    let end = one.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap_or(one.len());
    let (record, tail) = (&one[directory..end], &one[end..]);
    let mut bytes = one[..directory].to_vec();
    for at in 0..entries {
        let mut record = record.to_vec();
        record[46..50].copy_from_slice(format!("{at:04}").as_bytes());
        bytes.extend(record);
    }
    let mut tail = tail.to_vec();
    let count = u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes();
    tail[8..10].copy_from_slice(&count);
    tail[10..12].copy_from_slice(&count);
    tail[12..16].copy_from_slice(&u32::try_from(record.len() * entries).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(tail);
    bytes
}

/// A zip whose directory says ten bytes where there are millions.
fn lying() -> Vec<u8> {
    let content = vec![b'0'; 12 << 20];
    let mut bytes = zip(&[("a.md", &content)]);
    let real = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
    let places: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, window)| *window == real).map(|(at, _)| at).collect();
    for at in places {
        bytes[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    bytes
}
