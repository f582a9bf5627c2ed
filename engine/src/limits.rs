//! Every number of the system, with its derivation. Assertions at the end tie them together.

/// The most replicas of a cluster: an audience is a bitmap of 16 bits, and 16 is the largest `3f+1` that fits.
pub const REPLICAS_MAX: usize = 16;

/// The most clients (drivers and the operator): the tables that hold a client's requests and replies are sized at start.
pub const CLIENTS_MAX: usize = 256;

/// A datagram on an Ethernet of 1500 bytes: less 20 of IPv4 and 8 of UDP.
pub const DATAGRAM_BYTES_DEFAULT: usize = 1472;

/// A datagram on a loopback device, whose MTU is 65536: large enough to make a datagram's cost vanish in its operations', small
/// enough that a receive batch of 64 stays in a second-level cache's reach.
pub const DATAGRAM_BYTES_LOOPBACK: usize = 32 * 1024;

/// The largest datagram that can be configured: the UDP limit of 65507 rounded down to whole pages.
pub const DATAGRAM_BYTES_MAX: usize = 60 * 1024;

/// The smallest datagram that can be configured: IPv6's least MTU less 40 of IPv6 and 8 of UDP.
pub const DATAGRAM_BYTES_MIN: usize = 1232;

/// The most requests in a batch; a pre-prepare's fetch bitmap has a bit for each.
pub const BATCH_REQUESTS_MAX: usize = 256;

/// The most operations in a request: bounds the work that one request can cause.
pub const REQUEST_OPERATIONS_MAX: usize = 2048;

/// The most bytes that one replica keeps in request bodies, all clients together, where no request is longer than a packet. Half of it is for
/// requests that wait.
pub const BODIES_BYTES_MAX: usize = 256 << 20;

/// The longest entry or value that can be configured, and the default where memory allows it: 1 MiB. What is longer belongs into a store,
/// and its name into the order.
pub const OPERATION_BYTES_MAX: usize = 1 << 20;

/// The most bytes of bodies where requests are longer than a packet: two windows of 256 numbers with one request of 1 MiB each, twice over
/// what they take on loopback. A configuration that needs more is refused.
pub const BODIES_BYTES_LARGE_MAX: usize = 1 << 30;

/// The most parts of a request: 1 MiB and the longest key, in the pieces that the smallest datagrams carry to the most replicas, are 1408.
pub const PARTS_MAX: usize = 2048;

/// The memory of a request in parts is a multiple of this: a page of the host, so that requests of almost one size use the same memory.
pub const LARGE_BODY_STEP_BYTES: usize = 4096;

/// Parts of a request of which no other came for this long are forgotten: twice [`RETRANSMIT_MAX_NS`], so that a correct client's never are.
pub const PARTS_PATIENCE_NS: u64 = 2 * RETRANSMIT_MAX_NS;

/// Requests whose parts a replica collects without a proof that the client sent any of them, at a time.
pub const PARTS_UNPROVEN_MAX: usize = 8;

/// Requests of one client whose parts a replica collects at a time, however short they are.
pub const PARTS_UNFINISHED_MAX: usize = 64;

/// The bytes of parts that a client sends at once: a sixtieth of a receive buffer of 4 MiB.
pub const PARTS_BURST_BYTES: usize = 64 * 1024;

/// How long a client waits between such bursts: 256 MB/s.
pub const PARTS_PACE_NS: u64 = 250_000;

/// The longest wait between bursts of a client whose requests in parts had to be sent again: it doubles for each, and halves for each that
/// needed it not. 4 MB/s.
pub const PARTS_PACE_MAX_NS: u64 = 64 * PARTS_PACE_NS;

/// The bytes of long results that a replica sends in one turn, to all clients together: with what else a turn sends, they fit its frames.
pub const PARTS_TURN_BYTES: usize = 4 * PARTS_BURST_BYTES;

/// What a byte more of a request adds to the wait before it is sent again: 100 MB/s.
pub const RETRANSMIT_BYTE_NS: u64 = 10;

/// The bytes of requests in parts that a client has under way, at most: what is on its way to a replica fits its receive buffer. A replica has
/// at most as much on its way to a client.
pub const LARGE_BYTES_IN_FLIGHT: usize = 4 << 20;

/// The results in parts that a client collects from one replica at a time: as many as it asks for at once.
pub const RESULT_PARTS_UNFINISHED_MAX: usize = 4;

