//! Endpoints that are asked how they are in gRPC's own words, by the health service of a real gRPC server.
//!
//! The traffic goes to scripted servers; the checks have a port of their own, where grpcio answers for them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;

use super::health::verdict;
use crate::support::{Grpc, Scripted, Tetap, free_port, until};

/// A proxy before one server for the traffic on each of these hosts.
fn proxy(hosts: &[IpAddr], service: &str, port: u16, options: &str) -> (Tetap, Vec<Scripted>) {
    let names = ["a", "b"].into_iter();
    let servers: Vec<_> = hosts.iter().zip(names).map(|(host, name)| server(*host, name)).collect();
    let addresses: Vec<_> = servers.iter().map(Scripted::address).collect();
    let check = format!(
        "health_check: {{grpc: {{service: {service}}}, port: {port}, interval: 200ms, timeout: 2s, \
         healthy_threshold: 2, unhealthy_threshold: 2}}, {options}"
    );
    (Tetap::with("", &addresses, &check), servers)
}

fn server(host: IpAddr, name: &'static str) -> Scripted {
    Scripted::start_at(&format!("{host}:0"), move |talk| {
        while talk.request().is_some() {
            talk.answer(name);
        }
    })
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn out(reason: &str) -> (String, Value) {
    ("unhealthy".into(), format!("its health checks fail: {reason}").into())
}

fn fit() -> (String, Value) {
    ("fit".into(), Value::Null)
}

#[test]
fn an_endpoint_is_out_while_its_service_does_not_serve() {
    let port = free_port();
    let [a, b] = [HERE, THERE].map(|host| Grpc::start(SocketAddr::new(host, port)));
    [&a, &b].into_iter().for_each(|server| server.says("orders.v1", "SERVING"));
    let (tetap, servers) = proxy(&[HERE, THERE], "orders.v1", port, "");
    assert_eq!([0, 1].map(|endpoint| verdict(&tetap, endpoint)), [fit(), fit()]);
    a.says("orders.v1", "NOT_SERVING");
    until("a is out", || verdict(&tetap, 0) == out("it says that it does not serve"));
    let before = servers[0].count();
    assert!((0..10).all(|_| tetap.get("/").text() == "b"));
    assert_eq!(servers[0].count(), before);
    assert_eq!(verdict(&tetap, 1), fit());
    a.says("orders.v1", "SERVING");
    until("a is in", || tetap.get("/").text() == "a");
    assert_eq!(verdict(&tetap, 0), fit());
}

#[test]
fn without_a_service_the_server_as_a_whole_is_asked_about() {
    let port = free_port();
    let server = Grpc::start(SocketAddr::new(HERE, port));
    server.says("orders.v1", "NOT_SERVING");
    let (tetap, _servers) = proxy(&[HERE], "\"\"", port, "");
    assert_eq!(verdict(&tetap, 0), fit());
    server.says("", "NOT_SERVING");
    until("it is out", || verdict(&tetap, 0) == out("it says that it does not serve"));
}

#[test]
fn a_service_that_the_server_does_not_know_is_unhealthy() {
    let port = free_port();
    let server = Grpc::start(SocketAddr::new(HERE, port));
    server.says("orders.v1", "SERVING");
    let options = "panic_threshold: 0%, limits: {pending_timeout: 50ms}";
    let (tetap, _servers) = proxy(&[HERE], "orders.v2", port, options);
    assert_eq!(verdict(&tetap, 0), out("it says that it does not serve"));
    assert_eq!(tetap.get("/").verdict(), (503, "no_endpoint".to_string()));
    server.says("orders.v2", "SERVING");
    until("it knows by now", || tetap.get("/").text() == "a");
}

#[test]
fn a_server_without_the_health_service_is_unhealthy_and_the_reason_says_so() {
    let port = free_port();
    let _server = Grpc::without_health(SocketAddr::new(HERE, port));
    let (tetap, _servers) = proxy(&[HERE], "orders.v1", port, "");
    assert_eq!(verdict(&tetap, 0), out("the server has no grpc.health.v1 service"));
}

#[test]
fn a_server_that_hangs_is_unhealthy_and_so_is_one_that_is_gone() {
    let port = free_port();
    let server = Grpc::start(SocketAddr::new(HERE, port));
    server.says("orders.v1", "SERVING");
    let (tetap, _servers) = proxy(&[HERE], "orders.v1", port, "");
    assert_eq!(verdict(&tetap, 0), fit());
    server.signal("STOP");
    until("it is late", || verdict(&tetap, 0) == out("no answer in time"));
    server.signal("CONT");
    until("it goes on", || verdict(&tetap, 0) == fit());
    drop(server);
    until("nobody is there", || verdict(&tetap, 0) == out("no connection"));
}
