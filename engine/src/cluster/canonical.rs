//! The two forms in which a configuration leaves memory: the file for people, and the digest for the handshake.

use super::agreed::{Cluster, ClusterId};
use logothete_crypto::{Digest, DigestWriter};
use std::fmt::{self, Write as _};

impl Cluster {
    /// The file that reads back as this configuration, with a comment on every setting.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text).expect("writing to a String does not fail");
        text
    }

    fn write_to(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "# A Logothete cluster. This file must be identical at every replica and every driver: the digest of what it"
        )?;
        writeln!(out, "# says is part of the handshake. It holds no secret.\n")?;
        writeln!(out, "# Names the cluster on the wire.")?;
        writeln!(out, "cluster_id = \"{}\"", ClusterId(self.cluster_id))?;
        writeln!(out, "# Replicas that may behave arbitrarily, f. There are n = 3f+1 replicas.")?;
        writeln!(out, "faults = {}", self.faults)?;
        writeln!(out, "# Replicas that take part in ordering while nothing fails: all.")?;
        writeln!(out, "active = \"{}\"", self.active)?;
        writeln!(out, "# off: a restarted replica counts as faulty.")?;
        writeln!(out, "journal = \"{}\"", self.journal)?;
        writeln!(out, "# What is replicated: log, kv or null; the null service answers with null_reply_bytes bytes.")?;
        writeln!(out, "service = \"{}\"", self.service)?;
        writeln!(out, "null_reply_bytes = {}", self.null_reply_bytes)?;
        writeln!(out, "# Packet authentication: blake3, hmac-sha256 or aes-256-gmac.")?;
        writeln!(out, "mac = \"{}\"", self.mac)?;
        writeln!(
            out,
            "# Payload of one datagram: 1472 for Ethernet, 8952 for jumbo frames, more on loopback (32768 is a good choice)."
        )?;
        writeln!(out, "datagram_bytes_max = {}", self.datagram_bytes_max)?;
        writeln!(
            out,
            "# Longest entry of the log, or value of the key-value service; what does not fit a datagram travels in parts."
        )?;
        writeln!(out, "operation_bytes_max = {}", self.operation_bytes_max)?;
        writeln!(out, "# Sequence numbers from checkpoint to checkpoint; the window is twice as long.")?;
        writeln!(out, "checkpoint_interval = {}", self.checkpoint_interval)?;
        writeln!(out, "# Batches in flight, requests a batch, outstanding requests a client.")?;
        writeln!(out, "pipeline_depth = {}", self.pipeline_depth)?;
        writeln!(out, "batch_requests_max = {}", self.batch_requests_max)?;
        writeln!(out, "client_window = {}", self.client_window)?;
        writeln!(out, "# How far ahead of a backup's clock a batch's timestamp may be.")?;
        writeln!(out, "clock_bound_ms = {}", self.clock_bound_ms)?;
        writeln!(out, "# Bytes of the ordered log that are kept before the oldest are trimmed.")?;
        writeln!(out, "retention_bytes = {}", self.retention_bytes)?;
        writeln!(
            out,
            "# Seconds that session keys live before every process replaces its own; 0: for 2^32 packets each."
        )?;
        writeln!(out, "key_lifetime_s = {}\n", self.key_lifetime_s)?;
        writeln!(out, "# One group for each replica from this one on, and one more for all clients.")?;
        writeln!(out, "[multicast]")?;
        writeln!(out, "group = \"{}\"", self.multicast.group)?;
        writeln!(out, "port = {}", self.multicast.port)?;
        for (id, replica) in self.replicas.iter().enumerate() {
            writeln!(out, "\n[[replica]]\nid = {id}\naddress = \"{}\"", replica.address)?;
            writeln!(out, "public_key = \"{}\"", replica.public_key)?;
        }
        for (id, public_key) in self.clients.iter().enumerate() {
            if id == self.operator_index() {
                writeln!(out, "\n# The last client is the operator: `logothete status` asks with its key.")?;
                writeln!(out, "[[client]]\nid = {id}\npublic_key = \"{public_key}\"")?;
            } else {
                writeln!(out, "\n[[client]]\nid = {id}\npublic_key = \"{public_key}\"")?;
            }
        }
        Ok(())
    }

    /// Digest of what the configuration says, whatever the file looks like: the settings in a fixed order, integers
    /// little-endian, texts and lists preceded by their length.
    pub fn digest(&self) -> Digest {
        let mut writer = DigestWriter::new("logothete cluster configuration 1");
        let mut number = |value: u64| {
            writer.update(&value.to_le_bytes());
        };
        number(self.cluster_id);
        number(u64::from(self.faults));
        number(self.null_reply_bytes as u64);
        number(self.datagram_bytes_max as u64);
        number(self.operation_bytes_max as u64);
        number(self.checkpoint_interval);
        number(self.pipeline_depth as u64);
        number(self.batch_requests_max as u64);
        number(self.client_window as u64);
        number(self.clock_bound_ms);
        number(self.key_lifetime_s);
        number(self.retention_bytes);
        number(u64::from(self.multicast.port));
        number(self.replicas.len() as u64);
        number(self.clients.len() as u64);
        let mut text = |value: &str| {
            writer.update(&(value.len() as u64).to_le_bytes());
            writer.update(value.as_bytes());
        };
        text(self.active.name());
        text(self.journal.name());
        text(&self.service.to_string());
        text(&self.mac.to_string());
        text(&self.multicast.group.to_string());
        for replica in &self.replicas {
            text(&replica.address.to_string());
        }
        for replica in &self.replicas {
            writer.update(&replica.public_key.0);
        }
        for public_key in &self.clients {
            writer.update(&public_key.0);
        }
        writer.finish()
    }
}
