//! Orders with signatures: `v:0:j1:...:jk`.

use crate::oral::Path;
use crate::order::Order;
use crate::problem::{COMMANDER, GENERALS_MAX, General, Generals};
use crate::sockets::Travels;
use logothete_crypto::{Identity, PublicIdentity, SIGNATURE_BYTES};
use logothete_simulator::world::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What signatures are for, so that none of them is worth anything elsewhere.
const DOMAIN: &str = "logothete generals order v1";

/// One signature.
type Signature = [u8; SIGNATURE_BYTES];

/// An order, who signed it, and the signatures: each over the order and the path up to and with its signer.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// The order.
    pub order: Order,
    /// Who signed it, the commander first.
    pub path: Path,
    /// Their signatures.
    pub signatures: Vec<Signature>,
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.order)?;
        self.path.iter().try_for_each(|signer| write!(f, ":{signer}"))
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Travels for Signed {
    /// The order, and for each signer a byte and a signature.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.order.bytes().to_vec();
        for (signer, signature) in self.path.iter().zip(&self.signatures) {
            bytes.push(*signer);
            bytes.extend_from_slice(signature);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (order, chain) = bytes.split_first_chunk()?;
        let links = chain.chunks_exact(1 + SIGNATURE_BYTES);
        if !links.remainder().is_empty() || !(1..=GENERALS_MAX).contains(&links.len()) {
            return None;
        }
        let mut signed = Self { order: Order::from_bytes(*order)?, path: Vec::new(), signatures: Vec::new() };
        for link in links {
            signed.path.push(link[0]);
            signed.signatures.push(link[1..].try_into().expect("a link has a signature"));
        }
        Some(signed)
    }

    fn round(&self) -> usize {
        self.path.len()
    }
}

/// What the last of a path signs: the run, so that no signature of one counts in another (BGP82 section 4), the order, and the path.
fn content(run: u64, order: Order, path: &[General]) -> Vec<u8> {
    [&run.to_le_bytes()[..], &order.bytes(), path].concat()
}

/// The keys of all generals, for one run.
pub struct Army {
    run: u64,
    identities: Vec<Identity>,
    public: Vec<PublicIdentity>,
}

impl Army {
    /// Keys for so many, from a seed.
    pub fn new(generals: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let identities: Vec<Identity> =
            (0..generals).map(|_| Identity::generate(&mut |bytes: &mut [u8]| random.fill(bytes))).collect();
        let public = identities.iter().map(Identity::public).collect();
        Self { run: seed, identities, public }
    }

    /// A general signs an order that bears these signatures so far; `by` must be the caller himself, or his fellow in treason.
    pub(super) fn sign(&self, order: Order, before: &Path, signatures: &[Signature], by: General) -> Signed {
        let path = [&before[..], &[by]].concat();
        let own = self.identities[usize::from(by)].sign(DOMAIN, &content(self.run, order, &path));
        Signed { order, path, signatures: [signatures, &[own]].concat() }
    }

    /// Whether all signatures are good, the commander's first and nobody's twice.
    pub fn verifies(&self, signed: &Signed) -> bool {
        let Signed { order, path, signatures } = signed;
        let distinct = path.iter().enumerate().all(|(at, signer)| !path[..at].contains(signer));
        path.first() == Some(&COMMANDER)
            && path.len() == signatures.len()
            && distinct
            && path.iter().zip(signatures).enumerate().all(|(at, (signer, signature))| {
                let public = self.public.get(usize::from(*signer));
                public.is_some_and(|public| public.verify(DOMAIN, &content(self.run, *order, &path[..=at]), signature))
            })
    }
}

/// What traitors can make: they know what any of them has seen, and sign for each other; loyal signatures they have only seen.
#[derive(Clone, Debug)]
pub struct Known {
    traitors: Generals,
    /// Signatures of loyal generals, by order and path.
    seen: BTreeMap<(Order, Path), Option<Signature>>,
}

impl Known {
    /// Nothing seen yet.
    pub fn new(traitors: Generals) -> Self {
        Self { traitors, seen: BTreeMap::new() }
    }

    /// A traitor saw a message.
    pub fn see(&mut self, signed: &Signed) {
        for (at, signature) in signed.signatures.iter().enumerate() {
            self.note(signed.order, &signed.path[..=at], Some(*signature));
        }
    }

    /// A traitor saw an order with this path; the search plays with paths alone, and a signature is there where its signer made it.
    pub fn see_path(&mut self, order: Order, path: &[General]) {
        for at in 0..path.len() {
            self.note(order, &path[..=at], None);
        }
    }

    fn note(&mut self, order: Order, path: &[General], signature: Option<Signature>) {
        if !self.traitors.contains(path[path.len() - 1]) {
            self.seen.entry((order, path.to_vec())).or_insert(signature);
        }
    }

    /// Whether there are all signatures of a path.
    pub fn can_make(&self, order: Order, path: &[General]) -> bool {
        (0..path.len())
            .all(|at| self.traitors.contains(path[at]) || self.seen.contains_key(&(order, path[..=at].to_vec())))
    }

    /// All paths of an order that can be made, of at most `length_max` signatures.
    pub fn paths(&self, order: Order, length_max: usize) -> BTreeSet<Path> {
        let mut found: BTreeSet<Path> = BTreeSet::new();
        let mut waiting: Vec<Path> = vec![vec![COMMANDER]];
        while let Some(path) = waiting.pop() {
            if path.len() > length_max || !self.can_make(order, &path) {
                continue;
            }
            let relays = self.seen.keys().filter(|(seen, longer)| *seen == order && longer.len() == path.len() + 1);
            let relays = relays.filter(|(_, longer)| longer.starts_with(&path)).map(|(_, longer)| longer[path.len()]);
            let next: BTreeSet<General> = self.traitors.iter().chain(relays).collect();
            let next = next.into_iter().filter(|signer| !path.contains(signer));
            waiting.extend(next.map(|signer| [&path[..], &[signer]].concat()));
            found.insert(path);
        }
        found
    }

    /// Makes a message of an order and a path.
    ///
    /// # Panics
    /// If it takes a signature of a loyal general that nobody has seen: that would be forgery.
    pub(super) fn make(&self, army: &Army, order: Order, path: &[General]) -> Signed {
        let mut signed = Signed { order, path: Vec::new(), signatures: Vec::new() };
        for (at, signer) in path.iter().enumerate() {
            if self.traitors.contains(*signer) {
                signed = army.sign(order, &signed.path, &signed.signatures, *signer);
            } else {
                let signature = self.seen.get(&(order, path[..=at].to_vec())).copied().flatten();
                signed.signatures.push(signature.expect("a traitor shows loyal signatures that he has seen"));
                signed.path.push(*signer);
            }
        }
        signed
    }
}
