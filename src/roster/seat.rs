//! One member, and all that is known of it.

use super::Member;
use crate::clock::{Duration, Moment};
use crate::estate;
use crate::health::ejection::{Breaker, State, Why};
use crate::health::latency::Latency;
use crate::health::probe::{Miss, Probe, Thresholds};
use crate::health::rotation::Stand;
use crate::health::tally::{Ended, Tally};
use crate::health::{Fitness, Policy, Reason, ejection::Ejection};

/// How long a failed request speaks against an endpoint, if nothing else is heard: by then a check or another request
/// has told more, or nobody wanted to know.
const DOUBT: Duration = Duration::from_secs(1);

/// An endpoint that has said nothing for so long, while it was asked something, is in doubt; a healthy one answers in a
/// fraction of it.
const SILENCE: Duration = Duration::from_millis(20);

/// Or so many times what it usually takes.
const SILENCE_FACTOR: u32 = 4;

/// A client that leaves before this may just have changed its mind.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// Or before so many times what an answer usually takes.
const GIVEN_UP_FACTOR: u32 = 10;

/// One member.
#[derive(Debug)]
pub struct Seat<E> {
    pub(super) endpoint: E,
    pub(super) member: Member,
    pub(super) serial: u64,
    pub(super) fitness: Fitness,
    pub(super) breaker: Breaker,
    pub(super) tally: Tally,
    pub(super) in_flight: usize,
    /// Since when it has been asked and has said nothing at all.
    pub(super) unheard_since: Option<Moment>,
    latency: Latency,
    /// What its checks say; `None` where none are made.
    probe: Option<Probe>,
    /// When a request last failed here, unless one was answered since.
    doubted: Option<Moment>,
    /// When it came back, until its slow start is over; `None` where it was here from the beginning.
    back: Option<Moment>,
}

impl<E> Seat<E> {
    pub(super) fn new(
        endpoint: E,
        member: Member,
        serial: u64,
        checked: bool,
        late: Option<Moment>,
    ) -> Seat<E> {
        let probe = checked.then_some(Probe::Unknown);
        Seat {
            endpoint,
            member,
            serial,
            fitness: if checked { Fitness::Unfit(Reason::Unchecked) } else { Fitness::Fit },
            breaker: Breaker::default(),
            tally: Tally::default(),
            in_flight: 0,
            unheard_since: None,
            latency: Latency::default(),
            probe,
            doubted: None,
            back: late,
        }
    }

    /// What it leaves. Requests under way are not in it: they end where they began.
    pub(super) fn bequeath(&self, window: Duration, now: Moment) -> estate::Endpoint {
        let age = |then: Moment| now.since(then).into();
        estate::Endpoint {
            address: self.member.address,
            drained: self.member.drained,
            probe: self.probe.map(Probe::bequeath),
            breaker: self.breaker.bequeath(now),
            latency: self.latency.bequeath(now),
            tally: self.tally.bequeath(window, now),
            back: self.back.map(age),
            doubted: self.doubted.map(age),
        }
    }

    /// Takes what was known of it at a time, as far as the policy has a use for it: no checks, no verdict of theirs. The
    /// verdict stands from the beginning, as it is no news.
    pub(super) fn inherit(&mut self, known: &estate::Endpoint, policy: &Policy, then: Moment, now: Moment) {
        let estate::Endpoint { address: _, drained, probe, breaker, latency, tally, back, doubted } = known;
        let at = |age: estate::Span| then.before(age.into());
        self.probe = policy.checks.map(|_| probe.map_or(Probe::Unknown, Probe::inherit));
        self.breaker = Breaker::inherit(*breaker, &policy.ejection, then);
        self.latency = Latency::inherit(*latency, then);
        self.tally = Tally::inherit(tally, policy.ejection.window, then);
        self.back = back.map(at);
        self.doubted = doubted.map(at);
        let member = self.member;
        self.member.drained = *drained;
        self.change(member, now);
        self.fitness = self.verdict();
    }

    /// The operator has other words for it. One that was drained and is so no longer has been idle, and is back like any other.
    pub(super) fn change(&mut self, member: Member, now: Moment) {
        if self.member.drained && !member.drained {
            self.back = Some(now);
        }
        self.member = member;
    }

    /// What the roster's owner knows it by.
    pub fn endpoint(&self) -> &E {
        &self.endpoint
    }

    /// What makes it a member.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Whether it may be asked, and why not.
    pub fn fitness(&self) -> Fitness {
        self.fitness
    }

    /// Requests under way here.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How long it takes to answer, of late; nothing if nobody knows.
    pub fn latency(&self, now: Moment) -> Duration {
        self.latency.average(now)
    }

    /// Whether it may be well or not, and the next check or request will tell.
    pub fn is_doubtful(&self, now: Moment) -> bool {
        let failed = self.doubted.is_some_and(|at| now.since(at) < DOUBT);
        let failing = matches!(self.probe, Some(Probe::Up { bad: 1.. }));
        let longest = SILENCE.max(self.latency.average(now) * SILENCE_FACTOR);
        failed || failing || self.silent(now) > longest
    }

    /// Whether results of late disagree with what its checks say.
    pub fn is_in_doubt(&self) -> bool {
        self.probe.is_some_and(Probe::is_in_doubt)
    }

    pub(super) fn is_checked(&self) -> bool {
        self.probe != Some(Probe::Unknown)
    }

    /// What an answer would take: the average, or how long the present one is taking already.
    pub(super) fn expected(&self, now: Moment) -> Duration {
        let average = self.latency.average(now);
        if average.is_zero() { average } else { average.max(self.silent(now)) }
    }

