//! Codes on paper, each of which takes the place of a second factor once.
//!
//! A code has 60 random bits. What is kept is a hash under a key of the cluster and for one account, so whoever has the state alone
//! cannot even try.

use twinmcp_storage::accounts::BACKUP_CODES;
use twinmcp_storage::api_keys::SecretHash;
use twinmcp_storage::clock::{Entropy, EntropyError};
use twinmcp_storage::ids::AccountId;

/// Crockford's base32: no letter looks like a digit.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CODE_LEN: usize = 12;
const GROUP_LEN: usize = 4;
/// Longest text that is looked at, in bytes.
const TYPED_BYTES_MAX: usize = 64;

/// New codes, as they are shown: `k3zt-9m4x-77qa`.
pub(super) fn make(entropy: &dyn Entropy) -> Result<Vec<String>, EntropyError> {
    let mut random = [0; BACKUP_CODES * CODE_LEN];
    entropy.fill(&mut random)?;
    // 256 is a multiple of 32: every letter is as likely as any other.
    let code = |bytes: &[u8]| {
        let groups = bytes.chunks(GROUP_LEN).map(|group| -> String {
            group.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
        });
        groups.collect::<Vec<_>>().join("-")
    };
    Ok(random.chunks(CODE_LEN).map(code).collect())
}

/// What is kept of a code that was typed, in capitals or not, with whatever between its letters; nothing for what can be none.
pub(super) fn hash(key: &[u8; 32], account: &AccountId, typed: &str) -> Option<SecretHash> {
    if typed.len() > TYPED_BYTES_MAX {
        return None;
    }
    let letters = typed.chars().filter(|letter| letter.is_ascii_alphanumeric());
    let code: String = letters
        .map(|letter| match letter.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            letter => letter,
        })
        .collect();
    if code.len() != CODE_LEN || !code.bytes().all(|byte| LETTERS.contains(&byte)) {
        return None;
    }
    let hash = blake3::keyed_hash(key, format!("{account} {code}").as_bytes());
    Some(SecretHash::of(&hash.to_hex()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use twinmcp_storage::clock::SystemEntropy;

    use super::*;

    fn account(number: u8) -> AccountId {
        format!("acct_{number:026}").parse().unwrap()
    }

    #[test]
    fn case_107_capitals_and_separators_do_not_matter_and_everything_else_does() {
        let kept = hash(&[1; 32], &account(1), "k3zt-9m41-70qa").unwrap();
        for typed in
            ["K3ZT-9M41-70QA", "k3zt9m4170qa", " k3zt 9m41 70qa\n", "k3ztー9m4l_7Oqa", "K3ZT.9m4I.70QA"]
        {
            assert_eq!(hash(&[1; 32], &account(1), typed), Some(kept), "{typed}");
        }
        assert_ne!(hash(&[1; 32], &account(1), "k3zt-9m41-70qb"), Some(kept));
        assert_ne!(hash(&[1; 32], &account(2), "k3zt-9m41-70qa"), Some(kept), "somebody else's");
        assert_ne!(hash(&[2; 32], &account(1), "k3zt-9m41-70qa"), Some(kept), "another cluster's");
        for typed in
            ["", "k3zt-9m41-70q", "k3zt-9m41-70qa-0", "k3zt-9m41-70qu", "é3zt-9m41-70qa", &"0".repeat(65)]
        {
            assert_eq!(hash(&[1; 32], &account(1), typed), None, "{typed}");
        }
    }

    #[test]
    fn ten_codes_are_made_and_no_two_are_the_same() {
        let codes = make(&SystemEntropy).unwrap();
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), BACKUP_CODES);
        for code in codes {
            assert!(code.len() == 14 && hash(&[0; 32], &account(1), &code).is_some(), "{code}");
        }
    }
}
