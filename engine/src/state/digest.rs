//! What the digests of the tree are over (`protocol.md ST-2`), and many of them at a time.
//!
//! ```text
//!  page   H( "page" 0 0 0 0  ||  H(quarter 0) || H(quarter 1) || H(quarter 2) || H(quarter 3) )
//!  node   H( "node" level    ||  H(32 digests of children, 1 KiB) )
//!  root   H( domain, depth, capacity, digest of the top node )
//! ```
//!
//! Everything long is hashed in inputs of 1 KiB, the longest that [`digest_many`] takes side by side in SIMD lanes. The few bytes in
//! front of the second hash keep a page, a node and the levels of nodes apart; where a node stands is not in it, so that all absent
//! subtrees of a level have one digest.

use super::page::PageBytes;
use super::{FAN_OUT, PAGE_BYTES};
use logothete_crypto::{DIGEST_BYTES, Digest, DigestWriter, digest_many};
use zerocopy::IntoBytes;

/// The longest input that is hashed in lanes.
const LANE_BYTES: usize = 1024;
/// Inputs of a page.
const QUARTERS: usize = PAGE_BYTES / LANE_BYTES;
/// Pages, or nodes, hashed in one go: their inputs fill the widest lanes, 16, and the buffers stay in the first-level cache.
pub(super) const BATCH: usize = 16;
/// What stands in front of the inner digests.
const LABEL_BYTES: usize = 8;
const PAGE_INPUT_BYTES: usize = LABEL_BYTES + QUARTERS * DIGEST_BYTES;
const NODE_INPUT_BYTES: usize = LABEL_BYTES + DIGEST_BYTES;

const _: () = assert!(FAN_OUT * DIGEST_BYTES == LANE_BYTES && PAGE_BYTES.is_multiple_of(LANE_BYTES));

/// The digests of the children of a node.
pub(super) type Children = [Digest; FAN_OUT];

/// `out[i]` becomes the digest of `pages[i]`.
pub(super) fn page_digests(pages: &[&PageBytes], out: &mut [Digest]) {
    for (pages, out) in pages.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
        let mut quarters: [&[u8]; BATCH * QUARTERS] = [&[]; BATCH * QUARTERS];
        for (page, places) in pages.iter().zip(quarters.chunks_mut(QUARTERS)) {
            for (quarter, place) in page.chunks(LANE_BYTES).zip(places) {
                *place = quarter;
            }
        }
        let mut inner = [Digest::ZERO; BATCH * QUARTERS];
        let used = pages.len() * QUARTERS;
        digest_many(&quarters[..used], &mut inner[..used]);
        let mut inputs = [[0; PAGE_INPUT_BYTES]; BATCH];
        for (input, inner) in inputs.iter_mut().zip(inner.chunks(QUARTERS)) {
            input[..4].copy_from_slice(b"page");
            input[LABEL_BYTES..].copy_from_slice(inner.as_bytes());
        }
        finish(&inputs, out);
    }
}

/// `out[i]` becomes the digest of the node of `level` with `children[i]`.
pub(super) fn node_digests(level: usize, children: &[Children], out: &mut [Digest]) {
    for (children, out) in children.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
        let mut lists: [&[u8]; BATCH] = [&[]; BATCH];
        for (list, children) in lists.iter_mut().zip(children) {
            *list = children.as_bytes();
        }
        let mut inner = [Digest::ZERO; BATCH];
        digest_many(&lists[..children.len()], &mut inner[..children.len()]);
        let mut inputs = [[0; NODE_INPUT_BYTES]; BATCH];
        for (input, inner) in inputs.iter_mut().zip(&inner) {
            input[..4].copy_from_slice(b"node");
            input[4..LABEL_BYTES].copy_from_slice(&(level as u32).to_le_bytes());
            input[LABEL_BYTES..].copy_from_slice(&inner.0);
        }
        finish(&inputs, out);
    }
}

/// The outer hashes of a batch.
fn finish<const BYTES: usize>(inputs: &[[u8; BYTES]; BATCH], out: &mut [Digest]) {
    let inputs: [&[u8]; BATCH] = inputs.each_ref().map(|input| &input[..]);
    digest_many(&inputs[..out.len()], out);
}

/// The digest of one page.
pub(super) fn page_digest(page: &PageBytes) -> Digest {
    let mut out = [Digest::ZERO];
    page_digests(&[page], &mut out);
    out[0]
}

/// The digest of one node.
pub(super) fn node_digest(level: usize, children: &Children) -> Digest {
    let mut out = [Digest::ZERO];
    node_digests(level, std::slice::from_ref(children), &mut out);
    out[0]
}

/// The digest of a state.
pub(super) fn root_digest(depth: usize, pages: u64, top: &Digest) -> Digest {
    DigestWriter::new("logothete state root v1")
        .update(&(depth as u64).to_le_bytes())
        .update(&pages.to_le_bytes())
        .update(&top.0)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::digest;

    fn page(seed: usize) -> PageBytes {
        std::array::from_fn(|at| (at * 7 + seed * 13 + at / 256) as u8)
    }

    /// `protocol.md ST-2`: written out with single hashes.
    #[test]
    fn digests_are_what_the_rule_says() {
        let bytes = page(1);
        let mut input = b"page\0\0\0\0".to_vec();
        for quarter in bytes.chunks(1024) {
            input.extend_from_slice(&digest(quarter).0);
        }
        assert_eq!(page_digest(&bytes), digest(&input));

        let children: Children = std::array::from_fn(|at| Digest([at as u8; 32]));
        let mut input = b"node\x03\0\0\0".to_vec();
        input.extend_from_slice(&digest(children.as_bytes()).0);
        assert_eq!(node_digest(3, &children), digest(&input));
        assert_ne!(node_digest(2, &children), node_digest(3, &children));

        let top = node_digest(2, &children);
        assert_ne!(root_digest(2, 1024, &top), root_digest(2, 1023, &top));
        assert_ne!(root_digest(2, 1024, &top), root_digest(3, 1024, &top));
    }

    #[test]
    fn many_equal_one_by_one() {
        for count in [1, 2, 15, 16, 17, 40] {
            let pages: Vec<PageBytes> = (0..count).map(page).collect();
            let mut out = vec![Digest::ZERO; count];
            page_digests(&pages.iter().collect::<Vec<_>>(), &mut out);
            assert_eq!(out, pages.iter().map(page_digest).collect::<Vec<_>>());

            let nodes: Vec<Children> = (0..count).map(|at| [Digest([at as u8; 32]); FAN_OUT]).collect();
            node_digests(4, &nodes, &mut out);
            assert_eq!(out, nodes.iter().map(|children| node_digest(4, children)).collect::<Vec<_>>());
        }
    }
}
