//! The page: one file that needs nothing else.

use crate::swarm::plan::Plan;
use crate::trace::lanes::Lanes;
use serde::Serialize;

/// The page without a run.
const PAGE: &str = include_str!("page.html");

/// Where the run goes.
const PLACE: &str = "/*RUN*/null";

/// What the page draws.
#[derive(Serialize)]
struct Run<'a> {
    title: String,
    /// The plan in words.
    plan: String,
    /// What was violated, if anything was.
    violation: Option<&'a str>,
    /// The lanes of the adversary.
    faulty: Vec<usize>,
    #[serde(flatten)]
    lanes: &'a Lanes,
}

/// A run as a page.
pub fn page(plan: &Plan, lanes: &Lanes, violation: Option<&str>) -> String {
    let adversary = plan.adversary.iter();
    let replicas = adversary.clone().flat_map(|adversary| adversary.replicas.iter().map(|id| usize::from(*id)));
    let clients = adversary.flat_map(|adversary| &adversary.clients).map(|id| plan.cluster.replicas + usize::from(*id));
    let run = Run {
        title: format!("seed {}", plan.seed),
        plan: plan.to_string(),
        violation,
        faulty: replicas.chain(clients).collect(),
        lanes,
    };
    // Nothing in it can end the script.
    let data = serde_json::to_string(&run).expect("a run is plain data").replace("</", "<\\/");
    PAGE.replace(PLACE, &data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::mix::Mix;
    use logothete_engine::numbers::{Principal, ReplicaId};

    #[test]
    fn the_page_holds_the_run_and_nothing_in_it_ends_the_script() {
        let plan = Plan::draw(3, Mix::None, 10, Some(4));
        let mut lanes = Lanes::of(&[Principal::Replica(ReplicaId(0))]);
        lanes.note(Principal::Replica(ReplicaId(0)), "says </script>");
        let page = page(&plan, &lanes, Some("C1 agreement: two batches"));
        assert!(!page.contains(PLACE));
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(page.contains("C1 agreement: two batches") && page.contains("seed 3"));
        // Where another page looks for the run, to compare itself with it.
        let (_, rest) = page.split_once("const run = ").unwrap();
        let (run, _) = rest.split_once(";\nconst ROW").unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(run).unwrap()["title"], "seed 3");
    }
}
