//! One exchange: from a judged head to the last byte of its answer.
//!
//! Pingora runs the exchange and calls back at fixed points. This file is the table of contents: the callbacks in the
//! order in which they come, each handed on to the file that has its idea.
//!
//! 1. [`arrive`]: who asks, for which route; what can be answered at once; a place in the upstream's queue.
//! 2. [`attempt`]: an endpoint is chosen and called. Failed attempts come back here and may be made again.
//! 3. [`forward`]: the request as the endpoint gets it.
//! 4. [`reply`]: the answer as the client gets it.
//! 5. [`fail`]: what the client gets where there is no answer.
//! 6. [`finish`]: what remains of it: counters and a line.

pub mod exchange;

mod arrive;
mod attempt;
mod fail;
mod finish;
mod forward;
mod reply;

use std::any::Any;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use self::exchange::Exchange;
use crate::runtime::Runtime;

/// The proxy's logic.
pub struct Proxy {
    runtime: Arc<Runtime>,
}

impl Proxy {
    /// A proxy that serves whatever snapshot the runtime has.
    pub fn new(runtime: Arc<Runtime>) -> Proxy {
        Proxy { runtime }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    /// Boxed, because Pingora moves it from one future into the next.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Box<Exchange> {
        Box::new(Exchange::new(self.runtime.snapshot()))
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {} // none: each would cost an allocation a request

    fn on_connection_reuse(
        &self,
        _: &mut Session,
        exchange: &mut Box<Exchange>,
        arrival: Box<dyn Any + Send + Sync>,
    ) {
        exchange.arrived(arrival);
    }

    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<()> {
        arrive::settle(session, exchange);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Box<Exchange>) -> Result<bool> {
        arrive::arrive(session, exchange).await
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> Result<Box<HttpPeer>> {
        attempt::begin(session, exchange).await
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        exchange: &mut Box<Exchange>,
        error: Box<Error>,
    ) -> Box<Error> {
        attempt::failed(session, exchange, error)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        _: &HttpPeer,
        _: RawFd,
        _: Option<&Digest>,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        attempt::connected(session, exchange).await
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        forward::request(request, exchange)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        if session.was_upgraded() {
            return Ok(()); // bytes of a tunnel are no body
        }
        forward::body(body.as_ref(), end, exchange)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        attempt::answered(session, response, exchange)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        reply::response(session, response, exchange)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Duration>> {
        reply::body(body.as_ref(), end, exchange);
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Box<Exchange>,
        _reused: bool,
    ) -> Box<Error> {
        attempt::failed(session, exchange, error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Box<Exchange>,
    ) -> FailToProxy {
        fail::answer(session, error, exchange).await
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, exchange: &mut Box<Exchange>) {
        finish::finish(session, exchange, &self.runtime);
    }

    fn suppress_error_log(&self, _: &Session, _: &Box<Exchange>, _: &Error) -> bool {
        true // the access log has every failure, with its cause
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Box<Exchange>,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true // as above: the access log has every attempt
    }
}
