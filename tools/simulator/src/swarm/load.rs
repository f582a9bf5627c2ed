//! What the clients of a run ask for.

use crate::world::operations::Operations;
use crate::world::random::Random;
use crate::world::settings::Settings;
use crate::world::timeline::Timeline;
use logothete_engine::numbers::{ClientId, Principal};
use logothete_engine::wire::operation::OPERATION_HEADER_BYTES;
use serde::{Deserialize, Serialize};

/// What one client asks for in the safety phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Operations in all, and in one request at most.
    pub operations: u32,
    pub request_operations_max: u32,
    /// Operations that wait for an answer at most.
    pub outstanding_max: u32,
    /// How long it waits between two bursts on average, and how many requests are in a burst at most.
    pub gap_ns: u64,
    pub burst_requests_max: u32,
    /// How many gaps in a hundred are twenty times as long.
    pub idle_percent: u32,
    /// How many operations in a hundred ask how long the log is, or for a value, where the service answers queries.
    pub read_percent: u32,
    /// How long an operation is at most; one in fifty is as long as the cluster allows, if it allows more than a packet's.
    pub operation_bytes_max: u32,
    /// It reads the log from the first entry on.
    pub subscribes: bool,
}

/// A load under way.
#[derive(Debug)]
pub struct Loading {
    client: usize,
    load: Load,
    left: u32,
    due_ns: u64,
    operations: Operations,
    random: Random,
}

impl Loading {
    pub fn new(client: usize, load: Load, settings: &Settings, seed: u64) -> Self {
        let mut random = Random::named(seed, &format!("load {client}"));
        let operations = Operations::new(client, settings, Random::named(seed, &format!("operations {client}")));
        Self { client, load, left: load.operations, due_ns: random.between(0, load.gap_ns), operations, random }
    }

    /// When it asks for something next.
    pub fn due_ns(&self) -> u64 {
        if self.left == 0 { u64::MAX } else { self.due_ns }
    }

    /// Begins to read, where it does.
    ///
    /// # Errors
    /// What a checker found.
    pub fn open(&self, timeline: &mut Timeline) -> Result<(), String> {
        if self.load.subscribes {
            timeline.cluster.follow(self.client, 0)?;
        }
        timeline.look_at(self.who());
        Ok(())
    }

    fn who(&self) -> Principal {
        Principal::Client(ClientId(self.client as u16))
    }

    /// Asks for a burst, and comes again after a gap.
    ///
    /// # Errors
    /// What a checker found.
    pub fn burst(&mut self, timeline: &mut Timeline) -> Result<(), String> {
        let now_ns = timeline.now_ns();
        let long = self.random.percent(self.load.idle_percent);
        self.due_ns = now_ns + 1 + self.random.between(0, 2 * self.load.gap_ns) * if long { 20 } else { 1 };
        for _ in 0..self.random.between(1, u64::from(self.load.burst_requests_max)) {
            let outstanding = timeline.cluster.clients[self.client].outstanding();
            if self.left == 0 || outstanding >= u64::from(self.load.outstanding_max) {
                break;
            }
            self.request(timeline)?;
        }
        Ok(())
    }

    /// Asks for one request more than the load has: of a single operation.
    ///
    /// # Errors
    /// What a checker found.
    pub fn request_more(&mut self, timeline: &mut Timeline) -> Result<(), String> {
        self.left += 1;
        self.request(timeline)
    }

    fn request(&mut self, timeline: &mut Timeline) -> Result<(), String> {
        let client = self.client;
        if timeline.cluster.settings.reads && self.random.percent(self.load.read_percent) {
            self.left -= 1;
            timeline.cluster.read(client, &self.operations.query())?;
        } else {
            let most = self.load.request_operations_max.min(self.left);
            let count = self.random.between(1, u64::from(most)) as u32;
            self.left -= count;
            let mut operations = self.operations(timeline, count);
            // What does not fit one packet with the others is asked for later, as a driver has it.
            let room = timeline.cluster.settings.operations_bytes_max();
            while operations.len() > 1 && bytes_of(&operations) > room {
                operations.pop();
                self.left += 1;
            }
            timeline.cluster.append(client, operations)?;
        }
        timeline.look_at(self.who());
        Ok(())
    }

    fn operations(&mut self, timeline: &Timeline, count: u32) -> Vec<Vec<u8>> {
        let large = timeline.cluster.settings.operation_bytes_max;
        let number = timeline.cluster.clients[self.client].submitted;
        if large > 0 && self.random.percent(2) {
            return vec![self.operations.operation(number, large, true)];
        }
        let one = |at: u32| {
            let length = self.random.between(1, u64::from(self.load.operation_bytes_max)) as usize;
            self.operations.operation(number + u64::from(at), length, count == 1)
        };
        (0..count).map(one).collect()
    }
}

/// What operations take in a request.
fn bytes_of(operations: &[Vec<u8>]) -> usize {
    operations.iter().map(|operation| OPERATION_HEADER_BYTES + operation.len()).sum()
}
