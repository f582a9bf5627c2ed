//! What this replica knows of the others: who is there, and how far each says that it is.

use super::allowances::Allowances;
use crate::limits::{
    PEER_QUIET_NS, PEER_SILENT_NS, PEER_STAGNANT_NS, REPLICAS_MAX, STATEMENT_CHECK_NS, STATEMENT_CHECKS_BURST,
    STATEMENTS_ANSWER_NS,
};
use crate::numbers::{ReplicaId, ReplicaSet, SequenceNumber, View};
use crate::wire::retransmission::Standing;
use logothete_crypto::Digest;
use std::hash::{Hash, Hasher};

/// How many of a peer's votes on checkpoints are remembered: those of two windows.
const CHECKPOINTS_REMEMBERED: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    heard_ns: Option<u64>,
    executed: SequenceNumber,
    progress_ns: u64,
    /// It was given time to make progress when it came back, and reported none since.
    came_back: bool,
    stable: SequenceNumber,
    allowances: Allowances,
    /// It recovers.
    recovers: bool,
    /// Its disk stands still.
    disk_stands: bool,
    /// It has forgotten what it signed before this epoch.
    epoch_acknowledged: Option<u64>,
    /// The epoch of its last packet.
    epoch_present: u64,
    /// It goes along with no view below.
    supports_from: View,
    /// The view that it says it has entered.
    entered: Option<View>,
    checks_until_ns: u64,
    /// Its last votes on checkpoints, wherever they are.
    checkpoints: [(SequenceNumber, Digest); CHECKPOINTS_REMEMBERED],
}

/// The others.
#[derive(Clone, Debug)]
pub struct Peers {
    peers: [Peer; REPLICAS_MAX],
    count: usize,
}

impl Peers {
    pub(super) fn new(count: usize) -> Self {
        Self { peers: [Peer::default(); REPLICAS_MAX], count }
    }

    /// Of [`Replica::fingerprint`](super::Replica::fingerprint). What a peer said of views that are over here is the past.
    pub(super) fn fingerprint(&self, view: View, active: bool, state: &mut impl Hasher) {
        for peer in &self.peers[..self.count] {
            let Peer {
                heard_ns: _,
                executed,
                progress_ns: _,
                came_back: _,
                stable,
                allowances: _,
                recovers,
                disk_stands: _,
                epoch_acknowledged,
                epoch_present,
                supports_from,
                entered,
                checks_until_ns: _,
                checkpoints,
            } = peer;
            (executed, stable, recovers, checkpoints).hash(state);
            // Where nobody forgot anything all epochs count.
            epoch_acknowledged.map(|acknowledged| (acknowledged, epoch_present)).hash(state);
            let entered = entered.filter(|entered| *entered > view || (*entered == view && !active));
            ((*supports_from).max(view), entered).hash(state);
        }
    }

    /// An authentic packet of a peer arrived.
    pub(super) fn heard(&mut self, id: ReplicaId, now_ns: u64) {
        let peer = &mut self.peers[usize::from(id.0)];
        let back = peer.heard_ns.is_none_or(|heard| now_ns.saturating_sub(heard) >= PEER_QUIET_NS);
        if back && !peer.came_back {
            // It is new, or back: its time to make progress begins now. It does not begin again each time that it falls silent.
            (peer.progress_ns, peer.came_back) = (now_ns, true);
        }
        peer.heard_ns = Some(now_ns);
    }

    /// A peer says that it has executed up to `executed`; this replica has up to `own`.
    pub(super) fn progressed(&mut self, id: ReplicaId, executed: SequenceNumber, own: SequenceNumber, now_ns: u64) {
        let peer = &mut self.peers[usize::from(id.0)];
        if executed > peer.executed || executed >= own {
            (peer.progress_ns, peer.came_back) = (now_ns, false);
        }
        peer.executed = peer.executed.max(executed);
    }

    /// The peers heard from in the last [`PEER_SILENT_NS`].
    pub(super) fn live(&self, now_ns: u64) -> ReplicaSet {
        let mut set = ReplicaSet::EMPTY;
        for id in self.ids() {
            if self.is_live(id, now_ns) {
                set.insert(id);
            }
        }
        set
    }

