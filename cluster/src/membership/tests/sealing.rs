//! What can be sealed, opened, changed on its way, recorded and sent again.

use std::collections::BTreeSet;

use proptest::prelude::*;
use twinmcp_storage::clock::Timestamp;

use super::super::seal::{DATAGRAM_BYTES_MAX, FRAGMENT_BYTES_MAX, Fragment};
use super::*;

const SKEW_MAX_MS: u64 = 60_000;
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn sender(node: u64) -> Sender {
    Sender { node, generation: 5, boot: [node as u8; 16] }
}

fn ring(cluster: &str, secrets: &[u8]) -> Arc<ArcSwap<KeyRing>> {
    let secrets: Vec<ClusterSecret> = secrets.iter().map(|byte| secret(*byte)).collect();
    Arc::new(ArcSwap::from_pointee(KeyRing::new(cluster, &secrets).unwrap()))
}

fn sealer(node: u64, secrets: &[u8]) -> Sealer {
    Sealer::new(sender(node), ring("cluster", secrets))
}

fn opener(node: u64, secrets: &[u8]) -> Opener {
    Opener::new(sender(node), ring("cluster", secrets), SKEW_MAX_MS)
}

fn seal_at(sealer: &mut Sealer, bytes: &[u8], now: Timestamp) -> Vec<u8> {
    let mut datagram = Vec::new();
    sealer.seal(Fragment { place: 0, count: 1, bytes }, now, &mut datagram).unwrap();
    datagram
}

fn seal(sealer: &mut Sealer, bytes: &[u8]) -> Vec<u8> {
    seal_at(sealer, bytes, NOW)
}

fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
    let mut datagram = datagram.to_vec();
    opener.open(&mut datagram, NOW).map(|opened| opened.fragment.bytes.to_vec())
}

#[test]
fn what_is_sealed_is_opened_once_and_says_who_sent_it() {
    let (mut sealer, mut opener) = (sealer(1, &[1]), opener(2, &[1]));
    for bytes in [&b""[..], b"hello", &[7; FRAGMENT_BYTES_MAX]] {
        let mut datagram = seal(&mut sealer, bytes);
        assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        let opened = opener
            .open(&mut datagram.clone(), NOW)
            .map(|opened| (opened.sender, opened.fragment.bytes.to_vec()));
        assert_eq!(opened, Ok((sender(1), bytes.to_vec())));
        assert_eq!(opener.open(&mut datagram, NOW).err(), Some(Dropped::Replayed));
    }
    let mut datagram = Vec::new();
    let large = Fragment { place: 0, count: 1, bytes: &[0; FRAGMENT_BYTES_MAX + 1] };
    assert_eq!(sealer.seal(large, NOW, &mut datagram), Err(Dropped::Large));
}

#[test]
fn no_byte_can_be_changed_and_none_cut_off_or_added() {
    let mut sealer = sealer(1, &[1]);
    let mut opener = opener(2, &[1]);
    let good = seal(&mut sealer, b"hello");
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[place] ^= 1 << bit;
            let expected = match place {
                0 => Dropped::Format,
                1..5 => Dropped::Cluster,
                5..9 => Dropped::Key,
                _ => Dropped::Forged,
            };
            assert_eq!(open(&mut opener, &bad), Err(expected), "byte {place}, bit {bit}");
        }
    }
    for len in 0..good.len() {
        let reason = open(&mut opener, &good[..len]).unwrap_err();
        assert!(matches!(reason, Dropped::Short | Dropped::Forged), "{len}: {reason:?}");
    }
    let longer = [&good[..], b"!"].concat();
    assert_eq!(open(&mut opener, &longer), Err(Dropped::Forged));
    assert_eq!(open(&mut opener, &[1; DATAGRAM_BYTES_MAX + 1]), Err(Dropped::Long));
    assert_eq!(
        open(&mut opener, &good).unwrap(),
        b"hello",
        "the right one still comes through after all that"
    );
}

#[test]
fn another_cluster_another_secret_and_oneself_are_told_apart() {
    let mut opener = opener(2, &[1]);
    let mut other_cluster = Sealer::new(sender(1), ring("other", &[1]));
    assert_eq!(open(&mut opener, &seal(&mut other_cluster, b"x")), Err(Dropped::Cluster));
    assert_eq!(open(&mut opener, &seal(&mut sealer(1, &[2]), b"x")), Err(Dropped::Key));
    assert_eq!(open(&mut opener, &seal(&mut sealer(2, &[1]), b"x")), Err(Dropped::Own));
}

#[test]
fn a_cluster_with_the_same_first_bytes_is_still_another() {
    // The four bytes on the wire are no more than a hint: put the right ones on what another cluster sealed.
    let mut foreign = seal(&mut Sealer::new(sender(1), ring("other", &[1])), b"x");
    let ours = seal(&mut sealer(1, &[1]), b"x");
    foreign[1..9].copy_from_slice(&ours[1..9]);
    assert_eq!(open(&mut opener(2, &[1]), &foreign), Err(Dropped::Forged));
}

