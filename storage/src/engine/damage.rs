//! Bits that flip on disk, in every kind of file an engine keeps: what was written is read again, or an error
//! says what is wrong. Never something else.
//!
//! Flips: `TWINMCP_FLIPS` a file, 3 unless set; `TWINMCP_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use super::{Batch, Durability, Engine, EngineKind, FjallOptions, Keyspace, Pair, StorageError};

const ENGINE: &str = "TWINMCP_DAMAGED_ENGINE";
const FOLDER: &str = "TWINMCP_DAMAGED_FOLDER";
/// What the child puts before what it read.
const FOUND: &str = "found ";

type Contents = BTreeMap<&'static str, Vec<Pair>>;

/// A small source of chance that a seed repeats (xorshift64*, Vigna 2016).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn chance() -> Chance {
    let seed = variable("TWINMCP_SEED").unwrap_or_else(|| u64::from(std::process::id()) | 1 << 40);
    println!("TWINMCP_SEED={seed}");
    Chance(seed)
}

fn open(kind: EngineKind, path: &Path) -> Result<std::sync::Arc<dyn Engine>, StorageError> {
    kind.open(path, Keyspace::STATE, &FjallOptions::default())
}

/// Tables, a journal behind them, and removed keys: two closed lives and one that was cut off. Answers what was there
/// before the last batch, and after it.
fn write(kind: EngineKind, path: &Path) -> [Contents; 2] {
    for life in 0..2 {
        let engine = open(kind, path).unwrap();
        (0..40).for_each(|number| commit(&*engine, life, number));
        engine.close().unwrap();
    }
    let engine = open(kind, path).unwrap();
    (0..39).for_each(|number| commit(&*engine, 2, number));
    let before = read(&*engine).unwrap();
    commit(&*engine, 2, 39);
    engine.sync().unwrap();
    [before, read(&*engine).unwrap()]
}

fn commit(engine: &dyn Engine, life: u32, number: u32) {
    let mut batch = Batch::new();
    for space in [Keyspace::Accounts, Keyspace::Libraries, Keyspace::Jobs] {
        batch.put(space, format!("key {}", number * 7 % 60), format!("value {life} {number} ").repeat(9));
        batch.remove(space, format!("key {}", number * 3 % 60));
    }
    let durability = if number.is_multiple_of(8) { Durability::Synced } else { Durability::Buffered };
    engine.commit(batch, durability).unwrap();
}

fn read(engine: &dyn Engine) -> Result<Contents, StorageError> {
    let scan = |space: &Keyspace| Ok((space.name(), engine.scan(*space, &[], None, usize::MAX)?));
    Keyspace::STATE.iter().map(scan).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Copies a database, and answers where to.
fn copied(from: &Path, to: &Path) -> PathBuf {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
    // Folders that hold nothing belong to the database too.
    fs::create_dir_all(to.join("blobs")).unwrap();
    to.to_owned()
}

/// Flips one bit among the bytes that are not the zeros at a file's end.
fn flip(path: &Path, chance: &mut Chance) -> Option<u64> {
    let mut bytes = fs::read(path).unwrap();
    let zeros = bytes.rchunks_exact(4096).take_while(|block| **block == [0; 4096]).count() * 4096;
    let filled = bytes.len() - zeros;
    let used = bytes[..filled].iter().rposition(|byte| *byte != 0)? as u64 + 1;
    let at = chance.below(used);
    bytes[usize::try_from(at).unwrap()] ^= 1 << chance.below(8);
    fs::write(path, bytes).unwrap();
    Some(at)
}

/// Not a test by itself: an engine may end the process over damage, so another one reads.
#[test]
fn reading_child() {
    let (Ok(kind), Ok(folder)) = (std::env::var(ENGINE), std::env::var(FOLDER)) else { return };
    match open(kind.parse().unwrap(), Path::new(&folder)).and_then(|engine| read(&*engine)) {
        Ok(contents) => println!("\n{FOUND}{contents:?}"),
        Err(error) => println!("\n{error}"),
    }
}

/// What the child prints that reads `folder`.
fn read_elsewhere(kind: EngineKind, folder: &Path) -> String {
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["engine::damage::reading_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ENGINE, kind.name())
        .env(FOLDER, folder)
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Whether what lies in `damaged` is read as it was `written`; else an error told of it. Nothing else is right.
fn is_read_again(kind: EngineKind, damaged: &Path, written: &BTreeSet<&str>, what: &str) -> bool {
    let output = read_elsewhere(kind, damaged);
    if let Some(found) = output.lines().find_map(|line| line.strip_prefix(FOUND)) {
        assert!(written.contains(found), "{what}: silently something else");
        return true;
    }
    let text = damaged.to_string_lossy();
    let is_told = |line: &str| line.contains(&*text) && line.contains(": stop the node");
    assert!(output.lines().any(is_told), "{what}: {output}");
    false
}

/// The last batch may be missing, whole: damage to it looks as if it had been torn, and the log of the cluster has it.
#[test]
fn a_flipped_bit_in_any_file_of_fjall_is_found_out_or_harmless() {
    let (kind, flips) = (EngineKind::Fjall, variable("TWINMCP_FLIPS").unwrap_or(3));
    let mut chance = chance();
    let folder = tempfile::tempdir().unwrap();
    let origin = folder.path().join("origin");
    let written = write(kind, &origin).map(|contents| format!("{contents:?}"));
    let written = BTreeSet::from(written.each_ref().map(String::as_str));
    let whole = read_elsewhere(kind, &copied(&origin, &folder.path().join("whole")));
    assert!(whole.lines().any(|line| line.strip_prefix(FOUND).is_some_and(|found| written.contains(found))));
    let (mut read_again, mut told) = (0, 0);
    for file in files(&origin) {
        let name = file.strip_prefix(&origin).unwrap().to_owned();
        for _ in 0..flips {
            let damaged = copied(&origin, &folder.path().join("damaged"));
            let Some(at) = flip(&damaged.join(&name), &mut chance) else { continue };
            match is_read_again(kind, &damaged, &written, &format!("{} at {at}", name.display())) {
                true => read_again += 1,
                false => told += 1,
            }
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
    println!("{}: {read_again} read again, {told} told", kind.name());
    assert!(read_again + told > 20 && told > 0, "{read_again} {told}");
}

/// A journal is another matter: it ends where a crash has cut it.
#[test]
fn a_file_of_fjall_that_is_cut_short_is_found_out_or_harmless() {
    let kind = EngineKind::Fjall;
    let mut chance = chance();
    let folder = tempfile::tempdir().unwrap();
    let origin = folder.path().join("origin");
    let written = write(kind, &origin).map(|contents| format!("{contents:?}"));
    let written = BTreeSet::from(written.each_ref().map(String::as_str));
    let mut told = 0;
    for file in files(&origin).iter().filter(|file| file.extension().is_none_or(|kind| kind != "jnl")) {
        let name = file.strip_prefix(&origin).unwrap();
        let bytes = fs::metadata(file).unwrap().len();
        for cut in [0, chance.below(bytes.max(1)), bytes.saturating_sub(1)] {
            let damaged = copied(&origin, &folder.path().join("damaged"));
            fs::File::options().write(true).open(damaged.join(name)).unwrap().set_len(cut).unwrap();
            let what = format!("{} of {bytes} bytes cut at {cut}", name.display());
            told += usize::from(!is_read_again(kind, &damaged, &written, &what));
            fs::remove_dir_all(&damaged).unwrap();
        }
    }
    assert!(told > 0, "no file was missed");
}
