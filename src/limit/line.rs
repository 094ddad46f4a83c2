//! Who is inside, who waits, and in which order.
//!
//! A queue in front of a busy server smooths a burst over, and makes overload worse: everybody in it waits for as long as
//! they can, and the server spends itself on answers that come too late. So this one is short and looks ahead:
//!
//! * It has a bounded length. When it is full, a newcomer of a higher [`Priority`] takes the place of the youngest waiter
//!   of the lowest class below; any other is refused at once.
//! * It is served by class, and within a class in order of arrival.
//! * Whoever waits has a deadline, and is not let in after it: the place goes to the next who still has time.
//! * It knows its [pace](Pace). A newcomer whose turn would come after its deadline is told now, not then: a quick *no*
//!   can be tried elsewhere, a slow one only costs.
//!
//! The pace is a guess, and a wrong guess must not turn anybody away who would have been served. So it counts only while
//! somebody waits, is believed only after enough turns, and is forgotten soon; and whoever would be the first in line is
//! never refused for it, since it takes somebody who waits to find out that the pace has changed.
//!
//! How somebody who waits is told is the caller's affair: the line keeps a token for each and hands it back.

use std::collections::BTreeMap;

use super::Priority;
use crate::clock::{Duration, Moment};

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many wait already as may wait, and none of them for something less urgent.
    QueueFull,
    /// At the present pace its turn would come too late.
    NoTime,
    /// Its turn did not come in time.
    WaitedTooLong,
}

impl Refused {
    /// In words, for a problem document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refused::QueueFull => "too many requests are waiting",
            Refused::NoTime => "too many requests are waiting to be served in time",
            Refused::WaitedTooLong => "no server became free in time",
        }
    }
}

/// The line at a door that lets in a limited number at a time.
#[derive(Debug)]
pub struct Line<T> {
    limit: usize,
    inside: usize,
    most_waiting: usize,
    /// Those who wait for something else, and count as if they waited here.
    aside: usize,
    /// By priority, then in order of arrival.
    classes: [BTreeMap<u64, Waiter<T>>; Priority::ALL.len()],
    arrivals: u64,
    pace: Pace,
}

#[derive(Debug)]
struct Waiter<T> {
    deadline: Moment,
    token: T,
}

/// Somebody's place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    priority: Priority,
    arrival: u64,
}

/// What became of a newcomer who was not refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined<T> {
    /// It is inside: a place was free.
    Inside,
    /// It waits.
    Waiting {
        /// Where.
        ticket: Ticket,
        /// The token of the one who had to go for it.
        turned_away: Option<T>,
    },
}

impl<T> Line<T> {
    /// Nobody inside, nobody waiting.
    pub fn new(limit: usize, most_waiting: usize) -> Line<T> {
        let classes = Default::default();
        Line { limit, inside: 0, most_waiting, aside: 0, classes, arrivals: 0, pace: Pace::default() }
    }

    /// How many are inside; more than the limit where that has come down meanwhile.
    pub fn inside(&self) -> usize {
        self.inside
    }

    /// Whether somebody waits here.
    pub fn has_waiters(&self) -> bool {
        self.classes.iter().any(|class| !class.is_empty())
    }

    /// How many wait, here and aside.
    pub fn waiting(&self) -> usize {
        self.in_line() + self.aside
    }

    /// Goes in, if a place is free and nobody waits for it.
    pub fn try_enter(&mut self) -> bool {
        let free = self.inside < self.limit && !self.has_waiters();
        self.inside += usize::from(free);
        free
    }

    /// Goes in or waits.
    ///
    /// # Errors
    /// [`Refused::QueueFull`] or [`Refused::NoTime`].
    pub fn join(
        &mut self,
        priority: Priority,
        deadline: Moment,
        now: Moment,
        token: T,
    ) -> Result<Joined<T>, Refused> {
        if self.try_enter() {
            return Ok(Joined::Inside);
        }
        if !self.has_time(priority, deadline, now) {
            return Err(Refused::NoTime);
        }
        let turned_away = self.make_room(priority)?;
        if !self.has_waiters() {
            self.pace.somebody_waits(now);
        }
        let ticket = Ticket { priority, arrival: self.arrivals };
        self.arrivals += 1;
        self.classes[priority as usize].insert(ticket.arrival, Waiter { deadline, token });
        Ok(Joined::Waiting { ticket, turned_away })
    }

