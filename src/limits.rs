//! Bounds that are built in, each with its reason. What an operator may want to change is in the configuration instead.

use std::time::Duration;

/// Largest configuration file that is read. Ten thousand routes take about 2 MiB.
pub const CONFIG_BYTES: usize = 8 * 1024 * 1024;

/// Deepest nesting of a configuration file; the grammar itself needs nine levels.
pub const CONFIG_DEPTH: usize = 32;

/// Most nodes of a configuration file once its anchors are expanded, so that "billion laughs" files are refused.
pub const CONFIG_NODES: usize = 500_000;

/// Most diagnostics printed for one file: past these the reader mends the first ones anyway.
pub const DIAGNOSTICS: usize = 200;

/// Most attempts that can be configured for one request, counted anew when it has waited for an endpoint to come back. Ten
/// endpoints that fail in a row say what an eleventh would.
pub const ATTEMPTS: u32 = 10;

/// Attempts of one request in all, those before and after each wait for an endpoint to come back. Pingora's own loop is told
/// to end one later (its default is 16): if it ended before ours, the request would be left without an answer.
pub const ATTEMPTS_IN_ALL: usize = 60;

/// Longest body of a request that can be sent a second time: Pingora keeps so much of it.
pub const REPLAY_BYTES: u64 = 64 * 1024;

/// How long a start waits for the first round of health checks and name look-ups. Longer than any of them takes where
/// all is well; one name server that hangs must not keep everybody else from being served.
pub const FIRST_ROUND: Duration = Duration::from_secs(10);

/// Longest wait for a name server's answer. It is asked twice within that time, and each time goes on asking for as long as
/// it is silent; who asks it for services and then for their addresses waits twice as long, which is within
/// [`FIRST_ROUND`].
pub const LOOK_UP: Duration = Duration::from_secs(4);

/// Shortest pause between two looks at one name, even where its lifetime is over sooner: at 0 it would never end.
pub const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause before a name server that fails is asked again: it is noticed soon that it is back, and some hundred
/// proxies are no load to it while it is not.
pub const LOOK_UP_BACKOFF: Duration = Duration::from_secs(10);

/// Targets of one service that are looked up at the same time: enough to be done in time with a thousand, and no flood.
pub const LOOK_UPS_AT_ONCE: usize = 32;

/// Most endpoints of one upstream. An answer of the DNS ends at 64 KiB, which is about four thousand addresses; who has
/// more of them than a thousand has them behind a balancer.
pub const ENDPOINTS: usize = 1000;

/// How far back a worker's clock reaches, so that what was before its own time can be told to it. Nothing that upstreams
/// remember is of use for as long.
pub const HINDSIGHT: Duration = Duration::from_secs(24 * 60 * 60);

/// Tiers of an upstream: a first choice, a second site, a last resort; some more for SRV priorities.
pub const TIERS: u8 = 10;

/// Largest header section that a listener can be configured to accept; Pingora itself refuses more than 1 MiB.
pub const HEADER_BYTES: usize = 256 * 1024;

/// Most header lines that a listener can be configured to accept; Pingora's parser has room for 256.
pub const HEADER_COUNT: usize = 200;

/// Longest request target that a listener can be configured to accept: `http::Uri` ends at 65,534 bytes, and in normal
/// form a byte can become an escape of three.
pub const URI_BYTES: usize = 21 * 1024;

/// Largest header section of an upstream's answer. Real ones stay far below; Pingora's own bound is 1 MiB.
pub const RESPONSE_HEADER_BYTES: usize = 256 * 1024;

/// Most header lines of an upstream's answer: Pingora's parser has room for so many.
pub const RESPONSE_HEADER_COUNT: usize = 256;

/// Most options in the `Connection` fields of one message. Real ones name two or three; each may cost a header lookup.
pub const CONNECTION_OPTIONS: usize = 16;

/// Most 1xx answers before the final one. RFC 9110 sets no bound; one 100 and a few 103 are usual.
pub const INTERIM_RESPONSES: u32 = 16;

/// Bytes of an answer that are read ahead while the request's body cannot be written: enough for both to get on with it.
pub const ANSWER_AHEAD_BYTES: usize = 1024 * 1024;

/// Longest line of a chunk header, extensions included: extensions are not in use, and a long one is an attack.
pub const CHUNK_LINE_BYTES: usize = 1024;

/// Largest trailer section. Trailers are read and dropped on HTTP/1.
pub const TRAILER_BYTES: usize = 16 * 1024;