    /// The least executed number among the live peers that make progress and are not below `beyond_help`: the primary
    /// stays within a window of it (`protocol.md BP-1`). `None` when there is no such peer. Only peers heard from since `since_ns`
    /// count, when the view began: who is dead, or did not come along, holds no new primary back.
    pub(super) fn slowest(
        &self,
        own: SequenceNumber,
        beyond_help: SequenceNumber,
        since_ns: u64,
        now_ns: u64,
    ) -> Option<SequenceNumber> {
        self.ids()
            .map(|id| &self.peers[usize::from(id.0)])
            .filter(|peer| peer.heard_ns >= Some(since_ns.max(now_ns.saturating_sub(PEER_QUIET_NS - 1))))
            .filter(|peer| peer.executed >= beyond_help)
            .filter(|peer| peer.executed >= own || now_ns.saturating_sub(peer.progress_ns) < PEER_STAGNANT_NS)
            .map(|peer| peer.executed)
            .min()
    }

    /// A peer says that its stable checkpoint is `stable`.
    pub(super) fn stabilised(&mut self, id: ReplicaId, stable: SequenceNumber) {
        let peer = &mut self.peers[usize::from(id.0)];
        peer.stable = peer.stable.max(stable);
    }

    /// The highest stable checkpoint that `weak` peers claim to have reached, so that a correct one has.
    pub(super) fn stable_of_weak_quorum(&self, weak: usize) -> SequenceNumber {
        self.claimed_by(weak, |peer| peer.stable)
    }

    /// The highest number that `weak` peers claim to have executed, so that a correct one has.
    pub(super) fn executed_of_weak_quorum(&self, weak: usize) -> SequenceNumber {
        self.claimed_by(weak, |peer| peer.executed)
    }

    fn claimed_by(&self, count: usize, claim: impl Fn(&Peer) -> SequenceNumber) -> SequenceNumber {
        let mut claims = self.peers.each_ref().map(claim);
        claims.sort_unstable();
        claims[REPLICAS_MAX - count]
    }

    /// What a peer may make this replica send.
    pub(super) fn allowances(&mut self, id: ReplicaId) -> &mut Allowances {
        &mut self.peers[usize::from(id.0)].allowances
    }

    /// A peer voted on a checkpoint; its latest are remembered.
    pub(super) fn checkpointed(&mut self, id: ReplicaId, sequence: SequenceNumber, digest: Digest) {
        let held = &mut self.peers[usize::from(id.0)].checkpoints;
        if sequence > held[0].0 && held.iter().all(|(held, _)| *held != sequence) {
            held[0] = (sequence, digest);
            held.sort_unstable_by_key(|(held, _)| *held);
        }
    }

    /// A peer does not hold the state of a checkpoint that it voted for, whether it forgot or let go of it.
    pub(super) fn lost_checkpoint(&mut self, id: ReplicaId, sequence: SequenceNumber) {
        let held = &mut self.peers[usize::from(id.0)].checkpoints;
        if let Some(lost) = held.iter_mut().find(|(held, _)| *held == sequence) {
            *lost = Default::default();
            held.sort_unstable_by_key(|(held, _)| *held);
        }
    }

    /// Whether `weak` peers voted for a checkpoint, and hold it as far as is known.
    pub(super) fn is_vouched(&self, checkpoint: (SequenceNumber, Digest), weak: usize) -> bool {
        self.ids().filter(|id| self.peers[usize::from(id.0)].checkpoints.contains(&checkpoint)).count() >= weak
    }

    /// The highest checkpoint above a number that `weak` peers voted for alike, so that it is right, and who they are.
    pub(super) fn vouched_checkpoint(
        &self,
        above: SequenceNumber,
        weak: usize,
    ) -> Option<((SequenceNumber, Digest), ReplicaSet)> {
        let voters = |checkpoint: &(SequenceNumber, Digest)| {
            let mut set = ReplicaSet::EMPTY;
            for id in self.ids().filter(|id| self.peers[usize::from(id.0)].checkpoints.contains(checkpoint)) {
                set.insert(id);
            }
            set
        };
        let candidates = self.peers.iter().flat_map(|peer| &peer.checkpoints).filter(|(sequence, _)| *sequence > above);
        let vouched = candidates.map(|candidate| (*candidate, voters(candidate)));
        vouched.filter(|(_, voters)| voters.count() >= weak).max_by_key(|((sequence, _), _)| *sequence)
    }

    /// A peer recovers, or no longer does.
    pub(super) fn recovers(&mut self, id: ReplicaId, recovers: bool) {
        self.peers[usize::from(id.0)].recovers = recovers;
    }

