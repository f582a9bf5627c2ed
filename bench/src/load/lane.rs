//! What is in flight on one session.

use super::target::Access;

/// An operation that was sent and not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// [`Flight::NONE`] in a free place.
    pub(super) number: u64,
    /// When it was sent, in an open loop due.
    pub(super) intended_ns: u64,
    /// How it was asked for.
    pub(super) access: Access,
}

impl Flight {
    const NONE: u64 = u64::MAX;
}

/// What is known about one target.
#[derive(Debug)]
pub(super) struct Lane {
    /// By the low bits of the number.
    flights: Box<[Flight]>,
    in_flight: usize,
    outstanding: usize,
    /// The number that the next operation will get, once one is known.
    number_next: Option<u64>,
    /// No further answer will come, and nothing may be sent.
    pub(super) ended: bool,
}

impl Lane {
    pub(super) fn new(outstanding: usize) -> Self {
        // Answers may overtake each other; four windows are room for one that is very late before its place is needed
        // again, and then the lane waits for it.
        let places = (4 * outstanding).next_power_of_two().max(64);
        let free = Flight { number: Flight::NONE, intended_ns: 0, access: Access::Write };
        let flights = vec![free; places].into_boxed_slice();
        Self { flights, in_flight: 0, outstanding, number_next: None, ended: false }
    }

    /// Operations that may be in flight.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Operations that are.
    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    #[inline]
    fn place(&self, number: u64) -> usize {
        number as usize & (self.flights.len() - 1)
    }

    /// Whether another operation may be sent.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        let free = |number| self.flights[self.place(number)].number == Flight::NONE;
        !self.ended && self.in_flight < self.outstanding && self.number_next.is_none_or(free)
    }

    /// An operation was sent, for which [`Lane::has_room`] had said yes.
    #[inline]
    pub(super) fn sent(&mut self, number: u64, intended_ns: u64, access: Access) {
        let place = self.place(number);
        assert_eq!(self.flights[place].number, Flight::NONE, "the numbers of a target grow by one");
        self.flights[place] = Flight { number, intended_ns, access };
        self.in_flight += 1;
        self.number_next = Some(number + 1);
    }

    /// Takes out the operation that was answered; nothing when none of this number is in flight.
    #[inline]
    pub(super) fn answered(&mut self, number: u64) -> Option<Flight> {
        let place = self.place(number);
        let flight = self.flights[place];
        if flight.number != number || number == Flight::NONE {
            return None;
        }
        self.flights[place].number = Flight::NONE;
        self.in_flight -= 1;
        Some(flight)
    }

    /// Takes everything out that is still in flight.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = Flight> + '_ {
        self.in_flight = 0;
        self.flights.iter_mut().filter(|flight| flight.number != Flight::NONE).map(|flight| {
            let abandoned = *flight;
            flight.number = Flight::NONE;
            abandoned
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_full_at_its_window_and_forgets_what_was_answered() {
        let mut lane = Lane::new(2);
        lane.sent(10, 100, Access::Write);
        lane.sent(11, 110, Access::Read);
        assert!(!lane.has_room());
        assert_eq!(lane.answered(11).map(|flight| (flight.intended_ns, flight.access)), Some((110, Access::Read)));
        assert!(lane.has_room() && lane.in_flight() == 1);
        assert!(lane.answered(11).is_none() && lane.answered(12).is_none() && lane.answered(u64::MAX).is_none());
        assert_eq!(lane.abandon().map(|flight| flight.number).collect::<Vec<_>>(), [10]);
        assert_eq!((lane.in_flight(), lane.abandon().count()), (0, 0));
    }

    #[test]
    fn a_very_late_answer_keeps_its_place() {
        let mut lane = Lane::new(2);
        lane.sent(0, 0, Access::Write);
        let mut number = 1;
        while lane.has_room() {
            lane.sent(number, 0, Access::Write);
            lane.answered(number);
            number += 1;
        }
        assert_eq!(number, 64, "the next number needs the place of the one that is late");
        assert!(lane.answered(0).is_some() && lane.has_room());
    }

    #[test]
    fn an_ended_lane_has_no_room() {
        let mut lane = Lane::new(2);
        lane.ended = true;
        assert!(!lane.has_room());
    }
}
