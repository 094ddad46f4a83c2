//! `grpc.health.v1.Health/Check`: the question that gRPC servers agree to answer about themselves.
//!
//! A gRPC server answers HTTP 200 while it refuses work; how it is stands in a message, and whether that message counts
//! stands in the trailers behind it. So all three are judged, and a call that fails says why, as far as an operator can
//! do something about it: the usual reasons are a service name with a slip in it and a server without the health service.
//!
//! The connection has no task of its own: it is driven by whoever waits for the answer, and ends with it. It speaks
//! cleartext HTTP/2 with prior knowledge, as gRPC without TLS always does. The protocol is
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>.

mod message;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, Connection, SendRequest};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{connect, in_time, part, parting};
use crate::health::probe::Miss;
use crate::limits::{CHECK_HEADER_BYTES, CHECK_MESSAGE_BYTES};

/// Of the one method that is called.
const PATH: &str = "/grpc.health.v1.Health/Check";

/// Good if the endpoint says that the service, or with an empty name the whole server, is serving.
pub(super) async fn check(service: &str, address: SocketAddr, due: Instant) -> Result<(), Miss> {
    let mut socket = in_time(due, connect(address)).await?;
    let verdict = converse(service, address, &mut socket, due).await;
    part(socket, due).await;
    verdict
}

async fn converse(
    service: &str,
    address: SocketAddr,
    socket: &mut TcpStream,
    due: Instant,
) -> Result<(), Miss> {
    let request = request(address)?;
    let (sender, mut connection) = in_time(due, open(socket)).await?;
    let verdict = in_time(due, driving(&mut connection, call(sender, request, service))).await;
    let _ = timeout_at(parting(due), connection).await; // GOAWAY, and the end of our side
    verdict
}

async fn open(socket: &mut TcpStream) -> Result<(SendRequest<Bytes>, Connection<&mut TcpStream>), Miss> {
    let _ = socket.set_nodelay(true); // several small frames, each of which is waited for
    Builder::new()
        .enable_push(false)
        .initial_max_send_streams(1)
        .max_header_list_size(CHECK_HEADER_BYTES)
        .handshake(socket)
        .await
        .map_err(|error| miss(&error))
}

/// Waits for `call`, and drives the connection meanwhile.
async fn driving(
    connection: &mut Connection<&mut TcpStream>,
    call: impl Future<Output = Result<(), Miss>>,
) -> Result<(), Miss> {
    let mut call = pin!(call);
    tokio::select! {
        biased;
        verdict = &mut call => return verdict,
        _ = connection => {}
    }
    call.await // the connection has ended: what has come is all there is, and it may be enough
}

/// # Errors
/// None that an address could cause.
fn request(address: SocketAddr) -> Result<Request<()>, Miss> {
    let authority = SocketAddr::new(address.ip(), address.port()); // without a zone, see RFC 6874
    Request::post(format!("http://{authority}{PATH}"))
        .version(Version::HTTP_2)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, super::USER_AGENT)
        .body(())
        .map_err(|_| Miss::Invalid("an address that no request can be made for"))
}

async fn call(sender: SendRequest<Bytes>, request: Request<()>, service: &str) -> Result<(), Miss> {
    let answer = send(sender, request, service).await.map_err(|error| miss(&error))?;
    let (head, mut body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(Miss::Status(head.status.as_u16()));
    }
    if head.headers.contains_key(GRPC_STATUS) {
        judge_status(&head.headers)?; // an answer that is nothing but trailers
        return Err(Miss::Invalid("the answer has no message"));
    }
    let message = read(&mut body).await?;
    let trailers = body.trailers().await.map_err(|error| miss(&error))?.unwrap_or_default();
    judge_status(&trailers)?;
    message::judge(&message)
}

async fn send(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    service: &str,
) -> Result<Response<RecvStream>, h2::Error> {
    let (answer, mut body) = sender.ready().await?.send_request(request, false)?;
    body.send_data(message::request(service), true)?;
    answer.await
}

async fn read(body: &mut RecvStream) -> Result<BytesMut, Miss> {
    let mut message = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| miss(&error))?;
        if message.len() + piece.len() > CHECK_MESSAGE_BYTES {
            return Err(Miss::Invalid("the answer's message is too long"));
        }
        message.extend_from_slice(&piece);
    }
    Ok(message)
}

/// How the call ended, in gRPC's own numbers.
const GRPC_STATUS: &str = "grpc-status";

fn judge_status(trailers: &HeaderMap) -> Result<(), Miss> {
    match trailers.get(GRPC_STATUS).map(|status| status.as_bytes()) {
        Some(b"0") => Ok(()),
        None => Err(Miss::Invalid("the answer has no grpc-status")),
        Some(b"5" | b"14") => Err(Miss::NotServing), // NOT_FOUND: no such service; UNAVAILABLE
        Some(b"7" | b"16") => Err(Miss::Invalid("the health service wants to know who asks")),
        Some(b"12") => Err(Miss::Invalid("the server has no grpc.health.v1 service")),
        Some(_) => Err(Miss::Invalid("the call ended with a gRPC error")),
    }
}