    /// Whether a peer that is there recovers.
    pub(super) fn is_recovering(&self, id: ReplicaId, now_ns: u64) -> bool {
        self.peers[usize::from(id.0)].recovers && self.is_live(id, now_ns)
    }

    /// Those that are there and recover.
    pub(super) fn recovering(&self, now_ns: u64) -> ReplicaSet {
        let mut set = ReplicaSet::EMPTY;
        for id in self.ids().filter(|id| self.is_recovering(*id, now_ns)) {
            set.insert(id);
        }
        set
    }

    /// How many of those that are there say that their disks stand still.
    pub(super) fn disks_standing(&self, now_ns: u64) -> usize {
        self.ids().filter(|id| self.peers[usize::from(id.0)].disk_stands && self.is_live(*id, now_ns)).count()
    }

    /// A packet of an epoch came from a peer.
    pub(super) fn heard_in_epoch(&mut self, id: ReplicaId, epoch: u64) {
        let peer = &mut self.peers[usize::from(id.0)];
        if peer.epoch_present != epoch {
            peer.epoch_present = epoch;
            peer.allowances.begin_epoch();
        }
    }

    /// A peer has forgotten all epochs before this one.
    pub(super) fn acknowledge_epoch(&mut self, id: ReplicaId, epoch: u64) {
        self.peers[usize::from(id.0)].epoch_acknowledged = Some(epoch);
    }

    /// Since which epoch what a peer signs counts, where that was acknowledged.
    pub(super) fn acknowledged(&self, id: ReplicaId) -> Option<u64> {
        self.peers[usize::from(id.0)].epoch_acknowledged
    }

    /// The epoch of a peer's last packet; 0 where none came.
    pub(super) fn epoch_present(&self, id: ReplicaId) -> u64 {
        self.peers[usize::from(id.0)].epoch_present
    }

    /// Whether what a replica signed in an epoch counts: once it forgot, only what it signed since, in that epoch or its present one.
    pub(super) fn counts_epoch(&self, id: ReplicaId, epoch: u64) -> bool {
        let peer = &self.peers[usize::from(id.0)];
        peer.epoch_acknowledged.is_none_or(|acknowledged| acknowledged == epoch || peer.epoch_present == epoch)
    }

    /// A peer says in which view it is, or which it wants to enter, and whether it suspects the primary of it.
    pub(super) fn stands(&mut self, id: ReplicaId, standing: &Standing) {
        let peer = &mut self.peers[usize::from(id.0)];
        peer.supports_from = View(standing.view.0.saturating_add(u64::from(standing.suspects)));
        peer.entered = standing.active.then_some(standing.view);
        peer.disk_stands = standing.disk_stands;
    }

    /// The view that a peer says it has entered, where it did not leave it since.
    pub(super) fn entered(&self, id: ReplicaId) -> Option<View> {
        self.peers[usize::from(id.0)].entered
    }

    /// How many peers say that they have entered a view, and take part in it.
    pub(super) fn active_in(&self, view: View) -> usize {
        self.peers.iter().filter(|peer| peer.entered == Some(view) && !peer.recovers).count()
    }

    /// How many peers suspect the primary of a view, or have left the view already: who left it alone must not be lost to the others.
    pub(super) fn against(&self, view: View) -> usize {
        self.peers.iter().filter(|peer| peer.supports_from > view).count()
    }

    /// All peers were just sent statements.
    pub(super) fn sent_statements(&mut self, now_ns: u64) {
        self.peers.iter_mut().for_each(|peer| peer.allowances.statement_spent(0, now_ns + STATEMENTS_ANSWER_NS));
    }

    /// Whether one more signature of what a peer sent may be checked now: some at once, and then one in each [`STATEMENT_CHECK_NS`].
    pub(super) fn may_check(&mut self, id: ReplicaId, now_ns: u64) -> bool {
        let until = &mut self.peers[usize::from(id.0)].checks_until_ns;
        let next = (*until).max(now_ns) + STATEMENT_CHECK_NS;
        let may = next <= now_ns + STATEMENT_CHECK_NS * STATEMENT_CHECKS_BURST;
        if may {
            *until = next;
        }
        may
    }

    fn is_live(&self, id: ReplicaId, now_ns: u64) -> bool {
        let heard = self.peers[usize::from(id.0)].heard_ns;
        heard.is_some_and(|heard| now_ns.saturating_sub(heard) < PEER_SILENT_NS)
    }

