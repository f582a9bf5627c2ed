//! One request under way, and what replicas say of it (`protocol.md CL-6`).

use super::config::ClientConfig;
use super::full_results::FullResults;
use crate::limits::{REPLICAS_MAX, RESULTS_PATIENCE_NS, RETRANSMIT_BYTE_NS, RETRANSMIT_MAX_NS};
use crate::numbers::{ReplicaId, ReplicaSet, RequestNumber, SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::round_trip::{Bounds, RoundTrip};
use crate::wire::reply::{Answer, Mode, Reply};
use logothete_crypto::{Digest, digest};

/// What one replica says of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote {
    /// Which message was executed under the request's name.
    pub(super) request: Digest,
    pub(super) view: View,
    pub(super) sequence: SequenceNumber,
    pub(super) results: Digest,
    pub(super) mode: Mode,
}

impl Vote {
    /// Whether the replica may put another in its place: what is tentative may be committed, or be executed anew in a later view.
    pub(super) fn yields_to(&self, later: &Vote) -> bool {
        self.mode == Mode::Tentative && (later.mode == Mode::Committed || later.view > self.view)
    }

    pub(super) fn agrees_with(&self, other: &Vote) -> bool {
        (self.request, self.sequence, self.results) == (other.request, other.sequence, other.results)
    }
}

#[derive(Debug, Default)]
pub(super) struct Outstanding {
    pub(super) number: RequestNumber,
    pub(super) answered: bool,
    pub(super) message: Vec<u8>,
    /// Of the message; taken when the first reply comes, so that sending waits for no digest.
    pub(super) digest: Option<Digest>,
    /// Of the same request as it was before it had to be signed; it may have been executed all the same (`protocol.md DM-6`).
    pub(super) unsigned: Option<Digest>,
    pub(super) operations_at: usize,
    /// Of a request in parts: the next to send, and how many there are; both 0 of any other.
    pub(super) part_next: usize,
    pub(super) parts: usize,
    pub(super) operation_count: usize,
    pub(super) sent_first_ns: u64,
    pub(super) resend_at_ns: u64,
    pub(super) tries: u32,
    pub(super) votes: [Option<Vote>; REPLICAS_MAX],
    pub(super) full: FullResults,
    pub(super) superseded: ReplicaSet,
}

impl Outstanding {
    /// Finds out how many parts its message travels in; none is sent yet.
    pub(super) fn cut(&mut self, config: &ClientConfig) {
        let large = self.message.len() > config.request_packet_bytes_max;
        self.parts = if large { self.message.len().div_ceil(config.request_piece_bytes) } else { 0 };
        self.part_next = 0;
    }

    /// How long replies are waited for: what is longer takes longer to travel.
    pub(super) fn patience_ns(&self, trips: &RoundTrip) -> u64 {
        trips.timeout_ns(Bounds::REQUESTS, self.tries) + self.message.len() as u64 * RETRANSMIT_BYTE_NS
    }

    /// It is to be sent again by then, if it is not answered; one in parts has its own pace.
    pub(super) fn hasten(&mut self, by_ns: u64) {
        if self.parts == 0 {
            self.resend_at_ns = self.resend_at_ns.min(by_ns);
        }
    }

    /// Whether it is known what the results are, and they are on their way, as others are before them: then it is not sent again, for the longest
    /// time that requests wait at all.
    pub(super) fn awaits_results(&self, now_ns: u64, heard_ns: u64, config: &ClientConfig) -> bool {
        heard_ns + RESULTS_PATIENCE_NS > now_ns
            && now_ns < self.sent_first_ns + RETRANSMIT_MAX_NS
            && self.votes.iter().flatten().any(|vote| self.is_decided(vote, config))
    }

    /// Counts a reply, and returns the vote that its replica now has.
    pub(super) fn count(&mut self, from: ReplicaId, reply: &Reply<'_>) -> Option<Vote> {
        let own = *self.digest.get_or_insert_with(|| digest(&self.message));
        if reply.request != own && Some(reply.request) != self.unsigned {
            return None;
        }
        let results = match reply.results {
            Answer::Full(bytes) => self.full.digest_of(bytes),
            Answer::Digest(digest) => *digest,
        };
        let request = reply.request;
        let vote = Vote { request, view: reply.view, sequence: reply.sequence, results, mode: reply.mode };
        let place = self.votes.get_mut(usize::from(from.0))?;
        let counted = match place {
            // A replica has one vote (`CL-6`), but may give in full what it gave as a digest.
            Some(held) if !held.yields_to(&vote) => Some(*held).filter(|held| held.agrees_with(&vote)),
            _ => Some(vote),
        }?;
        *place = Some(counted);
        if let Answer::Full(bytes) = reply.results {
            self.full.keep(from, results, bytes);
        }
        Some(counted)
    }

    /// Whether enough replicas say what a vote says (`protocol.md CL-6`).
    pub(super) fn is_decided(&self, vote: &Vote, config: &ClientConfig) -> bool {
        let agreeing = || self.votes.iter().flatten().filter(|other| other.agrees_with(vote));
        let committed = agreeing().filter(|other| other.mode == Mode::Committed).count();
        if committed >= if config.reads { config.quorum } else { config.quorum_weak } {
            return true;
        }
        // Tentative replies count only with those of the same view: only together do they show that the batch was prepared in it.
        let tentative = || agreeing().filter(|other| other.mode == Mode::Tentative);
        let same = |view, other: &Vote| other.view == view || planted::is(Bug::RepliesAcrossViews);
        let of_view = |view| tentative().filter(|other| same(view, other)).count();
        let quorum = if planted::is(Bug::TentativeWeak) { config.quorum_weak } else { config.quorum };
        tentative().any(|other| committed + of_view(other.view) >= quorum)
    }
}
