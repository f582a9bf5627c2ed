//! The client table in the engine's pages (`protocol.md SP-2`).
//!
//! ```text
//! a client's pages:
//!  0                 t                  t+r                        t: pages of its table, r: pages of a reply
//! +-----------------+------------------+------------------+---
//! | table           | results, place 0 | results, place 1 | ...  window of them
//! +-----------------+------------------+------------------+---
//!
//! its table:
//!  0             8      16        17     24       32         40        72       76     80        152
//! +-------------+------+---------+------+--------+----------+---------+--------+------+---------+---
//! | incarnation | last | demoted | zero | number | sequence | request | length | zero | results | ...  window of such places
//! | u64         | u64  | u8      | 7    | u64    | u64      | digest  | u32    | u32  | 72      |
//! +-------------+------+---------+------+--------+----------+---------+--------+------+---------+---
//! ```
//!
//! `demoted` is 1 where the client's requests count only if they are signed (`protocol.md DM-5`).
//!
//! The reply to request `t` has place `t mod window`. Results of at most 72 bytes stand in the table, so that under a light load the
//! replies of a checkpoint are two pages and not one each; longer ones stand in the place's own pages. A place without a reply has
//! sequence number 0, and nothing else that is not 0; what is behind results is zero.

use super::{Bodies, CachedReply, Clients};
use crate::numbers::{ClientId, Incarnation, RequestNumber, SequenceNumber};
use crate::planted::{self, Bug};
use crate::replica::engine_pages::{self, EngineHeader, EnginePagesError, TABLE_PAGE};
use crate::state::{ENGINE_PAGES, PAGE_BYTES, State};
use logothete_crypto::Digest;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ClientLayout {
    incarnation: U64,
    last: U64,
    demoted: u8,
    reserved: [u8; 7],
}

#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReplyLayout {
    number: U64,
    sequence: U64,
    request: Digest,
    length: U32,
    reserved: U32,
    short: [u8; SHORT_BYTES_MAX],
}

/// The longest results that stand in the table.
const SHORT_BYTES_MAX: usize = 72;

const _: () = assert!(size_of::<ReplyLayout>() == 128);

/// What decides where things are in the table's pages; the same at every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableShape {
    /// How many clients there are.
    pub clients: u64,
    /// How many replies of each are kept.
    pub window: u64,
    /// The longest results of one request.
    pub reply_bytes_max: u64,
}

impl TableShape {
    const fn table_pages(self) -> u64 {
        let bytes = size_of::<ClientLayout>() as u64 + self.window * size_of::<ReplyLayout>() as u64;
        bytes.div_ceil(PAGE_BYTES as u64)
    }

    const fn reply_pages(self) -> u64 {
        self.reply_bytes_max.div_ceil(PAGE_BYTES as u64)
    }

    /// How many pages each client has.
    pub const fn pages_a_client(self) -> u64 {
        self.table_pages() + self.window * self.reply_pages()
    }

    fn client_page(self, client: usize) -> u64 {
        TABLE_PAGE + client as u64 * self.pages_a_client()
    }

    fn client_offset(self, client: usize) -> u64 {
        self.client_page(client) * PAGE_BYTES as u64
    }

    fn reply_offset(self, client: usize, place: usize) -> u64 {
        let places = size_of::<ClientLayout>() + place * size_of::<ReplyLayout>();
        self.client_offset(client) + places as u64
    }

    fn results_page(self, client: usize, place: usize) -> u64 {
        self.client_page(client) + self.table_pages() + place as u64 * self.reply_pages()
    }
}

fn read<T: FromBytes + IntoBytes>(state: &State, offset: u64) -> T {
    let mut fields = T::new_zeroed();
    state.read(offset, fields.as_mut_bytes());
    fields
}

impl ReplyLayout {
    fn of(reply: &CachedReply) -> Self {
        let mut layout = Self {
            number: reply.number.0.into(),
            sequence: reply.sequence.0.into(),
            request: reply.request,
            length: (reply.results.len() as u32).into(),
            ..Self::new_zeroed()
        };
        if let Some(short) = layout.short.get_mut(..reply.results.len()) {
            short.copy_from_slice(&reply.results);
        }
        layout
    }

    fn is_of_same_request(&self, other: &Self) -> bool {
        (self.number, self.sequence, self.length) == (other.number, other.sequence, other.length)
    }

    /// How many bytes stand in pages of their own.
    fn long_bytes(&self) -> usize {
        let bytes = self.length.get() as usize;
        if bytes > SHORT_BYTES_MAX { bytes } else { 0 }
    }
}

impl Clients {
    fn shape(&self) -> TableShape {
        let window = self.states.first().map_or(0, |state| state.replies.len()) as u64;
        TableShape { clients: self.states.len() as u64, window, reply_bytes_max: self.reply_bytes_max as u64 }
    }

    /// Asserts that the table has a place in the state; the configuration was checked for it.
    pub(super) fn assert_fits(&self) {
        let shape = self.shape();
        assert!(
            TABLE_PAGE + shape.clients * shape.pages_a_client() <= ENGINE_PAGES,
            "the replies of {} clients do not fit the engine's pages",
            shape.clients
        );
    }