/// The widest window `L`: a status message has a bit for each number of it.
pub const WINDOW_MAX: u64 = 512;

/// A replica that was not heard from for this long is not reachable: shown by `status`.
pub const PEER_SILENT_NS: u64 = 1_000_000_000;

/// A backup that was not heard from for this long no longer holds the primary back: it is dead, or will fetch the state.
pub const PEER_QUIET_NS: u64 = 20_000_000;

/// A backup that is behind and made no progress for this long no longer holds the primary back, however much it talks: otherwise one
/// faulty backup could stop the cluster.
pub const PEER_STAGNANT_NS: u64 = 50_000_000;

/// Status messages while there is nothing to complain about: a heartbeat, four in [`PEER_SILENT_NS`].
pub const STATUS_IDLE_NS: u64 = 250_000_000;

/// A replica without progress for this long, while it knows of work, says so with a status message: some twenty times an ordering round on
/// one busy host. Less where its batches follow each other faster.
pub const STATUS_STUCK_NS: u64 = 3_000_000;

/// The shortest such wait that is learned: some five ordering rounds on one busy host.
pub const STATUS_STUCK_MIN_NS: u64 = 500_000;

/// The longest wait between status messages of a stuck replica: their distance doubles from [`STATUS_STUCK_NS`] to this.
pub const STATUS_STUCK_MAX_NS: u64 = 100_000_000;

/// So many further statuses follow at the first distance, before it doubles: one of them, or what it was answered, may be lost.
pub const STATUS_EAGER: u32 = 2;

/// A replica answers one peer's status messages no more often than this.
pub const STATUS_ANSWER_NS: u64 = STATUS_STUCK_MIN_NS;

/// How often that doubles for a peer that repeats itself: to 64 ms, less than [`STATUS_STUCK_MAX_NS`].
pub const STATUS_ANSWER_DOUBLINGS: u32 = 7;

/// The most bytes of one answer to a status message.
pub const STATUS_ANSWER_BYTES: usize = 24 * 1024;

/// The wait before a body is asked for again, from the next replica.
pub const FETCH_RETRY_NS: u64 = 2_000_000;

/// The most bytes of bodies that one peer is sent in each [`FETCH_REFILL_NS`]: two of the largest packets always fit, and 64 MB/s are more than
/// a replica needs that a client leaves out.
pub const FETCH_ANSWER_BYTES: usize = 128 * 1024;

/// How often a peer's allowance of bodies is renewed.
pub const FETCH_REFILL_NS: u64 = 2_000_000;

/// The most batches that a replica pre-prepares for one number over all views because a primary proposed them (PBFT-02 section 4.4 leaves the bound
/// open). A new one is needed only when a primary proposed something else for a number after a view change that selected nothing for it.
pub const PRE_PREPARED_MAX: usize = 7;

/// The most entries of set Q for one number at a correct replica: what was proposed to it, what views took over, each of which was proposed to some
/// correct replica before, and the null batch (`protocol.md VC-3`).
pub const fn pre_prepared_entries_max(replicas: usize) -> usize {
    PRE_PREPARED_MAX * replicas + 1
}

/// The bytes of the longest view change of a cluster: its fixed part, the checkpoints, and sets P and Q of the window.
pub const fn statement_bytes_max(window: u64, replicas: usize) -> usize {
    1024 + window as usize * 48 * (1 + pre_prepared_entries_max(replicas))
}

/// The bytes of the longest view change of any cluster.
pub const STATEMENT_BYTES_MAX: usize = statement_bytes_max(WINDOW_MAX, REPLICAS_MAX);

// A view change counts its entries in 16 bits.
const _: () = assert!(WINDOW_MAX as usize * pre_prepared_entries_max(REPLICAS_MAX) <= u16::MAX as usize);

/// A primary that says nothing for this long while a request waits is suspected, at the least: some fifteen time slices of a busy host, so
/// that a primary that merely lost its core to others is not.
pub const SILENCE_MIN_NS: u64 = 60_000_000;

/// The longest silence of a primary that is borne while a request waits.
pub const SILENCE_MAX_NS: u64 = 2_000_000_000;

/// The own disk has this long for a write: while it takes longer, the primary's time stands still. A third of [`SILENCE_MIN_NS`].
pub const DISK_SLOW_NS: u64 = SILENCE_MIN_NS / 3;

