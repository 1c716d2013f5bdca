use proptest::prelude::*;

use super::*;

fn key() -> SigningKey {
    SigningKey::parse(&SigningKey::generate().unwrap()).unwrap()
}

fn changes(after: u64, to: u64) -> PageSpec {
    PageSpec { kind: PageKind::Changes, epoch: Epoch(5), after: Revision(after), to: Revision(to) }
}

fn tombstones(count: u64) -> Vec<WireRecord> {
    (1..=count)
        .map(|n| WireRecord::tombstone(format!("hostname/{n}.example"), Revision(n), "hostname"))
        .collect()
}

fn open(bytes: &[u8], key: &SigningKey) -> Result<VerifiedPage, PageError> {
    VerifiedPage::open(bytes, &[key.verifying_key()], PageKind::Changes)
}

#[test]
fn reads_back_a_page_that_follows_the_cursor() {
    let key = key();
    let bytes = encode_records(&key, changes(0, 3), &tombstones(3)).unwrap();
    let page = open(&bytes, &key).unwrap();
    page.follows(Epoch(5), Revision(0)).unwrap();
    assert_eq!(page.records().unwrap().len(), 3);
}

#[test]
fn refuses_another_key_and_accepts_any_of_several() {
    let (key, other) = (key(), key());
    let bytes = encode_records(&key, changes(0, 1), &tombstones(1)).unwrap();
    assert_eq!(open(&bytes, &other).unwrap_err().reason(), "signature");
    let both = [other.verifying_key(), key.verifying_key()];
    assert!(VerifiedPage::open(&bytes, &both, PageKind::Changes).is_ok());
    assert_eq!(
        VerifiedPage::open(&bytes, &[], PageKind::Changes).unwrap_err().reason(),
        "signature"
    );
}

#[test]
fn refuses_rollbacks_of_epoch_and_revision_and_replays() {
    let key = key();
    let page = open(&encode_records(&key, changes(3, 4), &tombstones(1)).unwrap(), &key).unwrap();
    let reason = |epoch, cursor| page.follows(Epoch(epoch), Revision(cursor)).unwrap_err().reason();
    assert_eq!(reason(6, 3), "epoch_rollback");
    assert_eq!(reason(5, 4), "revision_rollback");
    assert_eq!(reason(5, 2), "revision_rollback");
    let backwards = open(&encode_records(&key, changes(3, 2), &[]).unwrap(), &key).unwrap();
    assert_eq!(backwards.follows(Epoch(5), Revision(3)).unwrap_err().reason(), "revision_rollback");
}

#[test]
fn refuses_a_decompression_bomb_within_its_limit() {
    let key = key();
    let bomb = encode(&key, changes(0, 1), 1, false, &vec![0; 64 * MAX_BODY_LEN]).unwrap();
    assert!(bomb.len() < 100_000);
    assert_eq!(open(&bomb, &key).unwrap_err().reason(), "too_large");
    assert_eq!(open(&vec![0; MAX_PAGE_LEN + 1], &key).unwrap_err().reason(), "too_large");
}

#[test]
fn refuses_a_count_and_a_kind_that_differ() {
    let key = key();
    let body = to_cbor(&vec![Blob(vec![1])]);
    let page = open(&encode(&key, changes(0, 1), 2, false, &body).unwrap(), &key).unwrap();
    assert_eq!(page.records().unwrap_err().reason(), "count");
    let bytes = encode_records(&key, changes(0, 1), &tombstones(1)).unwrap();
    let keys = [key.verifying_key()];
    assert_eq!(VerifiedPage::open(&bytes, &keys, PageKind::Manifest).unwrap_err().reason(), "kind");
}

proptest! {
    #[test]
    fn no_truncation_or_flipped_bit_gets_through(cut in 0usize..10_000, bit in 0usize..80_000) {
        let key = key();
        let bytes = encode_records(&key, changes(0, 3), &tombstones(3)).unwrap();
        prop_assert!(open(&bytes[..cut % bytes.len()], &key).is_err());
        let mut flipped = bytes.clone();
        let bit = bit % (bytes.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A flip in the envelope's own framing may leave it readable; what was signed is then the same.
        if let Ok(page) = open(&flipped, &key) {
            prop_assert_eq!(page.records().unwrap().len(), 3);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(open(&bytes, &key()).is_err());
        let _ = WireRecord::read(&bytes).map(|record| record.decode());
    }
}
