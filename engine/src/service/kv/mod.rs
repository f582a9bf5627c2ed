//! The key-value service: byte strings under byte strings.
//!
//! What enters here are commands ([`command`]) that any application may have written, well-formed or not; what leaves
//! are outcomes in the same layout at every replica. A command that makes no sense, or has no room, is answered so and
//! changes nothing.
//!
//! The items stand in pages, in a hash table that grows by one bucket at a time (linear hashing: Litwin, VLDB 1980), so that no
//! operation ever moves more than one bucket. A key's bucket follows from its digest. What is kept beside the pages are the
//! counts of the header page and buffers. Nothing here may depend on the order of a seeded hash map.
//!
//! | file | what |
//! | --- | --- |
//! | `command.rs` | commands and outcomes |
//! | `pages.rs` | the regions of the state, the header page, the free list |
//! | `bucket.rs` | a bucket's bytes over its pages, the items in them |

mod bucket;
pub mod command;
mod pages;
#[cfg(test)]
mod tests;

use self::bucket::{Item, Place};
pub use self::command::{COMMAND_HEADER_BYTES, COMMAND_OVERHEAD_BYTES_MAX, Command, CommandError, Outcome};
use self::pages::{BUCKET_BYTES_MEAN, Pages};
use super::{OrderedRequest, QueryError, RestoreError, Results, Service};
use crate::state::State;
use logothete_crypto::{Digest, digest};
use std::ops::Range;

/// What an entry counts for beyond its key's and value's bytes: more than what stands beside them in the pages.
/// Part of the state machine: it decides when a put is refused.
pub const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// The key-value service; see the module's own text and [`Command`] for what it is asked.
#[derive(Debug)]
pub struct KeyValue {
    pages: Pages,
    /// Here so that their memory is used again: a bucket, an item as it is written, a value as it is read.
    bucket: Vec<u8>,
    item: Vec<u8>,
    value: Vec<u8>,
}

/// What an item was, without its bytes.
struct Held {
    range: Range<usize>,
    bytes: u64,
    first_page: Option<u32>,
}

impl KeyValue {
    /// An empty service that refuses to store more than `state_bytes_max`, each entry counted as its key, its value and
    /// [`ENTRY_OVERHEAD_BYTES`].
    pub fn new(state_bytes_max: u64) -> Self {
        Self { pages: Pages::new(state_bytes_max), bucket: Vec::new(), item: Vec::new(), value: Vec::new() }
    }

    /// The most memory that a service with this limit takes.
    pub fn memory_bytes_max(state_bytes_max: u64) -> u64 {
        Pages::memory_bytes_max(state_bytes_max)
    }

