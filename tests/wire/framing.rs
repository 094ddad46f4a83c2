//! Where a request ends. Two readers who disagree here let one client speak in another's name.

use super::row::{EVERYTHING_TO_ECHO, Row, forwarded, refused, row, run_table};

/// A POST with these fields (each ended by CRLF) and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: t\r\n{fields}\r\n{body}")
}

/// A head that must be refused before anything is forwarded.
fn bad(name: &'static str, rfc: &'static str, fields: &str, body: &str) -> Row {
    row(name, rfc, post(fields, body), refused(400, "bad_request"))
}

/// A chunked body that must be refused; the head may have gone ahead.
fn bad_chunks(name: &'static str, rfc: &'static str, body: &str) -> Row {
    row(name, rfc, post("Transfer-Encoding: chunked\r\n", body), refused(400, "bad_request").midway())
}

/// A request that arrives with this body.
fn good(name: &'static str, rfc: &'static str, fields: &str, body: &str, seen: &'static str) -> Row {
    row(name, rfc, post(fields, body), forwarded("POST /p HTTP/1.1").body(seen))
}

const SMUGGLED: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";

#[test]
fn a_head_whose_end_is_ambiguous_is_refused() {
    let both = "both lengths, CL first";
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            bad(both, "9112 6.3", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", SMUGGLED),
            bad(
                "both lengths, TE first",
                "9112 6.3",
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                SMUGGLED,
            ),
            bad("both, CL zero", "9112 6.3", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", SMUGGLED),
            bad(
                "both, lower case",
                "9112 6.3",
                "content-length: 4\r\ntransfer-encoding: chunked\r\n",
                SMUGGLED,
            ),
            bad(
                "two TE lines",
                "9112 6.1",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                SMUGGLED,
            ),
            bad(
                "two TE, one odd",
                "9112 6.1",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
                SMUGGLED,
            ),
            bad("chunked twice", "9112 6.1", "Transfer-Encoding: chunked, chunked\r\n", SMUGGLED),
            bad("chunked not last", "9112 6.1", "Transfer-Encoding: chunked, identity\r\n", SMUGGLED),
            bad("identity", "9112 7", "Transfer-Encoding: identity\r\n", SMUGGLED),
            bad("gzip and chunked", "9112 7", "Transfer-Encoding: gzip, chunked\r\n", SMUGGLED),
            bad("xchunked", "9112 7", "Transfer-Encoding: xchunked\r\n", SMUGGLED),
            bad("chunked with a parameter", "9112 7", "Transfer-Encoding: chunked;q=1\r\n", SMUGGLED),
            bad("quoted", "9112 7", "Transfer-Encoding: \"chunked\"\r\n", SMUGGLED),
            bad("empty list member", "9112 7", "Transfer-Encoding: chunked,\r\n", SMUGGLED),
            bad("empty", "9112 7", "Transfer-Encoding:\r\n", SMUGGLED),
            bad("vertical tab", "9112 5", "Transfer-Encoding: \x0bchunked\r\n", SMUGGLED),
            bad("space before the colon", "9112 5.1", "Transfer-Encoding : chunked\r\n", SMUGGLED),
            bad("folded", "9112 5.2", "Transfer-Encoding:\r\n chunked\r\n", SMUGGLED),
            bad(
                "a folded line before",
                "9112 5.2",
                "X: a\r\n\tb\r\nTransfer-Encoding: chunked\r\n",
                SMUGGLED,
            ),
            bad("CL twice, equal", "9112 6.3", "Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
            bad("CL twice, different", "9112 6.3", "Content-Length: 3\r\nContent-Length: 0\r\n", "abc"),
            bad("CL as a list", "9112 6.3", "Content-Length: 3, 3\r\n", "abc"),
            bad("CL with a plus", "9110 8.6", "Content-Length: +3\r\n", "abc"),
            bad("CL negative", "9110 8.6", "Content-Length: -3\r\n", "abc"),
            bad("CL hexadecimal", "9110 8.6", "Content-Length: 0x3\r\n", "abc"),
            bad("CL with a fraction", "9110 8.6", "Content-Length: 3.0\r\n", "abc"),
            bad("CL with an underscore", "9110 8.6", "Content-Length: 1_0\r\n", "abc"),
            bad("CL with a space inside", "9110 8.6", "Content-Length: 3 3\r\n", "abc"),
            bad("CL empty", "9110 8.6", "Content-Length:\r\n", "abc"),
            bad("CL over 64 bits", "9110 8.6", "Content-Length: 18446744073709551619\r\n", "abc"),
            row(
                "TE from HTTP/1.0",
                "9112 6.1",
                "POST /p HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                refused(400, "bad_request"),
            ),
        ],
    );
}

#[test]
fn a_body_that_is_framed_well_arrives() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            good("a length", "9112 6.3", "Content-Length: 3\r\n", "abc", "abc"),
            good("length zero", "9112 6.3", "Content-Length: 0\r\n", "", ""),
            good("no length", "9112 6.3", "", "", ""),
            good("chunks", "9112 7.1", chunked, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"),
            good("only the last chunk", "9112 7.1", chunked, "0\r\n\r\n", ""),
            good("any case", "9112 7", "Transfer-Encoding: CHUNKED\r\n", "1\r\na\r\n0\r\n\r\n", "a"),
            good(
                "a tab before the value",
                "9112 5",
                "Transfer-Encoding:\tchunked\r\n",
                "1\r\na\r\n0\r\n\r\n",
                "a",
            ),
            good("leading zeros of a chunk size", "9112 7.1", chunked, "003\r\nabc\r\n000\r\n\r\n", "abc"),
            good("upper-case chunk size", "9112 7.1", chunked, "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
            good("chunk extension", "9112 7.1.1", chunked, "3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n", "abc"),
            good("trailers", "9112 7.1.2", chunked, "1\r\na\r\n0\r\nX-T: 1\r\n\r\n", "a"),
            row(
                "a GET with a body",
                "9110 9.3.1",
                "GET /g HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi",
                forwarded("GET /g HTTP/1.1").body("hi"),
            ),
            row(
                "from HTTP/1.0, with a length",
                "9112 6.3",
                "POST /p HTTP/1.0\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi",
                forwarded("POST /p HTTP/1.1").body("hi").closed(),
            ),
        ],
    );
}