/// A primary that talks but leaves a request waiting for this long is suspected, at the least.
pub const LATENCY_MIN_NS: u64 = 250_000_000;

/// The longest that a request waits before the primary is suspected.
pub const LATENCY_MAX_NS: u64 = 8_000_000_000;

/// Time-outs are learned from the largest figures of the last one to two of these.
pub const LEARNED_NS: u64 = 5_000_000_000;

/// A suspicion is looked at again after this before it counts: whoever was stopped itself first hears what arrived meanwhile.
pub const SUSPICION_CONFIRM_NS: u64 = 2_000_000;

/// What verifying a packet is taken to cost, besides its bytes: a tag, and the way there.
pub const QUOTA_PACKET_NS: u64 = 1_000;

/// Bytes hashed in a nanosecond: BLAKE3 in vectors.
pub const QUOTA_BYTES_PER_NS: u64 = 4;

/// A sender may cause verification for one part in so many of the time: half a core, some 365 thousand packets of 1472 bytes a second or 1.8 GB/s in
/// datagrams of 32 KiB, which no correct sender comes near.
pub const QUOTA_SHARE: u64 = 2;

/// A sender may be ahead of its share by so much: everything that a receive buffer of some MiB can hold.
pub const QUOTA_BURST_NS: u64 = 100_000_000;

/// What a packet with a wrong tag costs its sender's share: 500 a second are looked at, and a burst of 50.
pub const QUOTA_BAD_TAG_NS: u64 = 1_000_000;

/// How often it is looked at whether a replica floods.
pub const FLOOD_WINDOW_NS: u64 = 100_000_000;

/// A replica floods when it sends more than so many times as much as the next busiest (Aardvark's figure).
pub const FLOOD_FACTOR: u64 = 20;

/// Fewer packets of the next busiest in a window count as so many: 20 000 packets in 100 ms, unasked, are a flood beside replicas that are idle.
pub const FLOOD_FLOOR_PACKETS: u64 = 1_000;

/// A replica that floods is not listened to for this long: its place is taken by the others, and a wrong verdict costs no more than a pause.
pub const ISOLATION_NS: u64 = 5_000_000_000;

/// What a primary achieves is judged in intervals of this.
pub const BAR_INTERVAL_NS: u64 = 1_000_000_000;

/// So many intervals in a row must speak against a primary.
pub const BAR_INTERVALS: u32 = 3;

/// A new primary is not judged for this long (Aardvark's figure); its caches are cold, and what waited meanwhile comes at once.
pub const BAR_GRACE_NS: u64 = 5_000_000_000;

/// How often the grace doubles while one primary after the other is complained of: to 80 s.
pub const BAR_GRACE_DOUBLINGS: u32 = 4;

/// The bar is a share of the best of the last one to two of these.
pub const BAR_BEST_NS: u64 = 30_000_000_000;

/// The bar's first height in percent of the best; it rises by 1 with each interval that was judged and good.
pub const BAR_PERCENT_FIRST: u64 = 50;

/// Its last (Aardvark's figure).
pub const BAR_PERCENT_LAST: u64 = 90;

/// What a request counts for beside its bytes, so that a change of their size changes little.
pub const BAR_REQUEST_BYTES: usize = 512;

/// For less than one such part of an interval nothing may wait: else there was not work enough to tell how fast the primary is.
pub const BAR_REST_PARTS: u64 = 10;

/// While a backup waits for the primary, it looks at least this often whether it still does.
pub const BAR_LOOK_NS: u64 = 2_000_000;

/// A look that is later than due by more than this was late for want of a core.
pub const BAR_LATE_NS: u64 = 500_000;

/// What comes so long after a request was first forwarded, which is three times by then, must not be served before it.
pub const FAIR_AFTER_NS: u64 = 3 * FORWARD_RETRY_NS;

/// So many batches that serve others first are unfair: the turn of clients takes one, what large requests leave room for another, and twice that.
pub const FAIR_BATCHES: u32 = 4;

/// A request is forwarded to a primary again after this: a primary that has it proposes it sooner.
pub const FORWARD_RETRY_NS: u64 = 20_000_000;

/// A request of more packets than this is forwarded again after as many times as it has so many.
pub const FORWARD_BURST_PACKETS: usize = 64;

/// How often time-outs double while views change in vain: the shortest to about a minute.
pub const DOUBLINGS_MAX: u32 = 11;

