//! **tetap** (Indonesian: *stays, unmoved*): the edge proxy for web APIs that stays up.
//!
//! > Upstreams die, hang and lie; configurations are edited wrongly; the binary is replaced, or crashes. The client sees a
//! > good answer, or one quick honest error. Nothing is answered twice.
//!
//! This page is the map. Every file opens with the problem that it solves; the links below are one hop from it.
//!
//! # The life of a configuration
//!
//! ```text
//!  bytes on disk       the operator's words      valid and resolved          alive, one generation        one request
//!  conf/*.yaml  ───►   config::Config     ───►   plan::Plan           ───►   runtime::Snapshot     ───►   proxy::Exchange
//!               load                   compile                        build                        pins
//! ```
//!
//! One function per arrow, and no later stage sees an earlier one's types. [`config::load`] checks every key against the
//! schema and reports all that is wrong at once; [`plan::compile()`] is pure and finds what only shows between keys;
//! [`runtime::Snapshot::build`] brings it to life; a request takes the snapshot once and keeps it to its end.
//! `tetap check` and `tetap run` call the same functions.
//!
//! # The life of a process
//!
//! ```text
//!  tetap run                 supervisor: owns the sockets, reads no configuration, speaks no HTTP; never ends by itself
//!   ├─ worker, generation 7  all the rest of this crate
//!   └─ worker, generation 8  only while one follows another
//! ```
//!
//! [`supervisor`] starts workers and buries them; [`handover`] decides who serves, who follows and who drains; they talk by
//! [`wire`]. A worker is told what to do by its [`process::steward`]: it [takes up](process::assignment) its work, goes
//! through its [`life`](process::life), and [reloads](process::reload) in place. What it has learnt is its [`estate`],
//! which goes to the next. After an upgrade the supervisor [becomes](supervisor::succession) the new program itself.
//! Without a supervisor (`process.supervise: false`) all is one process, which [`process::stop`] begins and ends.
//!
//! # The life of a request
//!
//! 1. [`listen::accept`] takes the connection, within the limits of its listener.
//! 2. [`listen::connection`] waits, parked, for a first byte, reads a head within its deadline, and has it judged by
//!    [`hygiene::request_head`]. What must not be forwarded is answered here; Pingora never sees it.
//! 3. [`listen::client`] shows Pingora exactly this one request. Pingora calls [`proxy`] back, in this order:
//! 4. `proxy::arrive` finds the route in the [`routing::Table`], answers what needs no upstream, and waits for a place at the
//!    upstream's [`Gate`](upstream::Gate).
//! 5. `proxy::attempt` has the [`roster`] choose an endpoint and takes a [`Lease`](upstream::Lease) on it; the
//!    [`Call`](upstream::call::Call) takes a connection from the endpoint's [`Shelf`](upstream::pool::Shelf) or opens one.
//!    Where there is nobody to ask, the request waits for the first endpoint that comes back.
//! 6. `proxy::forward` makes the head that the endpoint gets: hop-by-hop fields out, forwarding fields in.
//! 7. [`upstream::stream`] judges the answer's head, sets aside what nobody has to look at, so that it passes by as it
//!    came, and follows the answer to its last byte, within its deadlines.
//! 8. If the attempt fails, or the answer says that another endpoint might do better, [`retry::next`] says whether there is
//!    another attempt, and when. Then `proxy::reply` passes the answer on, or `proxy::fail` says with a
//!    [`Cause`](failure::Cause) why there is none.
//! 9. `proxy::finish` counts and logs. Dropping the exchange gives everything back.
//!
//! # The life of an endpoint
//!
//! [`upstream::discovery`] finds it, [`upstream::keeper`] has it [checked](upstream::check), and the [`roster`] hears of
//! both, and of what became of every request. [`health`] makes a verdict of that, and of all verdicts the shares of the
//! load. The same decisions are played through in virtual time by `tests/simulation.rs`, and against real servers that
//! are killed, stopped and made to lie by `tests/faults.rs`.
//!
//! # Questions, and where they are answered
//!
//! | question | answer |
//! |---|---|
//! | Why was I given a 503? | [`failure`] has every cause; the access log says which |
//! | Which route wins? | [`routing`], at the top |
//! | When is a request sent twice? | [`retry`]; how often, [`retry::budget`] |
//! | Why is an endpoint out, and when is it in again? | [`health`], [`health::ejection`], [`health::probe`] |
//! | Which endpoint is asked? | [`roster`], [`balance`]; how much each gets, [`health::rotation`] |
//! | What does `max_ejected` do, why that default? | [`config::upstream::health`] |
//! | When is an idle connection used again? | [`upstream::pool`], [`health::warmth`] |
//! | Who waits, who is refused, and what is the limit? | [`limit::line`], [`limit::adaptive`] |
//! | How are endpoints found? | [`upstream::discovery`] |
//! | What is refused as malformed? | [`hygiene`] |
//! | How long may what take? | [`plan::ListenerTimeouts`], [`plan::Timeouts`] |
//! | What is bounded, and why there? | [`limits`], [`plan::ListenerLimits`], [`plan::UpstreamLimits`] |
//! | Which metrics are there? | [`observe::metrics`] |
//! | What needs a swap of workers rather than a reload in place? | [`plan::diff`](mod@plan::diff) |
//! | How does the process end? | [`process::stop`] |
//! | What does an upstream know when it begins? | what the one before it left: [`estate`] |
//! | Would our clients notice a reload, an upgrade, a crash? | [`selftest`] tries it, on a shadow of the configuration |
//! | And a WebSocket, or a stream, that goes on? | [`listen::farewell`] |
//! | What does a service manager hear, and which sockets does it lend? | [`supervisor::service`], [`supervisor::lent`] |
//! | What if a new worker never becomes ready? | [`handover`] |
//! | What survives a reload, and an upgrade? | [`process::reload`], [`estate`] |
//! | Who answers `tetap reload`? | [`supervisor::control`], and then [`process::steward`] |
//!
//! # Words
//!
//! *Upstream*: a named group of endpoints that answer the same requests. *Endpoint*: one server of it. *Lease*: one
//! attempt's claim on an endpoint. *Attempt*: one call to one endpoint; an *exchange* has one or more. *Gate*: how many
//! requests an upstream bears; those that wait are *pending*. *Shelf*: the idle connections to one endpoint; the *pool* is
//! all shelves of an upstream. *Roster*: who is a member of an upstream, in which *slot*.
//! *Tier*: the rank of an endpoint; the next gets what the one before cannot carry. *Ejection*: being out because requests
//! failed; the breaker is then open, and half-open while one request, the *trial*, finds out. *Doubt*: a suspicion that is
//! no verdict yet; a *careful* request, which cannot be repeated, avoids it. *Panic*: so few endpoints are fit that health
//! is ignored. *Drain*: serve on, but let nobody new in. *Generation*: the number of a snapshot. *Parked*: a connection
//! between two requests. *Cause*: why there was no upstream's answer.
//!
//! # Who may know whom
//!
//! A room imports from the groups above its own, and within its group only from rooms that stand before it here:
//! `hygiene` from `routing`, `roster` from `health` and `balance`, `upstream` from `watchdog`, `runtime` from `upstream`, `proxy` from `listen`; those of
//! `process` are free among themselves. The table in `tests/architecture.rs` says it room by room, with its one exception, and
//! fails the build.
//!
//! | group | rooms | may not know |
//! |---|---|---|
//! | words | [`clock`] [`failure`] [`limits`] [`estate`] [`history`] | anything else |
//! | config | [`config`] | the domain, Pingora, tokio |
//! | domain (pure) | [`routing`] [`health`] [`balance`] [`roster`] [`limit`] [`retry`] [`hygiene`] [`answer`] [`handover`] | IO, tokio, Pingora, config, logging, the time |
//! | plan | [`plan`] | tokio, Pingora, the disk |
//! | observe | [`observe`] | the domain, plan, runtime, proxy |
//! | live | [`sockets`] [`watchdog`] [`upstream`] [`runtime`] | config, proxy, admin |
//! | traffic | [`listen`] [`proxy`] | config, process, admin |
//! | control | [`admin`] | proxy, process |
//! | process | [`wire`] [`supervisor`] [`process`] [`cli`] [`demo`] [`selftest`] | – |

pub mod admin;
pub mod answer;
pub mod balance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod estate;
pub mod failure;
pub mod handover;
pub mod health;
pub mod history;
pub mod hygiene;
pub mod limit;
pub mod limits;
pub mod listen;
pub mod observe;
pub mod plan;
pub mod process;
pub mod proxy;
pub mod retry;
pub mod roster;
pub mod routing;
pub mod runtime;
pub mod selftest;
pub mod sockets;
pub mod supervisor;
pub mod upstream;
pub mod watchdog;
pub mod wire;
