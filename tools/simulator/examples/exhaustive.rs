//! Searches a bound: `exhaustive FAULTY NUMBERS VIEWS LIES TIMEOUTS TENTATIVE EVERYWHERE [BUG]`.
use logothete_engine::numbers::ReplicaId;
use logothete_simulator::exhaustive::{Bound, explore};
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "planted-bugs")]
    if let Some(bug) = args.get(7) {
        use logothete_engine::planted::{Bug, plant};
        plant(Bug::ALL.iter().copied().find(|held| held.id() == bug));
    }
    let args: Vec<u64> = args.iter().take(7).map(|arg| arg.parse().unwrap()).collect();
    let bound = Bound { numbers: args[1], views: args[2], lies: args[3] as u8, time_outs: args[4] as u8, tentative: args[5] == 1, completes_everywhere: args[6] == 1 };
    let start = std::time::Instant::now();
    let (counts, finding) = explore(bound, ReplicaId(args[0] as u8));
    println!("{args:?} {counts:?} {:?}", start.elapsed());
    if let Some(finding) = finding {
        println!("{}: {}", finding.goal.label(), finding.what);
        finding.steps.iter().enumerate().for_each(|(at, step)| println!("{:3} {step}", at + 1));
    }
}