/// The longest time-out, doublings included: what was learned in bad times must not keep a bad primary for hours.
pub const TIMEOUT_VIEW_MAX_NS: u64 = SILENCE_MIN_NS << DOUBLINGS_MAX;

/// Signed statements are sent again to one peer no more often than this.
pub const STATEMENTS_ANSWER_NS: u64 = 10_000_000;

/// How often that doubles for a peer that repeats itself: to 80 ms, less than [`STATUS_STUCK_MAX_NS`].
pub const STATEMENTS_ANSWER_DOUBLINGS: u32 = 3;

/// Statements for one peer take so long for each KiB: 32 MB/s.
pub const STATEMENT_NS_PER_1024_BYTES: u64 = 32_000;

/// One more signature of one peer's statements may be checked after this: at some 60 µs a check that is 6 % of a core.
pub const STATEMENT_CHECK_NS: u64 = 1_000_000;

/// Checks that may follow each other at once: a whole new view with its view changes, twice.
pub const STATEMENT_CHECKS_BURST: u64 = 2 * (REPLICAS_MAX as u64 + 1);

/// One more signature of one client's requests may be checked after this, where a check is not needed to execute: 6 % of a core.
pub const REQUEST_CHECK_NS: u64 = 1_000_000;

/// Checks of one client's requests that may follow each other at once.
pub const REQUEST_CHECKS_BURST: u64 = 64;

/// One more signature of any client's requests may be checked after this: with all clients together, a third of a core.
pub const REQUEST_CHECK_COMMON_NS: u64 = 200_000;

/// Checks of all clients' requests that may follow each other at once.
pub const REQUEST_CHECKS_COMMON_BURST: u64 = 256;

/// A request of a client is examined no sooner than this after the one before; whoever was asked and gave no testimony is left, and the next are asked, in
/// the same time. Some fifty round trips on a busy host.
pub const EXAMINE_NS: u64 = 20_000_000;

/// How often the others are asked about one request before it is given up.
pub const EXAMINE_TRIES: u32 = 4;

/// What a replica has no session for to verify is held against the client when it lasts for this long: five times what announcements and requests
/// wait at most before they are sent again.
pub const DISPUTE_PATIENCE_NS: u64 = 5_000_000_000;

/// Requests of batches that are older are not examined: who catches up must not take old tags for bad ones.
pub const DISPUTE_FRESH_NS: u64 = 2_000_000_000;

/// A dispute is said again to the primary after this.
pub const DISPUTE_RETRY_NS: u64 = 500_000_000;

/// A state that is being fetched gives way to a later one no sooner than this: what was fetched of it serves for the later one too.
pub const STATE_RETARGET_NS: u64 = 50_000_000;

/// How often that doubles while none is here before a later one is: to 6.4 s, some twenty round trips around the world.
pub const STATE_RETARGET_DOUBLINGS: u32 = 7;

/// The most bytes of a state that one peer is sent in each [`STATE_REFILL_NS`]: some 400 MB/s, which leaves the order most of a core.
pub const STATE_ANSWER_BYTES: usize = 400 * 1024;

/// How often a peer's allowance of state is renewed.
pub const STATE_REFILL_NS: u64 = 1_000_000;

/// More than `f` replicas that do not remember what they promised for so long are told of: they may have no way back.
pub const FORGOTTEN_TELL_NS: u64 = 2_000_000_000;

/// A replica that recovers asks the others this often.
pub const RECOVERY_QUERY_NS: u64 = 20_000_000;

/// While a replica recovers and no request waits, the primary orders one null batch in this time: so an idle cluster comes to the next
/// checkpoints in a fraction of a second.
pub const NULL_BATCH_NS: u64 = 500_000;

/// How often that doubles, with each window of null batches in a row: to four seconds, so that a checkpoint at each lasts for a dozen round trips around the world.
pub const NULL_BATCH_DOUBLINGS: u32 = 13;

/// While some replica recovers, the primary is waited for as for a request from so long after the last batch on: two of the longest distances.
pub const NULL_PATIENCE_NS: u64 = 2 * (NULL_BATCH_NS << NULL_BATCH_DOUBLINGS);

/// A held proposal (ahead of this replica's clock) is looked at again after this.
pub const HELD_RETRY_NS: u64 = 5_000_000;