#[test]
fn order_is_free_within_the_window_and_nothing_older_comes_in() {
    let (mut sealer, mut opener) = (sealer(1, &[1]), opener(2, &[1]));
    let datagrams: Vec<Vec<u8>> = (0..2_000_u32).map(|nth| seal(&mut sealer, &nth.to_le_bytes())).collect();
    for (newest, oldest) in [(1_023, 0), (1_999, 976)] {
        open(&mut opener, &datagrams[newest]).unwrap();
        for nth in (oldest..newest).filter(|nth| newest < 1_100 || *nth > 1_023) {
            open(&mut opener, &datagrams[nth]).unwrap();
        }
    }
    for (nth, datagram) in datagrams.iter().enumerate() {
        assert_eq!(open(&mut opener, datagram), Err(Dropped::Replayed), "{nth}");
    }
}

#[test]
fn what_was_sent_too_long_ago_or_is_from_the_future_is_dropped() {
    let (mut sealer, mut opener) = (sealer(1, &[1]), opener(2, &[1]));
    for (sent, reason) in [
        (NOW.as_millis() - SKEW_MAX_MS, None),
        (NOW.as_millis() - SKEW_MAX_MS - 1, Some(Dropped::Clock)),
        (NOW.as_millis() + SKEW_MAX_MS, None),
        (NOW.as_millis() + SKEW_MAX_MS + 1, Some(Dropped::Clock)),
        (0, Some(Dropped::Clock)),
        (u64::MAX, Some(Dropped::Clock)),
    ] {
        let datagram = seal_at(&mut sealer, b"x", Timestamp::from_millis(sent));
        assert_eq!(open(&mut opener, &datagram).err(), reason, "{sent}");
    }
}

#[test]
fn each_boot_has_a_key_of_its_own() {
    // Same secret, same node, same counter, same text: were the key the same, so would be all that is sealed.
    let boots = [
        sender(1),
        Sender { generation: 6, ..sender(1) },
        Sender { boot: [9; 16], ..sender(1) },
        Sender { node: 2, ..sender(1) },
    ];
    // Without the tag, which covers the header too and so differs anyhow.
    let sealed: BTreeSet<Vec<u8>> = boots
        .into_iter()
        .map(|boot| seal(&mut Sealer::new(boot, ring("cluster", &[1])), b"hello"))
        .map(|datagram| datagram[49..datagram.len() - 16].to_vec())
        .collect();
    assert_eq!(sealed.len(), boots.len());
}

#[test]
fn counters_go_on_over_a_rotation_and_back() {
    let ring_of_sealer = ring("cluster", &[1]);
    let mut sealer = Sealer::new(sender(1), Arc::clone(&ring_of_sealer));
    let counters: Vec<u64> = [[1, 2], [2, 1], [1, 2], [1, 2]]
        .into_iter()
        .map(|secrets| {
            ring_of_sealer.store(ring("cluster", &secrets).load_full());
            let datagram = seal(&mut sealer, b"x");
            assert_eq!(open(&mut opener(2, &[secrets[0]]), &datagram).unwrap(), b"x");
            u64::from_le_bytes(datagram[41..49].try_into().unwrap())
        })
        .collect();
    assert_eq!(counters, [0, 1, 2, 3]);
}

#[test]
fn two_secrets_open_and_the_first_seals() {
    let mut opener = opener(9, &[2, 1]);
    for (node, secrets, is_open) in
        [(1, &[1][..], true), (2, &[2][..], true), (3, &[1, 2], true), (4, &[3][..], false)]
    {
        let result = open(&mut opener, &seal(&mut sealer(node, secrets), b"x"));
        assert_eq!(result.is_ok(), is_open, "{secrets:?}: {result:?}");
    }
}

/// What the first build sent, in hexadecimal: a node of the version before must be understood during a rollout.
#[test]
fn a_datagram_of_format_1_is_still_what_it_was() {
    let golden = include_str!("../fixtures/datagram-1.hex").trim();
    let datagram = seal(&mut sealer(1, &[1]), b"hello");
    let hex: String = datagram.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden);
    assert_eq!(open(&mut opener(2, &[1]), &datagram).unwrap(), b"hello");
}

proptest! {
    #[test]
    fn no_datagram_is_too_strange(
        noise in prop::collection::vec(any::<u8>(), 0..1_400),
        header in 0_usize..49,
        mends in prop::bool::ANY,
    ) {
        let mut opener = opener(2, &[1]);
        let mut datagram = noise;
        if mends {
            // As far in as a header of ours brings it.
            let good = seal(&mut sealer(1, &[1]), b"hello");
            let len = header.min(datagram.len());
            datagram[..len].copy_from_slice(&good[..len]);
        }
        prop_assert!(opener.open(&mut datagram, NOW).is_err());
    }

    /// Behind the seal lies what another node wrote, which may be of a later build.
    #[test]
    fn no_sealed_message_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300), is_ours in any::<bool>()) {
        let bytes = if is_ours { [&[0x53, 0xb0, 0][..], &bytes].concat() } else { bytes };
        let _ = super::super::transport::read(&bytes);
    }
}
