//! What a request gains and loses between two hops.

use super::row::{EVERYTHING_TO_ECHO, Row, Want, forwarded, row, run_table};

fn get(fields: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: t:99\r\n{fields}\r\n")
}

fn arrives() -> Want {
    forwarded("GET /x HTTP/1.1")
}

fn passes(name: &'static str, rfc: &'static str, fields: &str, want: Want) -> Row {
    row(name, rfc, get(fields), want)
}

#[test]
fn fields_that_belong_to_one_hop_end_there() {
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            passes(
                "what Connection names",
                "9110 7.6.1",
                "Connection: X-Hop, x-other\r\nX-Hop: 1\r\nX-Other: 2\r\nX-End: 3\r\n",
                arrives().lacks("x-hop").lacks("x-other").has("X-End: 3"),
            ),
            passes(
                "two Connection lines",
                "9110 7.6.1",
                "Connection: X-Hop\r\nConnection: X-Other\r\nX-Hop: 1\r\nX-Other: 2\r\n",
                arrives().lacks("x-hop").lacks("x-other"),
            ),
            passes("Keep-Alive", "9110 7.6.1", "Keep-Alive: timeout=5\r\n", arrives().lacks("keep-alive")),
            passes(
                "Proxy-Connection",
                "9110 7.6.1",
                "Proxy-Connection: close\r\n",
                arrives().lacks("proxy-connection"),
            ),
            passes("TE", "9110 10.1.4", "TE: trailers\r\nConnection: TE\r\n", arrives().lacks("te")),
            passes("Trailer", "9110 6.6.2", "Trailer: X\r\n", arrives().lacks("trailer")),
            passes(
                "Proxy-Authorization",
                "9110 11.7.2",
                "Proxy-Authorization: Basic eDp5\r\n",
                arrives().lacks("proxy-authorization"),
            ),
            passes(
                "Upgrade to h2c",
                "9113 3.1",
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
                arrives().lacks("upgrade").lacks("http2-settings"),
            ),
            passes(
                "Connection cannot take away who is asking",
                "9110 7.6.1",
                "Connection: Authorization, Cookie, X-Forwarded-For, Host\r\nAuthorization: Basic eDp5\r\nCookie: a=b\r\n",
                arrives()
                    .has("Authorization: Basic eDp5")
                    .has("Cookie: a=b")
                    .has("X-Forwarded-For: 127.0.0.1"),
            ),
            passes(
                "end-to-end fields pass",
                "9110 7.6",
                "Accept: */*\r\nRange: bytes=0-1\r\n",
                arrives().has("Accept: */*").has("Range: bytes=0-1"),
            ),
        ],
    );
}

#[test]
fn the_client_is_told_to_the_upstream() {
    let forged = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: forged\r\n\
                  X-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4;proto=https\r\n";
    let told = || {
        arrives()
            .has("X-Forwarded-For: 127.0.0.1")
            .has("X-Forwarded-Proto: http")
            .has("X-Forwarded-Host: t:99")
            .has("X-Forwarded-Port: {web}")
            .has("Forwarded: for=127.0.0.1;host=\"t:99\";proto=http")
            .has("Host: t:99")
    };
    let chained = || arrives().has("X-Forwarded-For: 1.2.3.4, 127.0.0.9");
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            passes("nothing was said", "7239 4", "", told()),
            passes("a stranger's word is replaced", "7239 8.1", forged, told().lacks("x-real")),
            passes("in any case of the name", "9110 5.1", "x-forwarded-FOR: 1.2.3.4\r\n", told()),
            passes("Via", "9110 7.6.3", "", arrives().has("Via: 1.1 tetap").answer_has("Via: 1.1 tetap")),
            passes(
                "Via of another before",
                "9110 7.6.3",
                "Via: 1.0 fred\r\n",
                arrives().has("Via: 1.0 fred").has("Via: 1.1 tetap"),
            ),
            passes(
                "a neighbour's word is extended",
                "7239 5.2",
                forged,
                chained().has("X-Forwarded-Proto: https"),
            )
            .sent_by_neighbour(),
            passes(
                "in two lines",
                "9110 5.3",
                "X-Forwarded-For: 5.6.7.8\r\nX-Forwarded-For: 1.2.3.4\r\n",
                arrives().has("X-Forwarded-For: 5.6.7.8, 1.2.3.4, 127.0.0.9"),
            )
            .sent_by_neighbour(),
            passes("a neighbour who says nothing", "7239 4", "", arrives().has("X-Forwarded-For: 127.0.0.9"))
                .sent_by_neighbour(),
            passes(
                "a neighbour's scheme that is none",
                "7239 5.4",
                "X-Forwarded-Proto: gopher\r\n",
                arrives().has("X-Forwarded-Proto: http"),
            )
            .sent_by_neighbour(),
        ],
    );
}

#[test]
fn a_request_id_is_kept_or_made() {
    let long: &'static str = format!("X-Request-Id: {}", "i".repeat(128)).leak();
    let too_long = format!("X-Request-Id: {}\r\n", "i".repeat(129));
    let kept = "X-Request-Id: a-Z_0.9~:/+=@";
    let made = || arrives().lacks("traceparent");
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            passes("kept", "–", &format!("{kept}\r\n"), arrives().has(kept).answer_has(kept)),
            passes("kept at full length", "–", &format!("{long}\r\n"), arrives().has(long).answer_has(long)),
            passes("made when absent", "9562 5.7", "", made().made_id()),
            passes("made when empty", "9562 5.7", "X-Request-Id:\r\n", made().made_id()),
            passes("made when too long", "9562 5.7", &too_long, made().made_id()),
            passes("made when it has a space", "9562 5.7", "X-Request-Id: a b\r\n", made().made_id()),
            passes("made when it has a quote", "9562 5.7", "X-Request-Id: a\"b\r\n", made().made_id()),
            passes(
                "made when doubled",
                "9562 5.7",
                "X-Request-Id: a\r\nX-Request-Id: b\r\n",
                made().made_id(),
            ),
        ],
    );
}

#[test]
fn a_field_in_disguise_does_not_pass() {
    let twins = "X_Forwarded_For: 6.6.6.6\r\nx-forwarded_proto: https\r\nX_Request_Id: 6\r\nContent_Length: 9\r\n\
                 Transfer_Encoding: chunked\r\nX_Real_IP: 6.6.6.6\r\napi_key: 6\r\n";
    let undisguised = || {
        arrives()
            .lacks("x_forwarded_for")
            .lacks("x-forwarded_proto")
            .lacks("x_request_id")
            .lacks("content_length")
            .lacks("transfer_encoding")
            .lacks("x_real_ip")
            .has("api_key: 6")
    };
    let real = "X-Real-IP: 6.6.6.6";
    run_table(
        EVERYTHING_TO_ECHO,
        vec![
            passes("a stranger's", "3875 4.1.18", twins, undisguised()),
            passes("a neighbour's", "3875 4.1.18", twins, undisguised()).sent_by_neighbour(),
            passes("X-Real-IP of a stranger", "–", &format!("{real}\r\n"), arrives().lacks("x-real-ip")),
            passes("X-Real-IP of a neighbour", "–", &format!("{real}\r\n"), arrives().has(real))
                .sent_by_neighbour(),
        ],
    );
}
