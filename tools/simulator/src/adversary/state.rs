//! A3: lies about states: votes for checkpoints that nobody has, poisoned answers to who fetches one, claims of what committed.

use crate::adversary::agent::Owned;
use crate::adversary::letter::Letter;
use crate::adversary::liar::{some_batch, some_number};
use crate::adversary::strategy::{Deed, Strategy};
use crate::adversary::views::{one_of, told_by};
use crate::scenario::words::made_up;
use crate::world::cluster::Cluster;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_crypto::Digest;
use logothete_engine::limits::FAN_OUT;
use logothete_engine::numbers::SequenceNumber;
use logothete_engine::wire::Message;
use logothete_engine::wire::agreement::{Batch, CheckpointVote, CommitClaim};
use logothete_engine::wire::state::{
    CheckpointName, NodeRecord, StateItem, append_nodes, append_pages, append_piece, append_query,
};

const MILLISECOND_NS: u64 = 1_000_000;

/// Checkpoint votes with other digests, early, between the checkpoints, and far in the future.
struct ForgeCheckpoints {
    random: Random,
}

pub fn forge_checkpoints(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(ForgeCheckpoints { random })
}

fn some_state(cluster: &Cluster, sequence: u64, random: &mut Random) -> Digest {
    match random.below(3) {
        0 => made_up("a state that nobody has"),
        1 => cluster.checks.state_after(sequence.saturating_sub(1)).unwrap_or_default(),
        _ => cluster.checks.state_after(sequence).unwrap_or_else(|| made_up("a state to come")),
    }
}

impl Strategy for ForgeCheckpoints {
    fn on_outgoing(&mut self, cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let random = &mut self.random;
        let body = letter.rewritten(|message, bytes, out| match message {
            Message::Checkpoint(vote) if random.percent(50) => {
                let state = some_state(cluster, vote.sequence().0, random);
                CheckpointVote::new(vote.sequence(), state).append(out);
            }
            _ => out.extend_from_slice(bytes),
        });
        out.extend(letter.with_body(body));
    }

    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(own) = one_of(owned, random) else { return Vec::new() };
        let Some(told) = told_by(own, cluster, random) else { return Vec::new() };
        let (interval, near) = (cluster.settings.checkpoint_interval, some_number(cluster, random).0);
        let grid = near - near % interval;
        let far = [1, 2, 3, 1 << 40][random.below(4)] * interval;
        let places = [near, grid, grid + interval, grid + far, 0, u64::MAX, u64::MAX - u64::MAX % interval];
        let mut body = Vec::new();
        for _ in 0..1 + random.below(4) {
            let sequence = places[random.below(places.len())];
            CheckpointVote::new(SequenceNumber(sequence), some_state(cluster, sequence, random)).append(&mut body);
        }
        vec![Deed::Say(Letter::between(own, told, body))]
    }
}

/// Who fetches a state from it gets wrong pages, wrong nodes, those of another checkpoint, a refusal, all late, or nothing; who does not gets them too.
struct PoisonState {
    random: Random,
}

pub fn poison_state(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(PoisonState { random })
}

impl PoisonState {
    fn poison(&mut self, message: &Message<'_>, bytes: &[u8], out: &mut Vec<u8>) {
        let random = &mut self.random;
        let elsewhere = |name: CheckpointName, random: &mut Random| CheckpointName {
            sequence: SequenceNumber(name.sequence.0.saturating_add([1, 8, 1 << 60][random.below(3)])),
            ..name
        };
        match message {
            Message::StatePages(pages) => {
                let (twist, mut pieces) = (random.below(4), Vec::new());
                for piece in pages.iter() {
                    let mut bytes = piece.bytes.to_vec();
                    let at = random.below(bytes.len());
                    bytes[at] ^= if twist == 0 { 0x20 } else { 0 };
                    let index = if twist == 1 { piece.index.wrapping_add(1) } else { piece.index };
                    append_piece(&mut pieces, index, piece.first, &bytes);
                }
                let name = if twist == 2 { elsewhere(pages.checkpoint, random) } else { pages.checkpoint };
                append_pages(out, name, &pieces);
            }
            Message::StateNodes(nodes) => {
                let twist = random.below(4);
                let wrong = |node: &NodeRecord| {
                    let mut children = node.children;
                    children[0].0[3] ^= if twist == 0 { 1 } else { 0 };
                    let index = if twist == 1 { node.index().wrapping_add(1) } else { node.index() };
                    NodeRecord::new(node.level() as u8, index, children)
                };
                let wrong: Vec<_> = nodes.nodes.iter().map(wrong).collect();
                let name = if twist == 2 { elsewhere(nodes.checkpoint, random) } else { nodes.checkpoint };
                append_nodes(out, name, if twist == 3 { &[] } else { &wrong });
            }
            _ => out.extend_from_slice(bytes),
        }
    }
}

impl Strategy for PoisonState {
    fn on_outgoing(&mut self, _: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        let (states, rest) = letter.parted(&["state-pages", "state-nodes"]);
        out.extend(rest);
        let Some(states) = states else { return };
        match self.random.below(6) {
            0 => {}
            1 => out.push(states),
            2 => {
                let delay_ns = states.delay_ns + self.random.below(5000) as u64 * MILLISECOND_NS;
                out.push(Letter { delay_ns, ..states });
            }
            _ => {
                let body = states.rewritten(|message, bytes, out| self.poison(message, bytes, out));
                out.extend(states.with_body(body));
            }
        }
    }

    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(own) = one_of(owned, random).filter(|_| random.percent(30)) else { return Vec::new() };
        let Some(told) = told_by(own, cluster, random) else { return Vec::new() };
        let interval = cluster.settings.checkpoint_interval;
        let sequence =
            cluster.replicas[random.below(cluster.settings.replicas)].stable + interval * random.below(2) as u64;
        let digest = some_state(cluster, sequence, random);
        let checkpoint = CheckpointName { sequence: SequenceNumber(sequence), digest };
        let mut body = Vec::new();
        match random.below(4) {
            // The newest state that it has is said to be another each time.
            0 => append_nodes(&mut body, checkpoint, &[]),
            1 => {
                let node = NodeRecord::new(1 + random.below(3) as u8, random.below(4) as u64, [digest; FAN_OUT]);
                append_nodes(&mut body, checkpoint, &[node]);
            }
            2 => append_query(&mut body, checkpoint, &[StateItem::node(random.draw() as u8, random.draw())]),
            _ => append_query(&mut body, checkpoint, &[StateItem::page(random.draw(), 0, 64)]),
        }
        vec![Deed::Say(Letter::between(own, told, body))]
    }
}

/// It claims to have committed whatever it likes, and gives batches that nobody asked it for.
struct LieAboutCommits {
    random: Random,
}

pub fn lie_about_commits(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(LieAboutCommits { random })
}

impl Strategy for LieAboutCommits {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let random = &mut self.random;
        let Some(own) = one_of(owned, random) else { return Vec::new() };
        let Some(told) = told_by(own, cluster, random) else { return Vec::new() };
        let mut body = Vec::new();
        for _ in 0..1 + random.below(6) {
            let (sequence, batch) = (some_number(cluster, random), some_batch(cluster, random));
            CommitClaim::new(sequence, batch).append(&mut body);
            let entries = cluster.seen.entries_of(&batch);
            if random.percent(10) && !entries.is_empty() {
                let timestamp_ns = cluster.wall_ns();
                Batch { sequence, timestamp_ns, entries: &entries[..1] }.append(&mut body);
            }
        }
        vec![Deed::Say(Letter::between(own, told, body))]
    }
}