fn miss(error: &h2::Error) -> Miss {
    match () {
        () if error.is_library() => Miss::Invalid("the answer is not HTTP/2"),
        () if error.is_reset() => Miss::Invalid("the call was reset"),
        () => Miss::Broken,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{LONG, SHORT, Step, endpoint, of};
    use super::*;
    use crate::plan::CheckKind;
    use http::HeaderValue;
    use std::net::Ipv4Addr;
    use std::time::Duration;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    /// SETTINGS; HEADERS with :status 200; DATA; HEADERS with grpc-status 0, the end.
    const WELL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
        \0\0\x01\x01\x04\0\0\0\x01\x88\
        \0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01\
        \0\0\x0f\x01\x05\0\0\0\x01\0\x0bgrpc-status\x010";
    /// GOAWAY behind stream 1.
    const GOING: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0";

    /// What a server answers: a status, its head's further fields, a body in pieces, its trailers.
    #[derive(Clone)]
    struct Answer {
        status: u16,
        fields: &'static [(&'static str, &'static str)],
        pieces: &'static [&'static [u8]],
        trailers: Option<&'static str>,
    }

    /// Of a server that is well.
    const SERVING: Answer =
        Answer { status: 200, fields: &[], pieces: &[&[0, 0, 0, 0, 2, 8, 1]], trailers: Some("0") };

    /// What a server was asked: path, whether trailers are taken, type, and body.
    #[derive(Debug, PartialEq)]
    struct Question {
        uri: String,
        te: String,
        content_type: String,
        agent: String,
        body: Vec<u8>,
    }

    /// A server for one call. It gives the question, once the connection has ended as HTTP/2 says it should.
    async fn server(answer: Answer) -> (SocketAddr, JoinHandle<Result<Question, h2::Error>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async move {
            let socket = listener.accept().await.unwrap().0;
            let mut connection = h2::server::handshake(socket).await?;
            let (request, respond) = connection.accept().await.unwrap()?;
            let call = tokio::spawn(reply(request, respond, answer));
            while let Some(more) = connection.accept().await {
                more?;
            }
            call.await.unwrap()
        };
        (address, tokio::spawn(serve))
    }

    async fn reply(
        request: Request<RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
        answer: Answer,
    ) -> Result<Question, h2::Error> {
        let (head, mut body) = request.into_parts();
        let field = |name| head.headers[name].to_str().unwrap().to_owned();
        let mut question = Question {
            uri: head.uri.to_string(),
            te: field("te"),
            content_type: field("content-type"),
            agent: field("user-agent"),
            body: Vec::new(),
        };
        while let Some(piece) = body.data().await {
            question.body.extend_from_slice(&piece?);
        }
        say(&mut respond, answer)?;
        Ok(question)
    }

    fn say(respond: &mut h2::server::SendResponse<Bytes>, answer: Answer) -> Result<(), h2::Error> {
        let Answer { status, fields, pieces, trailers } = answer;
        let mut head = Response::builder().status(status).header("content-type", "application/grpc");
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        let ends_with_head = pieces.is_empty() && trailers.is_none();
        let mut body = respond.send_response(head.body(()).unwrap(), ends_with_head)?;
        for (at, piece) in pieces.iter().enumerate() {
            body.send_data(Bytes::from_static(piece), trailers.is_none() && at + 1 == pieces.len())?;
        }
        if let Some(status) = trailers {
            body.send_trailers(HeaderMap::from_iter([(
                http::HeaderName::from_static(GRPC_STATUS),
                HeaderValue::from_static(status),
            )]))?;
        }
        Ok(())
    }

    async fn ask(service: &str, address: SocketAddr, timeout: Duration) -> Result<(), Miss> {
        super::super::check(&of(CheckKind::Grpc { service: service.into() }, timeout), address).await
    }

    async fn verdict(answer: Answer) -> Result<(), Miss> {
        let (address, _server) = server(answer).await;
        ask("orders.v1", address, LONG).await
    }

    #[tokio::test]
    async fn a_server_that_serves_is_good() {
        let (address, server) = server(SERVING).await;
        assert_eq!(ask("orders.v1", address, LONG).await, Ok(()));
        let want = Question {
            uri: format!("http://{address}/grpc.health.v1.Health/Check"),
            te: "trailers".to_owned(),
            content_type: "application/grpc".to_owned(),
            agent: super::super::USER_AGENT.to_owned(),
            body: b"\0\0\0\0\x0b\x0a\x09orders.v1".to_vec(),
        };
        assert_eq!(server.await.unwrap().unwrap(), want, "and sees the connection end without an error");
    }

    #[tokio::test]
    async fn a_message_may_come_in_pieces() {
        let pieces: &[&[u8]] = &[&[0, 0], &[0, 0, 2, 8], &[], &[1]];
        assert_eq!(verdict(Answer { pieces, ..SERVING }).await, Ok(()));
    }

    #[tokio::test]
    async fn a_server_that_does_not_serve_says_so() {
        let not_serving: &[&[u8]] = &[&[0, 0, 0, 0, 2, 8, 2]];
        assert_eq!(verdict(Answer { pieces: not_serving, ..SERVING }).await, Err(Miss::NotServing));
        let default: &[&[u8]] = &[&[0, 0, 0, 0, 0]];
        assert_eq!(verdict(Answer { pieces: default, ..SERVING }).await, Err(Miss::NotServing));
    }

    #[tokio::test]
    async fn the_status_in_the_trailers_counts() {
        let status = |status| Answer { trailers: Some(status), ..SERVING };
        assert_eq!(verdict(status("5")).await, Err(Miss::NotServing));
        assert_eq!(verdict(status("14")).await, Err(Miss::NotServing));
        for other in ["1", "2", "7", "12", "16", "", "ok", "00"] {
            assert!(matches!(verdict(status(other)).await, Err(Miss::Invalid(_))), "{other}");
        }
        let missing = Answer { trailers: None, ..SERVING };
        assert_eq!(verdict(missing).await, Err(Miss::Invalid("the answer has no grpc-status")));
    }

    #[tokio::test]
    async fn an_answer_may_be_nothing_but_trailers() {
        let only = |fields| Answer { fields, pieces: &[], trailers: None, ..SERVING };
        assert_eq!(verdict(only(&[(GRPC_STATUS, "5")])).await, Err(Miss::NotServing));
        let unimplemented = Err(Miss::Invalid("the server has no grpc.health.v1 service"));
        assert_eq!(verdict(only(&[(GRPC_STATUS, "12")])).await, unimplemented);
        let empty = Err(Miss::Invalid("the answer has no message"));
        assert_eq!(verdict(only(&[(GRPC_STATUS, "0")])).await, empty);
        assert!(matches!(verdict(only(&[])).await, Err(Miss::Invalid(_))), "not even a status");
    }

    #[tokio::test]
    async fn a_status_of_http_is_told() {
        assert_eq!(verdict(Answer { status: 404, ..SERVING }).await, Err(Miss::Status(404)));
        assert_eq!(verdict(Answer { status: 503, ..SERVING }).await, Err(Miss::Status(503)));
    }

    #[tokio::test]
    async fn a_message_without_an_end_is_cut_off() {
        const PIECE: &[u8] = &[0; CHECK_MESSAGE_BYTES / 2 + 1];
        let endless = Answer { pieces: &[PIECE, PIECE], ..SERVING };
        assert_eq!(verdict(endless).await, Err(Miss::Invalid("the answer's message is too long")));
    }

    #[tokio::test]
    async fn a_server_of_http_1_is_invalid() {
        let answer = Step::Say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (address, _endpoint) = endpoint(&[Step::Hear, answer, Step::Finish, Step::Stay]).await;
        assert_eq!(ask("", address, LONG).await, Err(Miss::Invalid("the answer is not HTTP/2")));
    }

    #[tokio::test]
    async fn a_server_that_answers_and_closes_at_once_is_heard() {
        let steps = [Step::Hear, Step::Say(WELL), Step::Say(GOING), Step::Finish, Step::Stay];
        let (address, _endpoint) = endpoint(&steps).await;
        assert_eq!(ask("", address, LONG).await, Ok(()));
    }

    #[tokio::test]
    async fn the_connection_ends_as_http_2_says() {
        let (address, endpoint) = endpoint(&[Step::Hear, Step::Say(WELL), Step::Stay]).await;
        assert_eq!(ask("", address, LONG).await, Ok(()));
        let heard = endpoint.await.unwrap();
        heard.end.unwrap();
        assert!(heard.text.contains("\0\0\x08\x07\0\0\0\0\0"), "GOAWAY: {:?}", heard.text);
    }

    #[tokio::test]
    async fn a_call_that_is_reset_or_turned_away_is_no_good() {
        let reset = Step::Say(b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07");
        let (address, _endpoint) = endpoint(&[Step::Hear, reset, Step::Stay]).await;
        assert_eq!(ask("", address, LONG).await, Err(Miss::Invalid("the call was reset")));
        let going = Step::Say(b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let (address, _endpoint) = endpoint(&[Step::Hear, going, Step::Finish, Step::Stay]).await;
        assert_eq!(ask("", address, LONG).await, Err(Miss::Broken));
    }

    #[tokio::test]
    async fn a_server_that_never_answers_the_call_is_late() {
        let (address, _endpoint) =
            endpoint(&[Step::Hear, Step::Say(b"\0\0\0\x04\0\0\0\0\0"), Step::Stay]).await;
        let begun = Instant::now();
        assert_eq!(ask("", address, SHORT).await, Err(Miss::TimedOut));
        assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG, "{:?}", begun.elapsed());
    }
}
