//! The null service: does nothing, so that what remains to be measured is the ordering itself.

use super::{OrderedRequest, Results, Service};
use logothete_crypto::{Digest, DigestWriter};

/// Answers every operation with zeros.
///
/// Its state is how much it has executed, so that a replica that lost or repeated a request is found out.
#[derive(Debug)]
pub struct Null {
    reply_bytes: usize,
    requests: u64,
    operations: u64,
}

impl Null {
    /// Results are `reply_bytes` zeros each, fewer where the reply has no room for as many.
    pub fn new(reply_bytes: usize) -> Self {
        Self { reply_bytes, requests: 0, operations: 0 }
    }
}

impl Service for Null {
    fn execute(&mut self, request: &OrderedRequest<'_>, results: &mut Results<'_>) {
        for _ in 0..request.operations.count() {
            results.push_with(self.reply_bytes.min(results.room_bytes()), |result| result.fill(0));
        }
        self.requests += 1;
        self.operations += request.operations.count() as u64;
    }

    fn digest(&mut self) -> Digest {
        let mut writer = DigestWriter::new("logothete null state");
        writer.update(&(self.reply_bytes as u64).to_le_bytes());
        writer.update(&self.requests.to_le_bytes());
        writer.update(&self.operations.to_le_bytes());
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REPLY_BYTES, TestRequest, execute};
    use super::*;

    #[test]
    fn answers_with_zeros_as_far_as_the_reply_goes() {
        let request = TestRequest::new(b"", &[b"a", b"b", b"c"]);
        let mut small = Null::new(5);
        assert_eq!(execute(&mut small, &request.ordered(1, 1)), [[0; 5]; 3]);
        let lengths: Vec<usize> = execute(&mut Null::new(3000), &request.ordered(1, 1)).iter().map(Vec::len).collect();
        assert_eq!(lengths, [3000, REPLY_BYTES - 3000 - 3 * 4 - 8, 8]);
    }

    #[test]
    fn a_repeated_request_shows_in_the_digest() {
        let request = TestRequest::new(b"", &[b"a"]);
        let (mut once, mut twice) = (Null::new(8), Null::new(8));
        execute(&mut once, &request.ordered(1, 1));
        execute(&mut twice, &request.ordered(1, 1));
        assert_eq!(once.digest(), twice.digest());
        execute(&mut twice, &request.ordered(1, 1));
        assert_ne!(once.digest(), twice.digest());
    }
}