/// A replica is *stalled* when it knows of work and has executed nothing for this long: shown by `status`.
pub const STALLED_NS: u64 = 1_000_000_000;

/// Counters of one sender's packets that the replay window remembers below the highest: more than a receive buffer can hold out of order.
pub const REPLAY_WINDOW_PACKETS: u64 = 4096;

/// The first retransmission of a request when no round trip was measured yet.
pub const RETRANSMIT_INITIAL_NS: u64 = 50_000_000;

/// The shortest wait before a retransmission: a scheduler's slice on a shared host.
pub const RETRANSMIT_MIN_NS: u64 = 1_000_000;

/// A request is sent again so often before its wait doubles: it, or what it is answered, may be lost.
pub const RETRANSMIT_EAGER: u32 = 1;

/// The shortest wait for the answers to a query, after which it is ordered, which is a write's work: a scheduler's slice or two on a shared host.
pub const QUERY_PATIENCE_MIN_NS: u64 = 10_000_000;

/// While parts of long results came within this, none is asked for again: a scheduler's slice or two on a shared host.
pub const RESULTS_PATIENCE_NS: u64 = 10_000_000;

/// The replies to a request come within this of each other, even on a busy host: who lacks some after it asks again.
pub const REPLIES_SPREAD_NS: u64 = 5_000_000;

/// The longest wait before a retransmission.
pub const RETRANSMIT_MAX_NS: u64 = 1_000_000_000;

/// A result of at most so many bytes travels whole from every replica: its digest would save no more than half of it, and would have to be
/// computed.
pub const RESULT_FULL_BYTES: usize = 64;

/// Queries of one client that a driver has under way, and that a replica lets wait: as many operations as two of the largest requests have.
pub const QUERIES_MAX: usize = 4096;

/// The most bytes of queries of one client that wait at a replica: [`QUERIES_MAX`] of ordinary size.
pub const QUERIES_BYTES_MAX: usize = 1 << 20;

/// Announcements to a peer without a session are sent again after this, doubling to [`ANNOUNCE_MAX_NS`].
pub const ANNOUNCE_NS: u64 = 20_000_000;

/// The longest wait between announcements to a peer that does not answer.
pub const ANNOUNCE_MAX_NS: u64 = 1_000_000_000;

/// Announcements to one peer are never closer together: a handshake takes two of each side.
pub const ANNOUNCE_PACE_NS: u64 = 500_000;

/// One more announcement's signature may be checked after this: at some 60 µs a check that is at most 6 % of a core.
pub const ANNOUNCE_CHECK_NS: u64 = 1_000_000;

/// Checks that may follow each other at once: the handshakes of a whole cluster that starts together.
pub const ANNOUNCE_CHECKS_BURST: u32 = 128;

/// Of the common budget one name gets one check in this time: a twentieth, so that a flood in one name leaves the others theirs.
pub const ANNOUNCE_NAME_CHECK_NS: u64 = 20_000_000;

/// Checks in one name that may follow each other at once: two handshakes of both sides.
pub const ANNOUNCE_NAME_CHECKS_BURST: u32 = 8;

/// Beside that, each name has one check in this time for announcements that echo this process's open challenge: with 20 names that is
/// another 1.2 % of a core at most.
pub const ANNOUNCE_ECHO_CHECK_NS: u64 = 100_000_000;

/// Checks of that reserve that may follow each other at once: a handshake takes one of each side, and may be repeated.
pub const ANNOUNCE_ECHO_CHECKS_BURST: u32 = 4;

/// How long two generations of a key overlap: ten times the longest distance of announcements, so that the new one is confirmed before the
/// former one goes; less where keys live shorter (a quarter of their life).
pub const KEY_OVERLAP_NS: u64 = 10_000_000_000;

/// Packets sealed under one generation, at most: 2^32, the bound of NIST SP 800-38D for one key of GCM, although the counters used here as
/// nonces never repeat. At a million packets a second it is an hour and eleven minutes.
pub const KEY_PACKETS_MAX: u64 = 1 << 32;

/// The longest life of a generation that can be configured: 30 days.
pub const KEY_LIFETIME_MAX_S: u64 = 30 * 24 * 3600;

/// Probes of the multicast path while it is in use: four in a second.
pub const PROBE_NS: u64 = 250_000_000;

/// While it is not in use: from this distance, doubling to [`PROBE_MAX_NS`].
pub const PROBE_MIN_NS: u64 = 20_000_000;

