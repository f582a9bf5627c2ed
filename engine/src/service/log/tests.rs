use super::super::testing::{TestRequest, digest_of, execute, query};
use super::*;
use crate::wire::operation::Operations;
use logothete_crypto::digest;
use proptest::collection::vec;
use proptest::prelude::*;

/// What the log should retain, kept in the plainest way.
struct ModelRun {
    position_first: u64,
    timestamp_ns: u64,
    message: Vec<u8>,
    operations_offset: usize,
    entries: Vec<Vec<u8>>,
    chain_before: Digest,
    chain: Digest,
}

impl ModelRun {
    fn position_end(&self) -> u64 {
        self.position_first + self.entries.len() as u64
    }
}

/// A log as segments of runs in vectors.
struct Model {
    settings: LogSettings,
    segments: Vec<Vec<ModelRun>>,
    end: u64,
    chain: Digest,
}

impl Model {
    fn append(&mut self, entries: &[Vec<u8>], timestamp_ns: u64, message: &[u8], operations_offset: usize) {
        if entries.is_empty() {
            return;
        }
        let run_bytes = |message: &[u8]| RUN_HEADER_BYTES + message.len();
        let filled = |segment: &Vec<ModelRun>| segment.iter().map(|run| run_bytes(&run.message)).sum::<usize>();
        let fits = |segment| filled(segment) + run_bytes(message) <= self.settings.segment_bytes;
        if !self.segments.last().is_some_and(fits) {
            self.segments.push(Vec::new());
            if self.segments.len() > self.settings.segments_max {
                self.segments.remove(0);
            }
        }
        let chain = chain_after(&self.chain, self.end, timestamp_ns, &digest(message));
        let run = ModelRun {
            position_first: self.end,
            timestamp_ns,
            message: message.to_vec(),
            operations_offset,
            entries: entries.to_vec(),
            chain_before: self.chain,
            chain,
        };
        self.end = run.position_end();
        self.chain = chain;
        self.segments.last_mut().unwrap().push(run);
    }

    fn runs(&self) -> impl DoubleEndedIterator<Item = &ModelRun> {
        self.segments.iter().flatten()
    }
}

fn check_same(log: &OrderedLog, model: &Model) {
    let oldest = model.runs().next().map_or(model.end, |run| run.position_first);
    assert_eq!((log.oldest(), log.end(), log.chain()), (oldest, model.end, model.chain));

    // Every position, those that are not there included, by every way of looking it up.
    for position in 0..model.end + 3 {
        let expected: Vec<&ModelRun> = model.runs().filter(|run| run.position_end() > position).collect();
        let error = match position {
            _ if position < oldest => Some(PositionError::Trimmed { position, oldest }),
            _ if position > model.end => Some(PositionError::Beyond { position, end: model.end }),
            _ => None,
        };
        match log.runs_from(position) {
            Ok(runs) => {
                assert_eq!(error, None);
                let runs: Vec<Run<'_>> = runs.collect();
                assert_eq!(runs.len(), expected.len());
                for (run, model) in runs.iter().zip(&expected) {
                    check_run(run, model);
                }
                let first = log.run_containing(position).ok();
                assert_eq!(first.map(|run| run.position_first), expected.first().map(|run| run.position_first));
            }
            Err(refused) => {
                assert_eq!(Some(refused), error);
                assert_eq!(log.run_containing(position).map(|run| run.position_first), Err(refused));
            }
        }
        let chain = model
            .runs()
            .find_map(|run| match position {
                _ if position == run.position_first => Some(run.chain_before),
                _ if position == run.position_end() => Some(run.chain),
                _ => None,
            })
            .or((position == 0).then_some(CHAIN_INITIAL));
        assert_eq!(log.chain_at(position), chain, "the chain at {position}");
    }
}

