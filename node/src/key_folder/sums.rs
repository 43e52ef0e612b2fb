//! Checksums of the files in the folder `keys`: what a disk has changed, or cut, is told from what was written.
//!
//! ```text
//! 32 bytes each: the checksums of `master.key`, then for each other file that has some its name, filled up with
//! zeros, and its checksums
//! ```
//! A file that was replaced has two, its own and that of the one before, because a crash may leave either.
//!
//! Invariant: those of `master.key` come first and without a name. A build that knows no others finds them there, and
//! drops the others whenever it writes a key; so a file without a checksum is taken.

use super::{ADMISSION_FILE, ALSO_FILE, MASTER_KEY_FILE, RENEWAL_FILE};

const SUM_BYTES: usize = blake3::OUT_LEN;
type Sum = [u8; SUM_BYTES];

const NAMED: [&str; 3] = [ALSO_FILE, ADMISSION_FILE, RENEWAL_FILE];

/// The checksums, each with the name of its file.
#[derive(Debug, Default)]
pub(super) struct Sums(Vec<(&'static str, Sum)>);

impl Sums {
    /// What is whole of the file of checksums.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let (mut sums, mut file) = (Self::default(), MASTER_KEY_FILE);
        for chunk in bytes.as_chunks::<SUM_BYTES>().0 {
            match NAMED.into_iter().find(|named| name(named) == *chunk) {
                Some(named) => file = named,
                None => sums.0.push((file, *chunk)),
            }
        }
        sums
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.of(MASTER_KEY_FILE).concat();
        for file in NAMED {
            let sums = self.of(file);
            if !sums.is_empty() {
                bytes.extend(name(file));
                bytes.extend(sums.concat());
            }
        }
        bytes
    }

    /// Whether `bytes` were written to `file`; nothing when it has no checksum.
    pub(super) fn fits(&self, file: &str, bytes: &[u8]) -> Option<bool> {
        let sums = self.of(file);
        (!sums.is_empty()).then(|| sums.contains(&sum(file, bytes)))
    }

    /// `file` gets `bytes`, and until then may have those `before`, unless they were damaged.
    pub(super) fn set(&mut self, file: &'static str, bytes: &[u8], before: Option<&[u8]>) {
        let before = before.filter(|before| *before != bytes && self.fits(file, before) != Some(false));
        self.forget(file);
        self.0.extend([Some(bytes), before].into_iter().flatten().map(|bytes| (file, sum(file, bytes))));
    }

    /// The file is gone; whether it had a checksum.
    pub(super) fn forget(&mut self, file: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(of, _)| *of != file);
        self.0.len() < before
    }

    fn of(&self, file: &str) -> Vec<Sum> {
        self.0.iter().filter(|(of, _)| *of == file).map(|(_, sum)| *sum).collect()
    }
}

fn sum(file: &str, bytes: &[u8]) -> Sum {
    // What it is for, so that it is the checksum of nothing else.
    blake3::derive_key(&format!("TwinMCP 2026 checksum of keys/{file}"), bytes)
}

fn name(file: &str) -> Sum {
    let mut name = [0; SUM_BYTES];
    name.iter_mut().zip(file.bytes()).for_each(|(to, from)| *to = from);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_key_stand_where_a_build_that_knows_no_others_finds_them() {
        let mut sums = Sums::default();
        sums.set(RENEWAL_FILE, b"given", None);
        sums.set(MASTER_KEY_FILE, &[1; 32], None);
        sums.set(MASTER_KEY_FILE, &[2; 32], Some(&[1; 32]));
        let of_key = |key: [u8; 32]| blake3::derive_key("TwinMCP 2026 checksum of keys/master.key", &key);
        let bytes = sums.to_bytes();
        assert_eq!(bytes[..64], [of_key([2; 32]), of_key([1; 32])].concat());
        assert_eq!(bytes[64..96], [&b"renewal"[..], &[0; 25]].concat());
        assert_eq!(bytes[96..], blake3::derive_key("TwinMCP 2026 checksum of keys/renewal", b"given"));
        assert_eq!(Sums::parse(&bytes).to_bytes(), bytes);
        // Such a build has written another key, and with it only what it knows.
        let older = Sums::parse(&of_key([3; 32]));
        assert_eq!(older.fits(MASTER_KEY_FILE, &[3; 32]), Some(true));
        assert_eq!(older.fits(RENEWAL_FILE, b"anything"), None);
    }

    #[test]
    fn what_a_crash_may_leave_fits_and_what_was_damaged_before_does_not() {
        let mut sums = Sums::default();
        sums.set(ALSO_FILE, b"first", None);
        sums.set(ALSO_FILE, b"second", Some(b"first"));
        let fits =
            |sums: &Sums| [&b"first"[..], b"second", b"third"].map(|bytes| sums.fits(ALSO_FILE, bytes));
        assert_eq!(fits(&sums), [Some(true), Some(true), Some(false)]);
        sums.set(ALSO_FILE, b"third", Some(b"secone"));
        assert_eq!(fits(&sums), [Some(false), Some(false), Some(true)]);
        assert_eq!(sums.fits(ALSO_FILE, b"secone"), Some(false), "damaged");
        assert!(sums.forget(ALSO_FILE) && !sums.forget(ALSO_FILE));
        assert_eq!(fits(&sums), [None; 3]);
        assert_eq!(sums.to_bytes(), b"");
    }
}