    fn silent(&self, now: Moment) -> Duration {
        self.unheard_since.map(|since| now.since(since)).unwrap_or_default()
    }

    pub(super) fn ask(&mut self, trial: Option<Moment>, sent: Option<Moment>) {
        self.in_flight += 1;
        self.unheard_since = self.unheard_since.or(sent);
        if let Some(now) = trial {
            self.breaker.begin_trial(now);
        }
    }

    pub(super) fn release(&mut self) {
        self.in_flight -= 1;
        if self.in_flight == 0 {
            self.unheard_since = None;
        }
    }

    pub(super) fn awaits_trial(&self, now: Moment, patience: Duration) -> bool {
        let Some(since) = self.breaker.awaits_trial(now) else { return false };
        let otherwise_fit =
            !self.member.drained && !matches!(self.probe, Some(Probe::Unknown | Probe::Down { .. }));
        otherwise_fit && now.since(since) >= patience
    }

    /// Clients have their own patience, and some have less than the proxy: an endpoint that hangs would be known by nothing
    /// but their leaving. One that left after far longer than an answer usually takes counts as not answered.
    pub(super) fn interpret(&self, ended: Ended, policy: &Ejection, now: Moment) -> Ended {
        let Ended::GivenUp(waited) = ended else { return ended };
        let usual = self.tally.sum(policy.window, now).average().unwrap_or_default();
        if waited > GIVEN_UP.max(usual * GIVEN_UP_FACTOR) { Ended::Silent } else { Ended::Unknown }
    }

    /// It has begun to answer, so long after it was asked.
    pub(super) fn speak(&mut self, latency: Duration, now: Moment) {
        self.latency.answered(latency, now);
        self.unheard_since = None;
    }

    /// Whether what was heard is reason to eject it.
    pub(super) fn hear(&mut self, ended: Ended, policy: &Ejection, now: Moment) -> Option<Why> {
        match ended {
            Ended::Unknown | Ended::Unmade | Ended::GivenUp(_) => return None,
            Ended::Well(_) => self.doubted = None,
            Ended::Badly | Ended::Silent => {
                self.latency.failed(now);
                self.doubted = Some(now);
            }
        }
        if ended != Ended::Silent {
            self.unheard_since = None;
        }
        self.tally.count(ended, policy, now)
    }

    pub(super) fn check(&mut self, result: Result<(), Miss>, thresholds: Option<Thresholds>, now: Moment) {
        let was_down = matches!(self.probe, Some(Probe::Down { .. }));
        if let (Some(probe), Some(thresholds)) = (&mut self.probe, thresholds) {
            *probe = probe.after(result, thresholds);
        }
        let is_up = matches!(self.probe, None | Some(Probe::Up { .. }));
        if result.is_ok() && is_up && (was_down || self.probe.is_none()) {
            self.doubted = None;
        }
        if result.is_ok() && thresholds.is_none() && self.breaker.is_ejected() {
            self.readmit(now); // nobody could be reached, and here is somebody
        }
        if was_down && is_up {
            self.breaker.wake_early(now);
            self.back = Some(now);
            self.tally = Tally::default();
        }
    }

    /// The trial went well, or there is no room for another ejection.
    pub(super) fn readmit(&mut self, now: Moment) {
        self.breaker.close(now);
        self.tally = Tally::default();
        self.back = Some(now);
    }

    /// Whether the verdict is no longer what is known of it would give.
    pub(super) fn is_misjudged(&self) -> bool {
        self.verdict() != self.fitness
    }

    /// Brings the verdict up to date; the new one, if it is new.
    pub(super) fn judge(&mut self) -> Option<Fitness> {
        let verdict = self.verdict();
        let is_new = verdict != self.fitness;
        self.fitness = verdict;
        is_new.then_some(verdict)
    }

    /// The operator has the first word, then the checks, then the requests.
    fn verdict(&self) -> Fitness {
        match (self.member.drained, self.probe, self.breaker.state()) {
            (true, ..) => Fitness::Unfit(Reason::Drained),
            (_, Some(Probe::Unknown), _) => Fitness::Unfit(Reason::Unchecked),
            (_, Some(Probe::Down { miss, .. }), _) => Fitness::Unfit(Reason::Unhealthy(miss)),
            (_, _, State::Open { why, .. }) => Fitness::Unfit(Reason::Ejected(why)),
            (_, _, State::HalfOpen { why, .. }) => Fitness::Unfit(Reason::OnTrial(why)),
            (_, _, State::Closed { .. }) => Fitness::Fit,
        }
    }

    pub(super) fn stand(&self, slow_start: Option<Duration>, now: Moment) -> Stand {
        let reason = match self.fitness {
            Fitness::Fit => None,
            Fitness::Unfit(reason) => Some(reason),
        };
        let age = self.back.map(|back| now.since(back));
        Stand {
            weight: self.member.weight,
            tier: self.member.tier,
            fit: reason.is_none(),
            answers: reason.is_none_or(Reason::answers),
            counts: !matches!(reason, Some(Reason::Drained | Reason::Unchecked)),
            warming: age.filter(|age| slow_start.is_some_and(|whole| *age < whole)),
        }
    }

    /// Whether its slow start goes on, or has just ended: then it is forgotten.
    pub(super) fn is_warming(&mut self, slow_start: Option<Duration>, now: Moment) -> bool {
        let Some(back) = self.back else { return false };
        if slow_start.is_none_or(|whole| now.since(back) >= whole) {
            self.back = None;
        }
        true
    }
}