fn check_run(run: &Run<'_>, model: &ModelRun) {
    assert_eq!((run.position_first, run.position_end()), (model.position_first, model.position_end()));
    let message = run.message.to_vec();
    assert_eq!((run.timestamp_ns, &message), (model.timestamp_ns, &model.message));
    assert_eq!((run.message.len(), run.message.is_empty()), (message.len(), message.is_empty()));
    assert_eq!((run.chain_before, run.chain), (model.chain_before, model.chain));
    let operations = Operations::parse(&message[model.operations_offset..], run.count as usize).unwrap();
    let all = || Entries::new(run.position_first, run.timestamp_ns, operations);
    let entries: Vec<Entry<'_>> = all().collect();
    assert_eq!(entries.len(), model.entries.len());
    for ((entry, bytes), position) in entries.iter().zip(&model.entries).zip(model.position_first..) {
        let timestamp_ns = model.timestamp_ns;
        assert_eq!(*entry, Entry { position, timestamp_ns, session: 7, bytes });
    }
    for cut in run.position_first.saturating_sub(1)..run.position_end() + 2 {
        let left: Vec<Entry<'_>> = entries.iter().filter(|entry| entry.position >= cut).copied().collect();
        assert_eq!(all().starting_at(cut).collect::<Vec<_>>(), left);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn behaves_like_a_vector_of_runs(
        segment_bytes in 400_usize..1200,
        segments_max in 2_usize..5,
        requests in vec((vec(vec(any::<u8>(), 0..30), 0..6), 0_usize..40), 0..60),
    ) {
        let settings = LogSettings { segment_bytes, segments_max };
        let mut log = OrderedLog::new(settings);
        let mut twin = OrderedLog::new(settings);
        let mut model = Model { settings, segments: Vec::new(), end: 0, chain: CHAIN_INITIAL };
        check_same(&log, &model);
        for (sequence, (entries, front_bytes)) in (1..).zip(&requests) {
            let operations: Vec<&[u8]> = entries.iter().map(|bytes| &**bytes).collect();
            let request = TestRequest::new(&vec![0x5A; *front_bytes], &operations);
            let ordered = request.ordered(sequence, sequence * 1000);
            let expected: Vec<[u8; 8]> = (model.end..).take(entries.len()).map(u64::to_le_bytes).collect();
            prop_assert_eq!(execute(&mut log, &ordered), expected);
            execute(&mut twin, &ordered);
            model.append(entries, sequence * 1000, request.message(), *front_bytes);
        }
        check_same(&log, &model);
        prop_assert_eq!(digest_of(&log), digest_of(&twin));
    }
}

/// `protocol.md ST-3`: what a checkpoint has to hash does not grow with what was appended since the last one.
#[test]
fn full_pages_are_hashed_as_they_fill() {
    let mut log = OrderedLog::new(LogSettings { segment_bytes: 100 * PAGE_BYTES, segments_max: 2 });
    let request = TestRequest::new(b"", &[&[7; 1000]]);
    for sequence in 1..=380 {
        execute(&mut log, &request.ordered(sequence, sequence));
    }
    assert!(log.segments[0].room_bytes() < 10 * PAGE_BYTES, "some ninety pages are full");
    let digest = log.state().snapshot().digest_step(32);
    let mut again = OrderedLog::new(log.settings());
    let written =
        (crate::state::ENGINE_PAGES..log.state().pages()).filter(|page| *log.state().page(*page) != [0; PAGE_BYTES]);
    written.for_each(|page| again.state_mut().page_mut(page).copy_from_slice(log.state().page(page)));
    assert_eq!(digest, Some(digest_of(&again)));
}

/// Two logs that differ in one thing anywhere in their past differ in chain and digest for ever after.
#[test]
fn any_difference_in_the_past_shows() {
    let settings = LogSettings { segment_bytes: 256, segments_max: 2 };
    let history = |first: &TestRequest, timestamp_ns: u64, then: usize| {
        let mut log = OrderedLog::new(settings);
        execute(&mut log, &first.ordered(1, timestamp_ns));
        let after = TestRequest::new(b"", &[&[0; 40]]);
        (0..then).for_each(|_| drop(execute(&mut log, &after.ordered(2, 9))));
        (digest_of(&log), log.chain(), log.oldest())
    };
    for then in [0, 1, 20] {
        let (digest, chain, oldest) = history(&TestRequest::new(b"", &[b"a"]), 5, then);
        assert_eq!(oldest > 0, then == 20, "the long history is trimmed");
        for (request, timestamp_ns) in [
            (TestRequest::new(b"", &[b"b"]), 5),
            (TestRequest::new(b"x", &[b"a"]), 5),
            (TestRequest::new(b"", &[b"a", b""]), 5),
            (TestRequest::new(b"", &[b"a"]), 6),
        ] {
            let other = history(&request, timestamp_ns, then);
            assert_ne!(other.0, digest);
            assert_ne!(other.1, chain);
        }
    }
}

/// What a subscriber does with runs from a source that it does not trust.
#[test]
fn a_subscriber_finds_every_forgery() {
    let mut log = OrderedLog::new(LogSettings { segment_bytes: 4096, segments_max: 2 });
    for sequence in 1..4 {
        let request = TestRequest::new(b"front", &[b"one", b"two"]);
        execute(&mut log, &request.ordered(sequence, sequence * 10));
    }
    let mut chain = log.chain_at(0).unwrap();
    for run in log.runs_from(0).unwrap() {
        let (position, timestamp_ns) = (run.position_first, run.timestamp_ns);
        assert_eq!(verify_run(&chain, position, timestamp_ns, &run.message.to_vec()), run.chain);
        let mut forged = run.message.to_vec();
        *forged.last_mut().unwrap() ^= 1;
        assert_ne!(verify_run(&chain, position, timestamp_ns, &forged), run.chain);
        assert_ne!(verify_run(&chain, position + 1, timestamp_ns, &run.message.to_vec()), run.chain);
        assert_ne!(verify_run(&chain, position, timestamp_ns + 1, &run.message.to_vec()), run.chain);
        assert_ne!(verify_run(&run.chain, position, timestamp_ns, &run.message.to_vec()), run.chain);
        chain = run.chain;
    }
    assert_eq!(chain, log.chain());
}

/// Segments so large, and runs so small, that every look-up goes through the index.
#[test]
fn every_position_is_found_in_large_segments() {
    let mut log = OrderedLog::new(LogSettings { segment_bytes: 40_000, segments_max: 3 });
    let mut firsts = Vec::new();
    for sequence in 0..1500_u64 {
        let operations = vec![&[1; 9][..]; 1 + sequence as usize % 5];
        let front = vec![0; sequence as usize * 37 % 300];
        firsts.push(log.end());
        execute(&mut log, &TestRequest::new(&front, &operations).ordered(sequence, sequence));
    }
    assert!(log.oldest() > 0);
    for position in log.oldest()..log.end() {
        let sequence = firsts.partition_point(|&first| first <= position) - 1;
        let run = log.run_containing(position).unwrap();
        assert_eq!((run.position_first, run.timestamp_ns), (firsts[sequence], sequence as u64));
        assert_eq!(
            verify_run(&run.chain_before, run.position_first, run.timestamp_ns, &run.message.to_vec()),
            run.chain
        );
    }
}

/// `protocol.md SP-4`: runs of one size stand in the same few pages for ever: what was trimmed is zeros again before it is used again.
#[test]
fn pages_are_used_again_once_retention_is_reached() {
    let settings = LogSettings { segment_bytes: 2 * PAGE_BYTES, segments_max: 3 };
    let mut log = OrderedLog::new(settings);
    let request = TestRequest::new(b"", &[&[1; 900]]);
    let runs_a_segment = 2 * PAGE_BYTES / (RUN_HEADER_BYTES + request.message().len());
    for sequence in 0..100 {
        execute(&mut log, &request.ordered(sequence, sequence));
        let runs = log.runs_from(log.oldest()).unwrap().count();
        assert_eq!(runs as u64, log.end() - log.oldest());
        assert!(runs <= 3 * runs_a_segment);
        let newest = &log.segments[log.segments.len() - 1];
        let (filled, room) = (2 * PAGE_BYTES - newest.room_bytes(), newest.room_bytes());
        let segment = (log.segment_first + log.segments.len() - 1) % 3;
        let mut rest = vec![9; room];
        log.state().read(pages::segment_begin(settings, segment) + filled as u64, &mut rest);
        assert!(rest.iter().all(|byte| *byte == 0));
    }
    assert!(log.oldest() > 0);
}

/// `protocol.md SP-3`: a log that went back, or came from elsewhere, is what it was when its pages were taken, and goes on
/// like it; what its index still knew makes no difference.
#[test]
fn a_log_is_found_again_in_its_pages() {
    let settings = LogSettings { segment_bytes: 3 * PAGE_BYTES, segments_max: 3 };
    let request = |number: u64| TestRequest::new(&vec![7; number as usize * 131 % 900], &[&number.to_le_bytes(), b"x"]);
    let facts = |log: &OrderedLog| {
        let runs = log.runs_from(log.oldest()).unwrap();
        let runs: Vec<_> = runs.map(|run| (run.position_first, run.chain_before, run.message.to_vec())).collect();
        (log.oldest(), log.end(), log.chain(), runs, digest_of(log))
    };
    for (before, after) in [(0, 1), (1, 1), (20, 3), (20, 60), (90, 1), (90, 40), (90, 400)] {
        let mut log = OrderedLog::new(settings);
        (0..before).for_each(|number| drop(execute(&mut log, &request(number).ordered(number, number))));
        let (snapshot, expected) = (log.state().snapshot(), facts(&log));

        // Another history behind it, which is taken back.
        let other = |number: u64| request(number + 1000);
        (before..before + after).for_each(|number| drop(execute(&mut log, &other(number).ordered(number, number))));
        let abandoned = (log.state().snapshot(), facts(&log));
        log.state_mut().restore(&snapshot);
        log.restored().unwrap();
        assert_eq!(facts(&log), expected);

        let mut fresh = OrderedLog::new(settings);
        fresh.state_mut().restore(&snapshot);
        fresh.restored().unwrap();
        assert_eq!(facts(&fresh), expected);
        for number in before..before + after {
            execute(&mut log, &request(number).ordered(number, number));
            execute(&mut fresh, &request(number).ordered(number, number));
        }
        assert_eq!(facts(&log), facts(&fresh));
        for position in log.oldest()..log.end() {
            let found = [&log, &fresh].map(|log| log.run_containing(position).unwrap().position_first);
            assert_eq!(found, [position / 2 * 2; 2]);
        }

        // From one history into another of the same length.
        log.state_mut().restore(&abandoned.0);
        log.restored().unwrap();
        assert_eq!(facts(&log), abandoned.1);
    }
}

/// `protocol.md SP-3`
#[test]
fn pages_that_are_no_log_are_refused() {
    let settings = LogSettings { segment_bytes: PAGE_BYTES, segments_max: 3 };
    let mut log = OrderedLog::new(settings);
    for sequence in 0..40 {
        execute(&mut log, &TestRequest::new(&[3; 200], &[b"entry"]).ordered(sequence, sequence));
    }
    let snapshot = log.state().snapshot();
    let begin = pages::segment_begin(settings, log.segment_first);
    let header = crate::state::ENGINE_PAGES * PAGE_BYTES as u64;
    // The fields of the header, then those of the oldest run: its position, the length of its message, its count.
    for (offset, bytes) in [(0, 8), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (80, 8), (88, 32)]
        .map(|(at, bytes)| (header + at, bytes))
        .into_iter()
        .chain([(0, 8), (48, 4), (52, 4)].map(|(at, bytes)| (begin + at, bytes)))
    {
        for value in [0xff, 0x01] {
            let mut fresh = OrderedLog::new(settings);
            fresh.state_mut().restore(&snapshot);
            fresh.state_mut().write(offset, &vec![value; bytes]);
            assert!(fresh.restored().is_err(), "{value:#x} in {bytes} bytes at {offset}");
        }
    }
    // As many pages, but less of each used.
    let mut others = OrderedLog::new(LogSettings { segment_bytes: PAGE_BYTES - 1, ..settings });
    others.state_mut().restore(&snapshot);
    assert_eq!(others.restored().unwrap_err().page, crate::state::ENGINE_PAGES);
}

#[test]
fn the_log_answers_no_query() {
    assert_eq!(query(&OrderedLog::new(LogSettings { segment_bytes: 400, segments_max: 2 }), b"entry"), None);
}

#[test]
fn settings_follow_the_retention() {
    let gibibyte = LogSettings::for_retention(1 << 30, 32 * 1024);
    assert_eq!(gibibyte, LogSettings { segment_bytes: 4 << 20, segments_max: 256 });
    assert!(gibibyte.memory_bytes_max() < (1 << 30) * 102 / 100);
    let mebibyte = LogSettings::for_retention(1 << 20, 32 * 1024);
    assert_eq!(mebibyte, LogSettings { segment_bytes: 64 << 10, segments_max: 16 });
    let least = LogSettings::for_retention(0, 1 << 20);
    assert_eq!(least, LogSettings { segment_bytes: (1 << 20) + RUN_HEADER_BYTES, segments_max: 2 });
}

#[test]
fn a_message_of_the_largest_size_fits_a_segment_of_its_own() {
    let request = TestRequest::new(&[9; 1000], &[b"entry"]);
    let mut log =
        OrderedLog::new(LogSettings { segment_bytes: RUN_HEADER_BYTES + request.message().len(), segments_max: 2 });
    for sequence in 0..5 {
        execute(&mut log, &request.ordered(sequence, sequence));
        assert_eq!(log.run_containing(sequence).unwrap().message.to_vec(), request.message());
    }
    assert_eq!((log.oldest(), log.end()), (3, 5));
}

#[test]
#[should_panic(expected = "the message is larger than the log was made for")]
fn a_larger_message_is_a_fault_of_the_caller() {
    let mut log = OrderedLog::new(LogSettings { segment_bytes: 200, segments_max: 2 });
    execute(&mut log, &TestRequest::new(&[9; 200], &[b"entry"]).ordered(1, 1));
}

#[test]
#[should_panic(expected = "a view of the end of its message")]
fn operations_from_elsewhere_are_a_fault_of_the_caller() {
    let mut log = OrderedLog::new(LogSettings { segment_bytes: 2000, segments_max: 2 });
    let (one, two) = (TestRequest::new(b"", &[b"entry"]), TestRequest::new(b"", &[b"entry"]));
    let request = OrderedRequest { operations: two.ordered(1, 1).operations, ..one.ordered(1, 1) };
    execute(&mut log, &request);
}
