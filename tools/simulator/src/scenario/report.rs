//! The output under a command: what happened, in words, with what several replicas do alike on one line.

use crate::scenario::words::list;
use crate::trace::lanes::Lanes;
use logothete_engine::numbers::Principal;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every message and every change of state.
    Full,
    /// What came of it in the end.
    Brief,
    /// Nothing: the random tests read no output.
    None,
}

/// What did not get through, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// A message, by the core.
    Rejected(&'static str),
    /// A packet, by the verifier.
    Dropped(&'static str),
    /// A packet, by the network.
    Lost,
}

impl Loss {
    fn text(self, count: u64) -> String {
        let some = |what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
        match self {
            Self::Rejected(label) => format!("rejected {}: {label}", some("message")),
            Self::Dropped(label) => format!("dropped {}: {label}", some("packet")),
            Self::Lost => format!("lost {}", some("packet")),
        }
    }
}

#[derive(Debug)]
enum Line {
    Note { who: Vec<Principal>, text: String },
    Send { from: Vec<Principal>, to: Vec<Principal>, text: String },
}

/// Collects the lines of one command.
#[derive(Debug)]
pub struct Report {
    detail: Detail,
    replicas: usize,
    moment: Option<String>,
    /// The moment under which the last line stands.
    moment_written: Option<String>,
    lines: Vec<Line>,
    written: Vec<String>,
    /// In brief: of what how much, everybody together.
    counted: BTreeMap<Loss, u64>,
    outcomes: BTreeMap<Principal, Vec<String>>,
    /// For a picture of what is said in full, where one is drawn.
    pub lanes: Option<Lanes>,
}

impl Report {
    pub fn new(replicas: usize) -> Self {
        Self {
            detail: Detail::None,
            replicas,
            moment: None,
            moment_written: None,
            lines: Vec::new(),
            written: Vec::new(),
            counted: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            lanes: None,
        }
    }

    pub fn begin(&mut self, detail: Detail) {
        self.detail = detail;
    }

    /// What comes next stands in a block of its own.
    pub fn begin_block(&mut self) {
        self.moment_written = None;
    }

    pub fn is_full(&self) -> bool {
        self.detail == Detail::Full
    }

    /// A new moment: what is noted next happens then.
    pub fn moment(&mut self, text: String) {
        self.flush();
        self.moment = Some(text);
    }

    /// A step on someone's way, said in full only.
    pub fn step(&mut self, who: Principal, text: impl FnOnce() -> String) {
        if self.is_full() {
            self.note_in_full(who, text());
        }
    }

    /// Something refused or lost: said where it happens, and counted in brief.
    pub fn count(&mut self, who: Principal, loss: Loss, text: impl FnOnce() -> String) {
        match self.detail {
            Detail::Full => self.note_in_full(who, text()),
            Detail::Brief => *self.counted.entry(loss).or_default() += 1,
            Detail::None => {}
        }
    }

    /// What nobody should miss, whatever the detail.
    pub fn outcome(&mut self, who: Principal, text: impl FnOnce() -> String) {
        match self.detail {
            Detail::Full => self.note_in_full(who, text()),
            Detail::Brief => self.outcomes.entry(who).or_default().push(text()),
            Detail::None => {}
        }
    }

    /// A packet of these bytes is sent.
    pub fn send(&mut self, from: Principal, to: &[Principal], bytes: &Rc<[u8]>, text: impl FnOnce() -> String) {
        if !self.is_full() {
            return;
        }
        let text = text();
        if let Some(lanes) = &mut self.lanes {
            lanes.sent(from, bytes, text.clone());
        }
        let also = |line: &&mut Line| match line {
            Line::Send { from: senders, to: others, text: said } => {
                *said == text && *senders == [from] && !to.iter().any(|one| others.contains(one))
            }
            Line::Note { .. } => false,
        };
        if let Some(Line::Send { to: others, .. }) = self.lines.iter_mut().find(also) {
            others.extend_from_slice(to);
            return;
        }
        let relation = |line: &&mut Line| match line {
            Line::Send { from: senders, to: others, text: said } => {
                *said == text && !senders.contains(&from) && self_or_all(senders, others, from, to, self.replicas)
            }
            Line::Note { .. } => false,
        };
        match self.lines.iter_mut().find(relation) {
            Some(Line::Send { from: senders, .. }) => senders.push(from),
            _ => self.lines.push(Line::Send { from: vec![from], to: to.to_vec(), text }),
        }
    }

    fn note_in_full(&mut self, who: Principal, text: String) {
        if let Some(lanes) = &mut self.lanes {
            lanes.note(who, &text);
        }
        self.note(who, text);
    }

    fn note(&mut self, who: Principal, text: String) {
        let same = |line: &&mut Line| matches!(line, Line::Note { text: said, .. } if *said == text);
        match self.lines.iter_mut().find(same) {
            Some(Line::Note { who: all, .. }) => {
                if !all.contains(&who) {
                    all.push(who);
                }
            }
            _ => self.lines.push(Line::Note { who: vec![who], text }),
        }
    }

    fn flush(&mut self) {
        let moment = self.moment.take();
        if self.lines.is_empty() {
            return;
        }
        if moment.is_some() && moment != self.moment_written {
            self.moment_written.clone_from(&moment);
            self.written.extend(moment);
        }
        for line in self.lines.drain(..) {
            self.written.push(match line {
                Line::Note { who, text } => format!("  {}: {text}", list(&who)),
                Line::Send { from, to, text } if from.len() == 1 || !is_all_others(from[0], &to, self.replicas) => {
                    format!("  {} -> {}: {text}", list(&from), list(&to))
                }
                Line::Send { from, text, .. } => format!("  {} -> others: {text}", list(&from)),
            });
        }
    }

    /// Takes what was written so far, all but the present moment.
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.written)
    }

    /// Ends a command; `summary` is what each agent came to, said in brief.
    pub fn end(&mut self, summary: Vec<(Principal, String)>) -> String {
        self.flush();
        if self.detail == Detail::Brief {
            for (who, text) in summary {
                self.note(who, text);
            }
            for (who, texts) in std::mem::take(&mut self.outcomes) {
                texts.into_iter().for_each(|text| self.note(who, text));
            }
            self.flush();
            for (loss, count) in std::mem::take(&mut self.counted) {
                self.written.push(format!("  {}", loss.text(count)));
            }
        }
        self.detail = Detail::None;
        self.written.drain(..).map(|line| line + "\n").collect()
    }
}

/// Whether a sender does what others on a line do: sends to the same, or like them to all replicas but itself.
fn self_or_all(
    senders: &[Principal],
    others: &[Principal],
    from: Principal,
    to: &[Principal],
    replicas: usize,
) -> bool {
    others == to || (is_all_others(senders[0], others, replicas) && is_all_others(from, to, replicas))
}

fn is_all_others(from: Principal, to: &[Principal], replicas: usize) -> bool {
    matches!(from, Principal::Replica(_))
        && to.len() == replicas - 1
        && to.iter().all(|other| *other != from && matches!(other, Principal::Replica(_)))
}

/// Says a count of packets.
pub fn packets(count: usize) -> String {
    if count == 1 { "1 packet".to_owned() } else { format!("{count} packets") }
}