/// How long a connection that is being refused is read from, so that the reset which follows unread bytes does not
/// overtake the answer (RFC 9112, section 9.6).
pub const LINGER: Duration = Duration::from_secs(2);

/// Most bytes read while lingering.
pub const LINGER_BYTES: usize = 1024 * 1024;

/// Most connections that linger at the same time; further ones are closed at once.
pub const LINGERING_CONNECTIONS: usize = 256;

/// Bytes of an answer's body that a health check looks at. A page that says how a server is has its word near the top;
/// more would be held for every endpoint at the same time.
pub const CHECK_BODY_BYTES: usize = 64 * 1024;

/// Largest message of a gRPC health check's answer: it is one number, and room for what the protocol may add to it.
pub const CHECK_MESSAGE_BYTES: usize = 1024;

/// Largest header section of a gRPC health check's answer, and of its trailers: as gRPC's own libraries set it.
pub const CHECK_HEADER_BYTES: u32 = 16 * 1024;

/// How long a health check whose verdict stands waits for the endpoint to close the connection. An endpoint that was
/// asked to close does so right behind its answer, which is here already.
pub const CHECK_PARTING: Duration = Duration::from_millis(50);

/// How long a connection may take to an endpoint that has no health check, while requests wait for it: one lost packet
/// costs a second, and the next attempt comes sooner than that.
pub const CONNECT_CHECK: Duration = Duration::from_millis(500);

/// Pause before a task that has panicked begins again: one that panics at once, each time, is no load then.
pub const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Endpoints of one upstream that are checked at full pace while requests wait for one of them. More share the pace of
/// so many, a thousand checks a second in all: looking for life must not take the processor from those who live.
pub const HURRIED_ENDPOINTS: usize = 50;

/// Bytes of a next (pipelined) request that are read ahead while the present one is being answered.
pub const READ_AHEAD_BYTES: usize = 8 * 1024;

/// Bytes of an answer that are gathered before they go to the socket, so that header and small body leave together.
pub const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// Access log lines waiting for a slow disk, in bytes. About 20,000 lines; past that lines are dropped and counted.
pub const ACCESS_LOG_QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of a refused request's target that the access log shows: enough to know it by, and too few to fill a disk with.
pub const REFUSED_TARGET_BYTES: usize = 256;

/// Longest `X-Request-Id` that is taken over from a client.
pub const REQUEST_ID_BYTES: usize = 128;

/// Longest `X-Forwarded-For` chain that is read, in addresses.
pub const FORWARDED_HOPS: usize = 32;

/// Connections to the admin address: some scrapers, load balancers and operators. Further ones wait in the backlog.
pub const ADMIN_CONNECTIONS: usize = 64;

/// Connections to the admin address that the kernel queues: what comes at once when every scraper starts.
pub const ADMIN_BACKLOG: u32 = 128;

/// Oldest connection to the admin address. One bound for the idle, the slow and the dead; a scraper simply connects anew.
pub const ADMIN_CONNECTION_AGE: Duration = Duration::from_secs(60);

/// Largest message between supervisor and worker. A configuration of [`CONFIG_BYTES`] and the list of what it changes fit.
pub const WIRE_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Larger messages go in a file beside the frame: a datagram must fit into a socket's buffer, which is about 200 KiB.
pub const WIRE_INLINE_BYTES: usize = 48 * 1024;

/// Most descriptors with one message; the kernel takes 253 (`SCM_MAX_FD`). More sockets take more messages.
pub const WIRE_DESCRIPTORS: usize = 128;

/// A worker that serves, and was asked so often without having been well, is killed and replaced. It is asked once a second,
/// and answers on the threads that serve, so this is far beyond what load can do.
pub const HANG: u32 = 30;

/// The same for one that was just upgraded: there is somebody to go back to.
pub const HANG_ON_PROBATION: u32 = 4;

/// How much longer one is looked at that has not answered of late when its time is over.
pub const PROBATION_MORE: Duration = Duration::from_secs(1);

/// How long a worker may take to end after the time at which it should have.
pub const KILL_GRACE: Duration = Duration::from_secs(5);

/// The pause before a second crash within [`CRASH_FORGIVEN`] is answered with another worker; doubled each time.
pub const CRASH_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause: no client waits longer, and no machine starts more than a worker a second.
pub const CRASH_PAUSE_MOST: Duration = Duration::from_secs(1);