/// The longest distance of probes.
pub const PROBE_MAX_NS: u64 = 1_000_000_000;

/// Probes that may go unanswered before a path counts as dead, and that a silent replica gets before it is not waited for.
pub const PROBES_MISSED_MAX: u64 = 4;

/// Frames of a process: those that the endpoint keeps ready for receiving, and those on their way out, several duty cycles' worth.
pub const POOL_FRAMES: usize = 1024;

/// Log streams and open questions of one client at a replica.
pub const STREAMS_MAX: usize = 64;

/// The most bytes of log runs that one follow asks for.
pub const FOLLOW_CREDIT_BYTES_MAX: usize = 256 * 1024;

/// The bytes of log runs that a follower asks for at a time: they fit a receive buffer, and take longer to send than to ask for.
pub const FOLLOW_CREDIT_BYTES: usize = 128 * 1024;

/// A follower asks again after this.
pub const FOLLOW_RENEW_NS: u64 = 40_000_000;

/// The most bytes of log runs that one follow brings: a replica sends while there is credit, so the last message goes beyond it.
pub const FOLLOW_GRANT_BYTES_MAX: usize = FOLLOW_CREDIT_BYTES + DATAGRAM_BYTES_MAX;

/// The most bytes of log runs that a follower holds: what one follow brought waits for its verdict or for the subscriber, while what the
/// next one brings arrives.
pub const FOLLOW_PENDING_BYTES_MAX: usize = 2 * FOLLOW_GRANT_BYTES_MAX;

/// A source of log runs that brought nothing in this time that others vouch for is replaced by the next: three follows, or three questions
/// about what it sent, may get lost.
pub const FOLLOW_PATIENCE_NS: u64 = 3 * FOLLOW_RENEW_NS;

/// How often [`FOLLOW_PATIENCE_NS`] is doubled, once for each time that all replicas were the source in vain: to about a second, for which
/// replicas that are alive should not need.
pub const FOLLOW_PATIENCE_DOUBLINGS_MAX: usize = 3;

/// How often a survey of the replicas is repeated until they have answered.
pub const SURVEY_RENEW_NS: u64 = 40_000_000;

/// An answer of all replicas is waited for so long before that of a quorum is taken.
pub const SURVEY_PATIENCE_NS: u64 = 20_000_000;

/// A busy driver looks for applications that came or left no more often than this: a look is a system call.
pub const SESSIONS_LOOK_NS: u64 = 1_000_000;

/// Such looks, with the making of sessions for those that came, take at most one part in so many of its time.
pub const SESSIONS_SHARE: u64 = 10;

/// The size of a page of the state: what one small write makes the next checkpoint copy and hash, against what the tree weighs (1/64).
pub const PAGE_BYTES: usize = 4096;

/// Children of a node of the digest tree: their digests are 1 KiB, which every datagram holds, and 4 levels reach 4 GiB.
pub const FAN_OUT: usize = 32;

/// The most pages of a state: byte offsets stay far from the end of a `u64`, and the tree has at most 8 levels.
pub const PAGES_MAX: u64 = 1 << 40;

/// Free pages that a state keeps for its next writes, 16 MiB: what is written from one checkpoint to the next at some hundreds of MB/s. What is more, since
/// a checkpoint is still written or fetched, is given back to the system.
pub const PAGES_FREE_MAX: usize = 4096;

/// The most bytes of state that a replica asks one source for before it has the answers: what all sources send at once fits a socket's
/// receive buffer of some MiB, and at a round trip of 200 µs it is still 1.3 GB/s a source.
pub const STATE_CREDIT_BYTES: usize = 256 * 1024;

/// A source that answers is asked for so many bytes at least, however much is lost on the way: a loss costs a wait, which many things share.
pub const STATE_WINDOW_BYTES_MIN: usize = 32 * 1024;

/// The things that one query asks for at most: with several queries to a source under way it answers one while the next travels.
pub const STATE_QUERY_ITEMS_MAX: usize = 32;

/// What a source of state was asked for is asked for again after this, or after four round trips if those are longer: some ten times what a busy
/// host takes to answer a whole credit.
pub const STATE_RETRY_NS: u64 = 20_000_000;

/// How often that is doubled for a source that brings nothing: to 160 ms.
pub const STATE_RETRY_DOUBLINGS: u32 = 3;

