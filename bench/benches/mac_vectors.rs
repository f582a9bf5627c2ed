//! Authentication vectors and digests: what every packet costs its sender and each receiver.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use logothete_crypto::{
    Digest, Entropy, Identity, KeyRing, KeyRingConfig, MacAlgorithm, PublicIdentity, TAG_ENTRY_BYTES, digest,
    digest_many, os_entropy,
};

/// The key ring of principal 0 with keys for `peers` others, and the ring of principal 1.
fn rings(algorithm: MacAlgorithm, peers: u16) -> (KeyRing, KeyRing) {
    let mut random = os_entropy;
    let mut identities: Vec<Identity> = (0..=peers).map(|_| Identity::generate(&mut random)).collect();
    let public: Vec<PublicIdentity> = identities.iter().map(Identity::public).collect();
    let context = digest(b"bench");
    let ring = |own: u16, identity: Identity| {
        let peers = (0..=peers).filter(|&peer| peer != own).map(|peer| (peer, public[usize::from(peer)])).collect();
        KeyRing::new(KeyRingConfig { context, algorithm, own, identity, peers }, Box::new(os_entropy) as Entropy)
    };
    let mut others: Vec<KeyRing> =
        (1..=peers).rev().map(|own| ring(own, identities.pop().expect("one a principal"))).collect();
    others.reverse();
    let mut first = ring(0, identities.pop().expect("one a principal"));
    for (other, id) in others.iter_mut().zip(1..) {
        // Three announcements: the second answers the first, the third echoes the challenge of the second.
        for _ in 0..2 {
            let announcement = first.announcement(id, 0).expect("a known peer");
            other.accept_announcement(&announcement).expect("a good announcement");
            let announcement = other.announcement(0, 0).expect("a known peer");
            first.accept_announcement(&announcement).expect("a good announcement");
        }
        assert!(first.established(id).is_some() && other.established(0).is_some());
    }
    (first, others.swap_remove(0))
}

fn vectors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for algorithm in [MacAlgorithm::Blake3, MacAlgorithm::HmacSha256, MacAlgorithm::Aes256Gmac] {
        for tags in [1u16, 3, 6, 15] {
            let (mut sender, _) = rings(algorithm, tags);
            let to: Vec<u16> = (1..=tags).collect();
            let mut out = vec![0; to.len() * TAG_ENTRY_BYTES];
            let packet = digest(b"a packet");
            let mut counter = 0;
            group.bench_function(BenchmarkId::new(algorithm.to_string(), tags), |bencher| {
                bencher.iter(|| {
                    counter += 1;
                    sender.seal(&to, &packet, counter, &mut out);
                });
            });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("verify");
    for algorithm in [MacAlgorithm::Blake3, MacAlgorithm::HmacSha256, MacAlgorithm::Aes256Gmac] {
        let (mut sender, receiver) = rings(algorithm, 1);
        let packet = digest(b"a packet");
        let mut entry = [0; TAG_ENTRY_BYTES];
        sender.seal(&[1], &packet, 1, &mut entry);
        let epoch = sender.epoch();
        group.bench_function(algorithm.to_string(), |bencher| {
            bencher.iter(|| receiver.verify(0, epoch, 1, &packet, &entry).expect("the tag is right"));
        });
    }
    group.finish();
}

fn digests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    for bytes in [64usize, 256, 1024] {
        let inputs: Vec<Vec<u8>> = (0..16u8).map(|fill| vec![fill; bytes]).collect();
        let views: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let mut out = [Digest::default(); 16];
        group.bench_function(BenchmarkId::new("one", bytes), |bencher| bencher.iter(|| digest(views[0])));
        group.bench_function(BenchmarkId::new("sixteen", bytes), |bencher| {
            bencher.iter(|| digest_many(&views, &mut out));
        });
    }
    group.finish();
}

criterion_group!(benches, vectors, digests);
criterion_main!(benches);
