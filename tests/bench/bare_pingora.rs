//! The measure that tetap is held against: the smallest proxy that Pingora's own documentation would have one write.
//!
//! A proxy built on a framework can only be as cheap as the framework, so the benchmark's bar is a ratio to this
//! program: no routes, no limits, no log, no metrics, one upstream. Everything is Pingora's own: its listener, its
//! connection pool, its defaults. The allocator and the build profile are tetap's, so that the ratio shows tetap's work
//! and not a different `malloc`.
//!
//! Usage: `bare_pingora LISTEN_ADDRESS UPSTREAM_ADDRESS`, for example `bare_pingora 127.0.0.1:8080 127.0.0.1:9000`.

use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Forwards every request to one address.
struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next();
    let upstream = arguments.next().and_then(|address| address.parse().ok());
    let (Some(listen), Some(upstream)) = (listen, upstream) else {
        eprintln!("usage: bare_pingora LISTEN_ADDRESS UPSTREAM_ADDRESS");
        return ExitCode::from(2);
    };
    serve(&listen, upstream)
}

/// Serves until a signal ends the process. One thread, and room for every upstream connection to be kept alive.
fn serve(listen: &str, upstream: SocketAddr) -> ! {
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream });
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}