/// A worker that has served for so long is replaced without a pause: starting one costs a few hundredths of that.
pub const CRASH_FORGIVEN: Duration = Duration::from_secs(1);

/// How long a worker's request to itself may take: it waits for nobody.
pub const OWN_REQUEST: Duration = Duration::from_secs(2);

/// The last part of a drain in which WebSockets and answers that still go on are ended, each at a moment of its own: a
/// quarter of `process.drain_timeout`, and no more than this. Ten thousand clients that connect anew within ten seconds
/// are a thousand a second, which is load; in one millisecond they are an outage.
pub const PARTING_SPREAD: Duration = Duration::from_secs(10);

/// What is kept free of the drain's time behind the last of these moments, so that nobody is told goodbye and cut in one
/// breath: an eighth of `process.drain_timeout`, and no more than the two steps of a goodbye take, [`FRAME_END`] and
/// [`CLOSE_REPLY`].
pub const PARTING_GRACE: Duration = Duration::from_secs(2);

/// How long a WebSocket that is to be closed may take to come to the end of the frame that it is in. A frame that takes
/// longer than this is a file on a slow line, and might take minutes.
pub const FRAME_END: Duration = Duration::from_secs(1);

/// How long both ends of a WebSocket that have been told goodbye may take to answer: a few round trips on a poor network.
pub const CLOSE_REPLY: Duration = Duration::from_secs(1);

/// Calls to the service that accepts, which have not been heard yet: it hears them at once.
pub const CALLS: usize = 16;

/// Orders that wait for a worker to listen. It is asked something once a second and told something a few times in its life.
pub const ORDERS: usize = 64;

/// Words of workers, and requests of operators, that wait for the supervisor. Who has more to say waits.
pub const EVENTS: usize = 64;

/// Commands that are under way at the same time.
pub const CONTROL_CONNECTIONS: usize = 16;

/// Further ones that wait.
pub const CONTROL_BACKLOG: u32 = 16;

/// The pause where there are no descriptors left for a command.
pub const CONTROL_REST: Duration = Duration::from_millis(100);

/// Longest command: a name and a path (`PATH_MAX` is 4,096).
pub const CONTROL_LINE_BYTES: u64 = 16 * 1024;

/// How long a command may take to arrive: it is one line.
pub const CONTROL_LINE_TIME: Duration = Duration::from_secs(5);

/// How long an answer may take that is known already.
pub const CONTROL_ANSWER_TIME: Duration = Duration::from_secs(10);

/// How often an address is tried that a worker is about to leave, and the pause between: half a second in all.
pub const BIND_TRIES: u32 = 25;

/// See [`BIND_TRIES`].
pub const BIND_PAUSE: Duration = Duration::from_millis(20);

/// How long a worker that has ended may have something to say still: what it said before it ended is on its way.
pub const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long a service manager may take to have room for a message. It has room for hundreds, so a wait is a fault of
/// its own; after this, the message is dropped, since workers and commands wait meanwhile.
pub const NOTIFY_TIME: Duration = Duration::from_millis(500);

/// How often, in seconds, the worker that serves says what it knows, for one that replaces it if it crashes. What is older
/// than a health check's interval is found out anew as quickly.
pub const BEQUEATH_EVERY: u64 = 5;

/// How long a new worker waits for what the present one knows: it is written within milliseconds, if at all.
pub const BEQUEATH_TIME: Duration = Duration::from_secs(1);

/// How long a worker may take over a reload, or over saying what one would change. Endpoints are waited for at most
/// [`FIRST_ROUND`]; reading and compiling take less than a second.
pub const RELOAD_TIME: Duration = Duration::from_secs(30);

/// How long a new program may take to say whether it understands what the one before leaves.
pub const EXAMINATION_TIME: Duration = Duration::from_secs(10);

/// The pause before a configuration that nobody has confirmed is gone back from again, where that has failed.
pub const RETURN_PAUSE: Duration = Duration::from_secs(5);

/// Longest time that a configuration can wait to be confirmed.
pub const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// How long signals are listened for that were caught before they were blocked: they are in this process already.
pub const LAST_SIGNALS: Duration = Duration::from_millis(1);

/// How often a worker that drains says how many are left.
pub const DRAIN_NEWS: Duration = Duration::from_secs(1);

/// How long the clients of a worker that makes room for another have to hear of it. It ends well within [`KILL_GRACE`].
pub const LAST_CALL: Duration = Duration::from_secs(2);
