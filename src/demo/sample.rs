//! A small API to put behind the proxy: orders that are forgotten at once, and the server's name in each answer.
//!
//! | request | answers |
//! |---|---|
//! | `GET /`, `GET /hello` | a greeting |
//! | `GET /orders` | two orders |
//! | `POST /orders` | 201 and what was sent |
//! | `GET /slow?ms=250` | the greeting, late |
//! | `GET /healthz` | `ok` |
//!
//! It runs as a process of its own, so that it can be killed like a real one. It ends when its standard input does, which
//! the kernel sees to however the demo ends: no sample server outlives its demo.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Longest wait that `/slow` grants.
const LONGEST_WAIT_MS: u64 = 60_000;

type Name = State<Arc<str>>;
type Answer = (StatusCode, [(HeaderName, &'static str); 1], String);

/// Serves on a free port of 127.0.0.1, says `port N` on standard output, and ends with standard input.
///
/// # Errors
/// No port, or no runtime.
pub fn run(name: &str) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve(name));
    runtime.shutdown_background();
    served
}

async fn serve(name: &str) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(io::stdout(), "port {}", listener.local_addr()?.port())?;
    tokio::select! {
        served = axum::serve(listener, router(name)) => served,
        _ = tokio::task::spawn_blocking(wait_for_the_end_of_input) => Ok(()),
    }
}

fn wait_for_the_end_of_input() {
    let mut input = io::stdin().lock();
    while input.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
}

/// The API of the server of this name.
pub fn router(name: &str) -> Router {
    Router::new()
        .route("/", get(hello))
        .route("/hello", get(hello))
        .route("/orders", get(orders).post(take_order))
        .route("/slow", get(slow))
        .route("/healthz", get(async || "ok\n"))
        .fallback(nothing)
        .with_state(name.into())
}

async fn hello(State(server): Name) -> Answer {
    answer(StatusCode::OK, json!({"server": *server, "message": "hello"}))
}

async fn orders(State(server): Name) -> Answer {
    let orders = json!([{"id": 1, "item": "tea"}, {"id": 2, "item": "rice"}]);
    answer(StatusCode::OK, json!({"server": *server, "orders": orders}))
}

/// What was sent comes back as JSON where it is some, else as text.
async fn take_order(State(server): Name, body: String) -> Answer {
    let order = serde_json::from_str(&body).unwrap_or(Value::String(body));
    answer(StatusCode::CREATED, json!({"server": *server, "order": order}))
}

async fn slow(name: Name, RawQuery(query): RawQuery) -> Answer {
    tokio::time::sleep(wait(query.as_deref().unwrap_or_default())).await;
    hello(name).await
}

fn wait(query: &str) -> Duration {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("ms=")?.parse().ok());
    Duration::from_millis(asked.unwrap_or(1000).min(LONGEST_WAIT_MS))
}

async fn nothing(State(server): Name) -> Answer {
    answer(StatusCode::NOT_FOUND, json!({"server": *server, "error": "there is nothing here"}))
}

/// A line feed at the end keeps the answers of `curl` apart.
fn answer(status: StatusCode, document: Value) -> Answer {
    (status, [(CONTENT_TYPE, "application/json")], format!("{document}\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Status and body of one answer.
    async fn ask(head: &str, body: &str) -> (u16, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tokio::spawn(async { axum::serve(listener, router("a")).await });
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn what_it_answers() {
        let table = [
            ("GET /", "", 200, r#"{"message":"hello","server":"a"}"#),
            ("GET /hello", "", 200, r#"{"message":"hello","server":"a"}"#),
            (
                "GET /orders",
                "",
                200,
                r#"{"orders":[{"id":1,"item":"tea"},{"id":2,"item":"rice"}],"server":"a"}"#,
            ),
            ("POST /orders", r#"{"item":"salt"}"#, 201, r#"{"order":{"item":"salt"},"server":"a"}"#),
            ("POST /orders", "salt", 201, r#"{"order":"salt","server":"a"}"#),
            ("GET /slow?ms=1", "", 200, r#"{"message":"hello","server":"a"}"#),
            ("GET /healthz", "", 200, "ok"),
            ("GET /nothing", "", 404, r#"{"error":"there is nothing here","server":"a"}"#),
        ];
        for (head, sent, status, body) in table {
            let (got_status, got_body) = ask(head, sent).await;
            assert_eq!((got_status, got_body.trim_end()), (status, body), "{head}");
        }
    }

    #[test]
    fn how_long_slow_is() {
        for (query, ms) in
            [("", 1000), ("ms=5", 5), ("a=b&ms=7", 7), ("ms=x", 1000), ("ms=999999999", 60_000)]
        {
            assert_eq!(wait(query), Duration::from_millis(ms), "{query}");
        }
    }
}
