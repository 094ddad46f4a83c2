use std::time::Duration as D;
use tetap::plan::*;
use tetap::routing::*;
#[global_allocator]
static A: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
fn main() {
    env_logger::init();
    let a: Vec<String> = std::env::args().collect();
    let rule = Rule { host: HostPattern::Any, path: PathPattern::Prefix("/".into()), conditions: Conditions::default(), route: RouteId(0) };
    let plan = Plan {
        listeners: vec![Listener { name: "web".into(), address: Address::Tcp(a[1].parse().unwrap()),
            limits: ListenerLimits { connections: 20000, connections_per_ip: None, backlog: 4096, header_bytes: 32768, header_count: 100, uri_bytes: 8192, body_bytes: None },
            timeouts: ListenerTimeouts { header: D::from_secs(10), idle: D::from_secs(75), read: D::from_secs(30), write: D::from_secs(30) } }],
        admin: Some("127.0.0.1:9901".parse().unwrap()),
        upstreams: vec![Upstream { name: "u".into(), endpoints: a[2..].iter().map(|e| Endpoint { address: e.parse().unwrap(), weight: 1 }).collect(),
            balance: tetap::balance::Balance::RoundRobin, keepalive: Keepalive { idle: D::from_secs(50), connections: 256 },
            limits: UpstreamLimits { connections: 1024, requests: 1024, pending: 256, pending_timeout: D::from_millis(500) } }],
        routes: vec![Route { name: "all".into(), action: Action::Forward(Forward { upstream: UpstreamId(0), rewrite: None,
            timeouts: Timeouts { connect: D::from_secs(1), response: D::from_secs(15), idle: D::from_secs(60), request: D::from_secs(30), tunnel: D::from_secs(600) }, retry: Retry { attempts: 3 } }),
            body_bytes: None, request_headers: Default::default(), response_headers: Default::default() }],
        table: Table::build(vec![rule]).unwrap(),
        trusted_proxies: vec![],
        access_log: AccessLog { format: AccessLogFormat::Json, output: AccessLogOutput::File("/tmp/try/access.log".into()) },
        process: Process { threads: 1, drain_timeout: D::from_secs(60) },
    };
    tetap::process::run(plan, &mut |s| eprintln!("{s:?}")).unwrap();
}