    /// Somebody stops waiting. None if that one is not in the line any more.
    pub fn abandon(&mut self, ticket: Ticket) -> Option<T> {
        let waiter = self.classes[ticket.priority as usize].remove(&ticket.arrival)?;
        Some(waiter.token)
    }

    /// Somebody goes out. Then [`Line::admit_next`] has to be asked.
    pub fn leave(&mut self) {
        self.inside = self.inside.saturating_sub(1);
    }

    /// Moves the limit. Then [`Line::admit_next`] has to be asked, until it has nobody.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Lets in the first who still has time, if a place is free.
    pub fn admit_next(&mut self, now: Moment) -> Option<T> {
        while self.inside < self.limit {
            let Waiter { deadline, token } = self.pop_first()?;
            if now < deadline {
                self.inside += 1;
                self.pace.turn(now);
                return Some(token);
            }
        }
        None
    }

    /// Takes one of the places to wait at for somebody who waits for something else. False if there is none.
    pub fn step_aside(&mut self) -> bool {
        let room = self.waiting() < self.most_waiting;
        self.aside += usize::from(room);
        room
    }

    /// Gives back what [`Line::step_aside`] took.
    pub fn step_back(&mut self) {
        self.aside = self.aside.saturating_sub(1);
    }

    fn in_line(&self) -> usize {
        self.classes.iter().map(BTreeMap::len).sum()
    }

    /// How many go in before a newcomer of this priority.
    fn ahead_of(&self, priority: Priority) -> usize {
        self.classes[..=priority as usize].iter().map(BTreeMap::len).sum()
    }

    fn has_time(&self, priority: Priority, deadline: Moment, now: Moment) -> bool {
        let ahead = u32::try_from(self.ahead_of(priority)).unwrap_or(u32::MAX);
        let wait = match self.pace.per_turn() {
            Some(per_turn) if ahead > 0 => per_turn.saturating_mul(ahead.saturating_add(1)),
            _ => Duration::ZERO,
        };
        now < deadline && now + wait <= deadline
    }

    /// The token of whoever has to go, if anybody has to.
    fn make_room(&mut self, priority: Priority) -> Result<Option<T>, Refused> {
        if self.waiting() < self.most_waiting {
            return Ok(None);
        }
        let mut below = self.classes[priority as usize + 1..].iter_mut().rev();
        let youngest = below.find_map(|class| class.pop_last()).ok_or(Refused::QueueFull)?;
        Ok(Some(youngest.1.token))
    }

    fn pop_first(&mut self) -> Option<Waiter<T>> {
        self.classes.iter_mut().find_map(|class| class.pop_first()).map(|(_, waiter)| waiter)
    }
}

/// How long it takes from one turn to the next, on average over the last ones.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// When the last turn was, or somebody began to wait after it.
    since: Moment,
    average: Duration,
    /// That it is an average of, up to [`MEMORY`].
    turns: u32,
}

/// Turns that it takes for a pace to be believed: with fewer, a single hiccup might turn somebody away.
const ENOUGH: u32 = 16;

/// Turns that it is an average of: many, since workers that began together are done together, and turns come in bunches.
const MEMORY: u32 = 64;

/// After so long with nobody waiting, the next who waits finds the pace unknown: the server may be another by then.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// A pause counts as so many turns at most, so that one stumble does not turn away whoever comes after it. A server that
/// stays slower is believed nevertheless, a little more with each turn.
const LONGEST_PAUSE: u32 = 8;
const SHORTEST_CAP: Duration = Duration::from_millis(10);

impl Pace {
    /// Nobody did before.
    fn somebody_waits(&mut self, now: Moment) {
        if now.since(self.since) > FORGOTTEN {
            *self = Pace::default();
        }
        self.since = now;
    }

    fn turn(&mut self, now: Moment) {
        let pause = self.capped(now.since(self.since));
        self.since = now;
        self.turns = (self.turns + 1).min(MEMORY);
        self.average = (self.average * (self.turns - 1) + pause) / self.turns;
    }

    fn capped(&self, pause: Duration) -> Duration {
        match self.per_turn() {
            Some(per_turn) => pause.min((per_turn * LONGEST_PAUSE).max(SHORTEST_CAP)),
            None => pause,
        }
    }

    fn per_turn(&self) -> Option<Duration> {
        (self.turns >= ENOUGH).then_some(self.average)
    }
}

#[cfg(test)]
mod tests;
