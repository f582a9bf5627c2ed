//! What replicas send to each other over time: a lane for each, a column for each kind of message (the notes' figure 10).

use super::style::{LOYAL, PAPER, STYLE, TRAITOR, arrow};
use crate::pbft::{Party, Story};
use logothete_bench::plot::svg::{Anchor, Canvas};

/// The width of a column, the distance of two lanes, what is left of them and above.
const COLUMN: f64 = 125.0;
const LANE: f64 = 64.0;
const LEFT: f64 = 130.0;
const TOP: f64 = 85.0;

/// Draws a story.
pub fn phases(story: &Story) -> String {
    let width = LEFT + COLUMN * story.phases.len() as f64 + 30.0;
    let height = TOP + LANE * story.replicas as f64 + 50.0;
    let title = match story.faulty {
        Some((faulty, fault)) => format!("{} replicas, replica {faulty} faulty: {}", story.replicas, fault.name()),
        None => format!("{} replicas, none faulty", story.replicas),
    };
    let mut canvas = Canvas::new(width, height, PAPER, STYLE, &title);
    canvas.text((LEFT, 28.0), Anchor::Start, "title", &title);
    let lane = |party: Party| match party {
        Party::Client => TOP,
        Party::Replica(id) => TOP + LANE * (id as f64 + 1.0),
    };
    let faulty = |party: Party| story.faulty.is_some_and(|(faulty, _)| party == Party::Replica(faulty));
    for party in std::iter::once(Party::Client).chain((0..story.replicas).map(Party::Replica)) {
        let y = lane(party);
        canvas.group("lane");
        canvas.line((LEFT, y), (width - 15.0, y));
        canvas.group_end();
        let name = match party {
            Party::Client => "client".to_owned(),
            Party::Replica(0) => "replica 0, primary".to_owned(),
            Party::Replica(id) => format!("replica {id}"),
        };
        canvas.text((LEFT - 10.0, y + 4.0), Anchor::End, "note", &name);
        if faulty(party) {
            canvas.text((LEFT - 10.0, y + 18.0), Anchor::End, "small", "faulty");
        }
    }
    for (index, phase) in (0..).zip(&story.phases) {
        let x = LEFT + COLUMN * f64::from(index);
        canvas.group("mark");
        canvas.line((x, TOP - 18.0), (x, height - 30.0));
        canvas.group_end();
        canvas.text((x + COLUMN / 2.0, TOP - 24.0), Anchor::Middle, "note", &phase.kind);
        canvas.text((x + COLUMN / 2.0, height - 14.0), Anchor::Middle, "small", &phase.moment);
        for (from, to) in &phase.messages {
            let colour = if faulty(*from) { TRAITOR } else { LOYAL };
            arrow(&mut canvas, &[(x + 8.0, lane(*from)), (x + COLUMN - 8.0, lane(*to))], colour);
        }
    }
    canvas.finish()
}
