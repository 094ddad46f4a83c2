//! Several name servers; what one of them says, and what comes of it, is in `tests/discovery.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

#[path = "../../../../tests/support/dns.rs"]
mod dns;
#[path = "../../../../tests/support/port.rs"]
mod port;

use self::dns::{Mood, NXDOMAIN, NameServer, SERVFAIL};
use self::port::free_port;
use super::*;

/// Asks these, which all know the name under an address of their own.
fn asker(servers: &[NameServer]) -> Asker {
    for (server, address) in servers.iter().zip(["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]) {
        server.set("orders.test", 60, &[address]);
    }
    let servers: Vec<_> = servers.iter().map(|server| at(server.address())).collect();
    let resolvers = each_alone(&servers, ResolverOpts::default()).unwrap().into();
    Asker { resolvers, latest: Arc::default(), until: Instant::now() + limits::LOOK_UP }
}

/// The last byte of the address that is found.
async fn found(asker: &Asker) -> Result<u8, Trouble> {
    let name = absolute("orders.test")?;
    let answer = asker.ask(&name, RecordType::A, RData::ip_addr).await?;
    Ok(answer.records[0].to_string().rsplit('.').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_name_server_that_refuses_is_no_reason_not_to_ask_the_next() {
    let servers = [NameServer::start(), NameServer::start(), NameServer::start(), NameServer::start()];
    let asker = asker(&servers);
    servers[0].be(Mood::Refusing(5));
    servers[1].be(SERVFAIL);
    assert_eq!(found(&asker).await, Ok(3));
    assert_eq!(found(&asker).await, Ok(3));
    let asked = servers.each_ref().map(|server| server.count(dns::A));
    assert_eq!(asked, [1, 1, 2, 0], "who has answered is asked first; the fourth is one too many");
    servers[2].be(SERVFAIL);
    servers[0].be(Mood::Helpful);
    assert_eq!(found(&asker).await, Ok(1), "after the last comes the first");
    servers[0].be(SERVFAIL);
    let told = found(&asker).await.unwrap_err().to_string();
    assert_eq!(told, "A of orders.test: the name server says Server Failure");
}

#[tokio::test]
async fn silent_name_servers_leave_time_for_the_next() {
    let servers = [NameServer::start(), NameServer::start(), NameServer::start()];
    let asker = asker(&servers);
    servers[0].be(Mood::Silent);
    servers[1].be(Mood::Silent);
    assert_eq!(found(&asker).await, Ok(3));
}

#[tokio::test]
async fn that_there_is_no_such_name_is_believed_of_the_first() {
    let servers = [NameServer::start(), NameServer::start()];
    let asker = asker(&servers);
    servers[0].be(NXDOMAIN);
    assert_eq!(found(&asker).await.unwrap_err().to_string(), "orders.test: no such name");
    assert_eq!(servers[1].count(dns::A), 0);
}