/// How often it is doubled where no source has brought anything yet: to 2.5 s.
pub const STATE_FAR_DOUBLINGS: u32 = 7;

/// A source that brought nothing after [`STATE_RETRY_DOUBLINGS`] either is left alone for this long.
pub const STATE_REST_NS: u64 = 500_000_000;

/// Nodes of the digest tree that are kept from one target of a transfer to the next, 4 MiB.
pub const STATE_NODES_KEPT_MAX: usize = 4096;

/// Pages and nodes of a fetched state that are hashed in one duty cycle: some 100 µs.
pub const STATE_SEAL_STEP: usize = 256;

const _: () = {
    assert!(REPLICAS_MAX % 3 == 1);
    assert!(PAGE_BYTES < STATE_WINDOW_BYTES_MIN && STATE_WINDOW_BYTES_MIN < STATE_CREDIT_BYTES);
    assert!(FAN_OUT.is_power_of_two() && FAN_OUT * 32 + 140 <= DATAGRAM_BYTES_MIN);
    assert!(DATAGRAM_BYTES_MIN <= DATAGRAM_BYTES_DEFAULT && DATAGRAM_BYTES_DEFAULT <= DATAGRAM_BYTES_LOOPBACK);
    assert!(DATAGRAM_BYTES_LOOPBACK <= DATAGRAM_BYTES_MAX && DATAGRAM_BYTES_MAX <= 65507);
    // A batch can always name one request of the largest size.
    assert!(
        BODIES_BYTES_MAX / (8 * WINDOW_MAX as usize) >= DATAGRAM_BYTES_MAX && FETCH_ANSWER_BYTES >= DATAGRAM_BYTES_MAX
    );
    assert!(
        (OPERATION_BYTES_MAX + crate::service::kv::COMMAND_OVERHEAD_BYTES_MAX)
            .div_ceil(DATAGRAM_BYTES_MIN - 48 - REPLICAS_MAX * 20 - 72 - 64)
            <= PARTS_MAX
            && PARTS_MAX.is_multiple_of(64)
            && PARTS_MAX / 8 + 64 <= DATAGRAM_BYTES_MIN - 48 - REPLICAS_MAX * 20
    );
    assert!(PARTS_PATIENCE_NS > RETRANSMIT_MAX_NS && PARTS_BURST_BYTES >= DATAGRAM_BYTES_MAX);
    assert!(LARGE_BYTES_IN_FLIGHT >= OPERATION_BYTES_MAX + crate::service::kv::COMMAND_OVERHEAD_BYTES_MAX);
    // Four heartbeats may be lost before a live backup stops counting.
    assert!(STATUS_IDLE_NS * 4 <= PEER_SILENT_NS);
    assert!(STATUS_ANSWER_NS << STATUS_ANSWER_DOUBLINGS <= STATUS_STUCK_MAX_NS);
    assert!(STATEMENTS_ANSWER_NS << STATEMENTS_ANSWER_DOUBLINGS <= STATUS_STUCK_MAX_NS);
    assert!(
        STATUS_STUCK_MIN_NS < STATUS_STUCK_NS
            && STATUS_STUCK_NS < STATUS_STUCK_MAX_NS
            && STATUS_STUCK_MAX_NS < STALLED_NS
    );
    assert!(KEY_OVERLAP_NS >= 10 * ANNOUNCE_MAX_NS);
    assert!(PROBE_MIN_NS < PROBE_NS && PROBE_NS < PROBE_MAX_NS);
    // One name cannot use up the common budget.
    assert!(
        ANNOUNCE_NAME_CHECK_NS >= 20 * ANNOUNCE_CHECK_NS && ANNOUNCE_NAME_CHECKS_BURST * 16 <= ANNOUNCE_CHECKS_BURST
    );
    // A whole window of the smallest possible batches fits the replay window: 3 packets a replica and batch.
    assert!(REPLAY_WINDOW_PACKETS >= 3 * WINDOW_MAX);
    assert!(FOLLOW_CREDIT_BYTES <= FOLLOW_CREDIT_BYTES_MAX);
    assert!(QUERIES_MAX == 2 * REQUEST_OPERATIONS_MAX && QUERIES_BYTES_MAX >= DATAGRAM_BYTES_MAX);
    assert!(WINDOW_MAX.is_multiple_of(64) && BATCH_REQUESTS_MAX.is_multiple_of(64));
};