    fn ids(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.count as u8).map(ReplicaId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md BP-1`, both halves: a live backup holds the primary back, a silent or a stagnant one does not.
    #[test]
    fn only_live_peers_that_progress_hold_back() {
        let mut peers = Peers::new(4);
        let own = SequenceNumber(100);
        assert_eq!(peers.slowest(own, SequenceNumber(0), 0, 0), None);
        peers.heard(ReplicaId(1), 0);
        peers.heard(ReplicaId(2), 0);
        peers.progressed(ReplicaId(1), SequenceNumber(100), own, 0);
        peers.progressed(ReplicaId(2), SequenceNumber(40), own, 0);
        assert_eq!(peers.slowest(own, SequenceNumber(0), 0, PEER_QUIET_NS / 2), Some(SequenceNumber(40)));
        assert_eq!(
            peers.slowest(own, SequenceNumber(41), 0, PEER_QUIET_NS / 2),
            Some(SequenceNumber(100)),
            "beyond help"
        );
        // Quiet: not waited for.
        peers.heard(ReplicaId(1), PEER_QUIET_NS);
        assert_eq!(peers.slowest(own, SequenceNumber(0), 0, PEER_QUIET_NS), Some(SequenceNumber(100)));
        // Back, and talking without moving: waited for, but not for ever.
        let back = 2 * PEER_QUIET_NS;
        peers.heard(ReplicaId(2), back);
        assert_eq!(peers.slowest(own, SequenceNumber(0), 0, back), Some(SequenceNumber(40)));
        let end = back + PEER_STAGNANT_NS;
        for now in (back..=end).step_by(PEER_QUIET_NS as usize / 4).chain([end]) {
            peers.heard(ReplicaId(2), now);
            peers.heard(ReplicaId(1), now);
        }
        assert_eq!(peers.slowest(own, SequenceNumber(0), 0, end), Some(SequenceNumber(100)));
        assert_eq!(peers.slowest(own, SequenceNumber(0), end + 1, end), None, "not heard from in this view");
        // Moving again.
        peers.progressed(ReplicaId(2), SequenceNumber(41), own, end);
        assert_eq!(peers.slowest(own, SequenceNumber(0), 0, end), Some(SequenceNumber(41)));
        assert_eq!(peers.live(end).count(), 2);
    }

    /// `protocol.md BP-1`: to fall silent now and then, or to speak just often enough, is no progress.
    #[test]
    fn who_keeps_coming_back_without_progress_does_not_hold_back() {
        let (mut peers, own) = (Peers::new(4), SequenceNumber(100));
        peers.progressed(ReplicaId(2), SequenceNumber(40), own, 0);
        let mut held_back_ns = 0;
        let step_ns = PEER_QUIET_NS / 20;
        for now_ns in (0..100 * PEER_QUIET_NS).step_by(step_ns as usize) {
            if now_ns % PEER_QUIET_NS == 0 {
                peers.heard(ReplicaId(2), now_ns);
            }
            held_back_ns += step_ns * u64::from(peers.slowest(own, SequenceNumber(0), 0, now_ns).is_some());
        }
        assert_eq!(held_back_ns, PEER_STAGNANT_NS);
        // Progress gives it its time again.
        let now_ns = 200 * PEER_QUIET_NS;
        peers.heard(ReplicaId(2), now_ns);
        peers.progressed(ReplicaId(2), SequenceNumber(41), own, now_ns);
        assert_eq!(peers.slowest(own, SequenceNumber(0), 0, now_ns), Some(SequenceNumber(41)));
    }

    fn stands(peers: &mut Peers, id: u8, view: View, suspects: bool) {
        let standing = Standing { suspects, ..Standing::active_in(view) };
        peers.stands(ReplicaId(id), &standing);
    }

    /// `protocol.md VC-1`, `VC-8`
    #[test]
    fn who_left_a_view_is_against_it() {
        let mut peers = Peers::new(4);
        let against = |peers: &Peers| peers.against(View(1));
        stands(&mut peers, 1, View(1), false);
        assert_eq!(against(&peers), 0);
        stands(&mut peers, 1, View(1), true);
        stands(&mut peers, 2, View(0), true);
        assert_eq!(against(&peers), 1, "a suspicion is of one view");
        assert_eq!((peers.active_in(View(1)), peers.active_in(View(2))), (1, 0));
        stands(&mut peers, 2, View(2), false);
        stands(&mut peers, 3, View(u64::MAX), true);
        assert_eq!(against(&peers), 3);
        stands(&mut peers, 1, View(1), false);
        assert_eq!(against(&peers), 2);
    }
}