    /// Writes the header and the replicated part of the table to the engine's pages; what stands there already is not written again.
    ///
    /// A reply is known by its number and sequence number: the pages are of the same history as the table, in which a client's
    /// request is executed once.
    pub fn write_to(&self, state: &mut State, header: EngineHeader) {
        let shape = self.shape();
        engine_pages::write_header(state, header, shape);
        for (client, own) in self.states.iter().enumerate() {
            let (incarnation, last, demoted) = (own.incarnation.0.into(), own.last.0.into(), u8::from(own.demoted));
            let fields = ClientLayout { incarnation, last, demoted, reserved: [0; 7] };
            let written: ClientLayout = read(state, shape.client_offset(client));
            if own.incarnation == Incarnation::NONE && written == fields {
                continue;
            }
            if written != fields {
                state.write(shape.client_offset(client), fields.as_bytes());
            }
            for (place, reply) in own.replies.iter().enumerate().filter(|_| !planted::is(Bug::RepliesNotInState)) {
                let (offset, fields) = (shape.reply_offset(client, place), ReplyLayout::of(reply));
                let written: ReplyLayout = read(state, offset);
                // A later incarnation has the same numbers, but in other sequence numbers.
                if !written.is_of_same_request(&fields) {
                    state.write(offset, fields.as_bytes());
                    let long = if fields.long_bytes() > 0 { &reply.results[..] } else { &[] };
                    write_results(state, shape.results_page(client, place), long, written.long_bytes());
                }
            }
        }
    }

    /// Takes the replicated part of the table from the engine's pages. Requests that wait go on waiting, but for those that are
    /// executed by then. What was proposed is not part of it.
    ///
    /// # Errors
    /// [`EnginePagesError`] when the pages are not those of such a table; then nothing was changed.
    pub fn read_from(&mut self, state: &State, bodies: &mut Bodies) -> Result<EngineHeader, EnginePagesError> {
        let shape = self.shape();
        let header = engine_pages::read_header(state, shape)?;
        for client in 0..self.states.len() {
            check_client(state, shape, client, header.sequence)?;
        }
        for (client, own) in self.states.iter_mut().enumerate() {
            let fields: ClientLayout = read(state, shape.client_offset(client));
            if planted::is(Bug::ClientsKept) && own.last.0 > fields.last.get() {
                continue;
            }
            (own.incarnation, own.last) = (Incarnation(fields.incarnation.get()), RequestNumber(fields.last.get()));
            if own.incarnation > Incarnation::NONE {
                for (place, reply) in own.replies.iter_mut().enumerate() {
                    let fields: ReplyLayout = read(state, shape.reply_offset(client, place));
                    reply.forget(self.reply_bytes_ready);
                    reply.number = RequestNumber(fields.number.get());
                    reply.sequence = SequenceNumber(fields.sequence.get());
                    reply.request = fields.request;
                    let length = fields.length.get() as usize;
                    if let Some(short) = fields.short.get(..length) {
                        reply.results.extend_from_slice(short);
                    } else {
                        reply.results.resize(length, 0);
                        state.read(shape.results_page(client, place) * PAGE_BYTES as u64, &mut reply.results);
                    }
                }
            } else {
                own.replies.iter_mut().for_each(|reply| *reply = CachedReply::default());
            }
            let demoted = std::mem::replace(&mut own.demoted, fields.demoted != 0);
            if own.demoted && !demoted {
                own.release_all(bodies);
            }
            own.release_executed(bodies);
        }
        Ok(header)
    }
}

/// Writes results in the place of others of `old_bytes`, and zeros behind them.
fn write_results(state: &mut State, page: u64, results: &[u8], old_bytes: usize) {
    let begin = page * PAGE_BYTES as u64;
    state.write(begin, results);
    let (end, old_end) = (begin + results.len() as u64, begin + old_bytes as u64);
    if end < old_end {
        // To the end of the page by hand; the pages behind it are absent again.
        let page_end = end.next_multiple_of(PAGE_BYTES as u64).min(old_end);
        state.write(end, &[0; PAGE_BYTES][..(page_end - end) as usize]);
        state.clear(page_end.div_ceil(PAGE_BYTES as u64)..old_end.div_ceil(PAGE_BYTES as u64));
    }
}

/// Whether a client's places can be what a table was.
fn check_client(
    state: &State,
    shape: TableShape,
    client: usize,
    sequence: SequenceNumber,
) -> Result<(), EnginePagesError> {
    let fields: ClientLayout = read(state, shape.client_offset(client));
    let id = || ClientId(u16::try_from(client).expect("the limits on clients see to it"));
    if fields.demoted > 1 || fields.reserved != [0; 7] {
        return Err(EnginePagesError::Client { client: id() });
    }
    for place in 0..shape.window as usize {
        let reply: ReplyLayout = read(state, shape.reply_offset(client, place));
        let empty = reply == ReplyLayout::new_zeroed();
        let sound = (1..=sequence.0).contains(&reply.sequence.get())
            && fields.incarnation.get() > Incarnation::NONE.0
            && reply.number <= fields.last
            && reply.number.get() % shape.window == place as u64
            && u64::from(reply.length.get()) <= shape.reply_bytes_max
            && reply.reserved == 0;
        if !empty && !sound {
            return Err(EnginePagesError::Reply { client: id(), place: place as u64 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