#[test]
fn a_chunked_body_is_read_to_the_letter() {
    let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(1100));
    let long_trailers = format!("0\r\n{}\r\n", format!("X: {}\r\n", "t".repeat(1000)).repeat(20));
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            bad_chunks("size with a plus", "9112 7.1", "+3\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("size negative", "9112 7.1", "-3\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("size with 0x", "9112 7.1", "0x3\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("size with an underscore", "9112 7.1", "0_3\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("size after a space", "9112 7.1", " 3\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("size over 64 bits", "9112 7.1", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("size missing", "9112 7.1", "\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("size not a number", "9112 7.1", "g\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("bare LF after the size", "9112 2.2", "3\nabc\r\n0\r\n\r\n"),
            bad_chunks("bare CR after the size", "9112 2.2", "3\rabc\r\n0\r\n\r\n"),
            bad_chunks("bare LF in an extension", "9112 7.1.1", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
            bad_chunks("an endless extension", "9112 7.1.1", &long_extension),
            bad_chunks("data longer than its size", "9112 7.1", "3\r\nabcd\r\n0\r\n\r\n"),
            bad_chunks("bare LF after the data", "9112 7.1", "3\r\nabc\n0\r\n\r\n"),
            bad_chunks("bare LF after the last chunk", "9112 7.1", "3\r\nabc\r\n0\n\r\n"),
            bad_chunks("a trailer that is no field", "9112 7.1.2", "0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
            bad_chunks("a trailer with a bare LF", "9112 7.1.2", "0\r\nX: 1\n\r\n"),
            bad_chunks("endless trailers", "9112 7.1.2", &long_trailers),
        ],
    );
}
