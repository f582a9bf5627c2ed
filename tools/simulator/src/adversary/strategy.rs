//! What every strategy can do, and all strategies by name.

use crate::adversary::agent::Owned;
use crate::adversary::letter::Letter;
use crate::adversary::plan::Level;
use crate::adversary::{
    bombs, byzantine_clients, disputes, equivocation, impostors, malformed_clients, mutator, omission,
};
use crate::adversary::{ordering, recovery, replies, scheduler, state, storms, views};
use crate::world::cluster::Cluster;
use crate::world::network::Packet;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};

/// What somebody owned does of itself.
#[derive(Clone, Debug)]
pub enum Deed {
    Say(Letter),
    /// A true packet is sent once more, as it was.
    Replay(Packet),
    /// A packet is sent in the name of somebody who is not owned.
    Forge(Forgery),
    /// Its process seems to begin anew: new keys, a new epoch.
    Rekey(ReplicaId),
}

/// A packet in somebody else's name, under the keys of the owned replica that makes it: nobody has others.
#[derive(Clone, Debug)]
pub struct Forgery {
    pub by: ReplicaId,
    pub name: Principal,
    /// It comes from where its maker is, as if that one passed it on, and not from where it says.
    pub relayed: bool,
    /// All of these get it.
    pub audience: ReplicaSet,
    pub body: Vec<u8>,
}

/// A way to be faulty. Strategies compose: what one lets pass, the next one sees.
pub trait Strategy {
    /// Whether a packet reaches the correct replica inside.
    fn hears(&mut self, _cluster: &Cluster, _own: ReplicaId, _packet: &Packet) -> bool {
        true
    }

    /// What leaves in place of what the correct one inside would have said.
    fn on_outgoing(&mut self, _cluster: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        out.push(letter);
    }

    /// Whether a client's packet is relayed, which it may change.
    fn on_relay(&mut self, _cluster: &Cluster, _to: ReplicaId, _datagram: &mut Vec<u8>) -> bool {
        true
    }

    /// What the owned do when nobody asked them.
    fn on_tick(&mut self, _cluster: &Cluster, _owned: &Owned) -> Vec<Deed> {
        Vec::new()
    }

    /// How much longer than others a packet travels, whoever sent it: the network is the adversary's as well, until it is made to deliver.
    fn delay_ns(&mut self, _cluster: &Cluster, _packet: &Packet) -> u64 {
        0
    }
}

/// A strategy as plans draw it.
pub struct Entry {
    pub name: &'static str,
    pub level: Level,
    pub make: fn(Random, &Settings) -> Box<dyn Strategy>,
}

const fn entry(name: &'static str, level: Level, make: fn(Random, &Settings) -> Box<dyn Strategy>) -> Entry {
    Entry { name, level, make }
}

/// All strategies. Twins are none: they are how a replica is built, not what it says.
pub const ALL: &[Entry] = &[
    entry("crash", Level::Omission, omission::crash),
    entry("omit", Level::Omission, omission::omit),
    entry("delay", Level::Omission, omission::delay),
    entry("deaf", Level::Omission, omission::deaf),
    entry("relay-nothing", Level::Omission, omission::relay_nothing),
    entry("mutate", Level::Mutation, mutator::mutate),
    entry("equivocate", Level::Script, equivocation::equivocate),
    entry("forge-entries", Level::Script, equivocation::forge_entries),
    entry("forge-pages", Level::Script, equivocation::forge_pages),
    entry("forge-nodes", Level::Script, equivocation::forge_nodes),
    entry("spoil-copies", Level::Script, equivocation::spoil_copies),
    entry("starve", Level::Script, ordering::starve),
    entry("select-tags", Level::Script, ordering::select_tags),
    entry("slow-primary", Level::Script, ordering::slow_primary),
    entry("withhold-commits", Level::Script, ordering::withhold_commits),
    entry("withhold-new-views", Level::Script, ordering::withhold_new_views),
    entry("censor", Level::Script, ordering::censor),
    entry("propose-wrongly", Level::Script, ordering::propose_wrongly),
    entry("lie-about-views", Level::Script, views::lie_about_views),
    entry("open-wrongly", Level::Script, views::open_wrongly),
    entry("spam-views", Level::Script, views::spam_views),
    entry("accuse", Level::Script, views::accuse),
    entry("bomb-the-future", Level::Script, bombs::bomb_the_future),
    entry("glue-certificates", Level::Script, bombs::glue_certificates),
    entry("repeat-fragments", Level::Script, bombs::repeat_fragments),
    entry("forge-checkpoints", Level::Script, state::forge_checkpoints),
    entry("poison-state", Level::Script, state::poison_state),
    entry("lie-about-commits", Level::Script, state::lie_about_commits),
    entry("storm", Level::Script, storms::storm),
    entry("pretend-recovery", Level::Script, recovery::pretend_recovery),
    entry("lie-to-clients", Level::Script, replies::lie_to_clients),
    entry("reply-early", Level::Script, replies::reply_early),
    entry("lie-about-clients", Level::Script, disputes::lie_about_clients),
    entry("sign-for-others", Level::Script, impostors::sign_for_others),
    entry("seal-for-others", Level::Script, impostors::seal_for_others),
    entry("forward-made-up", Level::Script, impostors::forward_made_up),
    entry("split-what-prepares", Level::Schedule, scheduler::split_what_prepares),
    entry("few-tentative", Level::Schedule, scheduler::few_tentative),
    entry("cut-who-prepared", Level::Schedule, scheduler::cut_who_prepared),
    entry("cut-who-committed", Level::Schedule, scheduler::cut_who_committed),
    entry("strand", Level::Schedule, scheduler::strand),
    entry("depose", Level::Schedule, scheduler::depose),
    entry("split-view-changes", Level::Schedule, scheduler::split_view_changes),
    entry("reorder", Level::Schedule, scheduler::reorder),
    entry("client-partial-tags", Level::Client, byzantine_clients::partial_tags),
    entry("client-two-faces", Level::Client, byzantine_clients::two_faces),
    entry("client-numbers", Level::Client, byzantine_clients::numbers),
    entry("client-flood", Level::Client, byzantine_clients::flood),
    entry("client-opens", Level::Client, byzantine_clients::opens),
    entry("client-some-replicas", Level::Client, byzantine_clients::some_replicas_only),
    entry("client-malformed", Level::Client, malformed_clients::malformed),
    entry("client-impersonates", Level::Client, malformed_clients::impersonates),
    entry("client-queries", Level::Client, malformed_clients::queries),
    entry("client-parts", Level::Client, malformed_clients::parts),
];

/// The names of all strategies, twins among them.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|entry| entry.name).chain([super::plan::TWINS])
}