    /// The value under `key`.
    pub fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        self.read(key, &mut Vec::new(), &mut value).then_some(value)
    }

    /// What is stored, in bytes, each entry counted with [`ENTRY_OVERHEAD_BYTES`].
    pub fn state_bytes(&self) -> u64 {
        self.pages.counts.state_bytes
    }

    /// How many entries are stored.
    pub fn entries(&self) -> u64 {
        self.pages.counts.items
    }

    /// Puts what is under a key into `value`; whether there is anything.
    fn read(&self, key: &[u8], buffer: &mut Vec<u8>, value: &mut Vec<u8>) -> bool {
        let digest = digest(key);
        let content = bucket::content(&self.pages, bucket_of(&digest, self.pages.counts.buckets), buffer);
        let Some(item) = bucket::items(content).find(|item| item.is_under(key, &digest)) else { return false };
        value.clear();
        match item.place {
            Place::Inside { value: stored, .. } => value.extend_from_slice(stored),
            Place::Outside { first_page, .. } => {
                bucket::read_outside(&self.pages, first_page, item.key_bytes, item.value_bytes, value);
            }
        }
        true
    }

    /// [`Self::read`] with the service's own buffers.
    fn read_value(&mut self, key: &[u8]) -> Option<&[u8]> {
        let (mut buffer, mut value) = (std::mem::take(&mut self.bucket), std::mem::take(&mut self.value));
        let found = self.read(key, &mut buffer, &mut value);
        (self.bucket, self.value) = (buffer, value);
        found.then_some(&self.value)
    }

    fn execute_command(&mut self, command: &Command<'_>) -> Outcome<'_> {
        match *command {
            Command::Get { key } => self.read_value(key).map_or(Outcome::Absent, Outcome::Value),
            Command::Put { key, value } => self.store(key, value),
            Command::Delete { key } => self.delete(key),
            Command::CompareAndSet { key, expected, value } => {
                if self.read_value(key) == expected {
                    self.store(key, value)
                } else {
                    Outcome::Different
                }
            }
        }
    }

    /// Copies a key's bucket into the service's buffer, and says what is there under the key.
    fn open(&mut self, key: &[u8], digest: &Digest) -> (u64, Option<Held>) {
        let number = bucket_of(digest, self.pages.counts.buckets);
        bucket::copy(&self.pages, number, &mut self.bucket);
        let item = bucket::items(&self.bucket).find(|item| item.is_under(key, digest));
        let held = item.map(|item| Held {
            range: item.range(),
            bytes: entry_bytes(item.key_bytes, item.value_bytes),
            first_page: first_page(&item),
        });
        (number, held)
    }

    fn store(&mut self, key: &[u8], value: &[u8]) -> Outcome<'static> {
        let digest = digest(key);
        let (number, held) = self.open(key, &digest);
        let old_bytes = held.as_ref().map_or(0, |held| held.bytes);
        let state_bytes = self.pages.counts.state_bytes - old_bytes + entry_bytes(key.len(), value.len());
        if state_bytes > self.pages.state_bytes_max() {
            return Outcome::Full;
        }
        if let Some(first_page) = held.as_ref().and_then(|held| held.first_page) {
            self.pages.give_back(first_page);
        }
        self.item.clear();
        bucket::append_item(&mut self.item, &mut self.pages, key, &digest, value);
        self.pages.counts.items += u64::from(held.is_none());
        self.pages.counts.state_bytes = state_bytes;
        let range = held.map_or(self.bucket.len()..self.bucket.len(), |held| held.range);
        self.replace(number, range);
        while self.pages.counts.item_bytes > self.pages.counts.buckets * BUCKET_BYTES_MEAN {
            self.split();
        }
        self.pages.write_header();
        Outcome::Done
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<'static> {
        let (number, held) = self.open(key, &digest(key));
        let Some(held) = held else { return Outcome::Absent };
        if let Some(first_page) = held.first_page {
            self.pages.give_back(first_page);
        }
        self.pages.counts.items -= 1;
        self.pages.counts.state_bytes -= held.bytes;
        self.item.clear();
        self.replace(number, held.range);
        self.pages.write_header();
        Outcome::Done
    }

    /// Puts the item in the buffer in the place of a range of the bucket in the buffer, and stores that.
    fn replace(&mut self, number: u64, range: Range<usize>) {
        let changed = if range.len() == self.item.len() {
            range.clone()
        } else {
            range.start..self.bucket.len() - range.len() + self.item.len()
        };
        self.pages.counts.item_bytes = self.pages.counts.item_bytes - range.len() as u64 + self.item.len() as u64;
        self.bucket.splice(range, self.item.iter().copied());
        bucket::store(&mut self.pages, number, &self.bucket, changed);
    }

    /// Adds a bucket, and moves to it what belongs there of the one bucket that it shares keys with.
    fn split(&mut self) {
        let fresh = self.pages.counts.buckets;
        let shared = fresh - (1 << fresh.ilog2());
        self.pages.counts.buckets += 1;
        bucket::copy(&self.pages, shared, &mut self.bucket);
        let (mut stays, mut moves) = (Vec::new(), Vec::new());
        for item in bucket::items(&self.bucket) {
            let to = bucket_of(&item.key_digest(), self.pages.counts.buckets);
            let out = if to == fresh { &mut moves } else { &mut stays };
            out.extend_from_slice(&self.bucket[item.range()]);
        }
        if moves.is_empty() {
            return;
        }
        bucket::store(&mut self.pages, shared, &stays, 0..stays.len());
        bucket::store(&mut self.pages, fresh, &moves, 0..moves.len());
    }
}

impl Service for KeyValue {
    fn execute(&mut self, request: &OrderedRequest<'_>, results: &mut Results<'_>) {
        for operation in request.operations {
            let outcome = match Command::decode(operation.bytes) {
                Ok(command) => self.execute_command(&command),
                Err(_) => Outcome::Malformed,
            };
            push(&outcome, results);
        }
    }

    fn state(&self) -> &State {
        &self.pages.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.pages.state
    }

    fn restored(&mut self) -> Result<(), RestoreError> {
        self.pages.read_header()
    }

    /// Answers a get.
    fn query(&self, operation: &[u8], results: &mut Results<'_>) -> Result<(), QueryError> {
        let Ok(Command::Get { key }) = Command::decode(operation) else { return Err(QueryError) };
        let value = self.value(key);
        push(&value.as_deref().map_or(Outcome::Absent, Outcome::Value), results);
        Ok(())
    }
}

fn push(outcome: &Outcome<'_>, results: &mut Results<'_>) {
    let outcome = if outcome.size() > results.room_bytes() { &Outcome::NoRoom } else { outcome };
    results.push_with(outcome.size(), |result| outcome.encode(result));
}

/// The bucket of a key, of so many. By the key's digest, so that keys chosen with malice cost many digests each to aim at one
/// bucket. The number's low bits, one more for the buckets that were split in this round, as linear hashing has it.
fn bucket_of(key_digest: &Digest, buckets: u64) -> u64 {
    let hash = u64::from_le_bytes(*key_digest.0.first_chunk().expect("a digest has 32 bytes"));
    let round = 1 << buckets.ilog2();
    let wide = hash % (2 * round);
    if wide < buckets { wide } else { hash % round }
}

fn first_page(item: &Item<'_>) -> Option<u32> {
    match item.place {
        Place::Inside { .. } => None,
        Place::Outside { first_page, .. } => Some(first_page),
    }
}

fn entry_bytes(key_bytes: usize, value_bytes: usize) -> u64 {
    key_bytes as u64 + value_bytes as u64 + ENTRY_OVERHEAD_BYTES
}
