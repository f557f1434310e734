//! Frames and headers that are wrong, and other protocols on the port.

use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};

use super::case::{Case, Outcome, encoded, framed, header, request};

/// Longest request of the node under attack.
pub const REQUEST_MAX: i32 = 8 << 20;

/// A good request.
fn api_versions() -> Vec<u8> {
    encoded(0, &ApiVersionsRequest::default())
}

pub fn cases() -> Vec<Case> {
    let mut cases = lengths();
    cases.extend(cut_and_glued());
    cases.extend(headers());
    cases.extend(tags());
    cases.extend(other_protocols());
    cases
}

fn lengths() -> Vec<Case> {
    let lengths = [0, 1, 3, 7, -1, i32::MIN, i32::MIN + 1, i32::MAX, i32::MAX - 4, REQUEST_MAX + 1];
    let mut cases = Vec::new();
    for length in lengths {
        for to_controller in [false, true] {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend(header(18, 0));
            // Within Kafka's default it waits for the rest.
            let waits = length == REQUEST_MAX + 1;
            let case = Case::new(
                format!("length {length}{}", if to_controller { " to the quorum" } else { "" }),
                bytes,
                Outcome::Closes,
            );
            let case = if to_controller { case.on_controller() } else { case };
            cases.push(if waits { case.unlike_kafka() } else { case });
        }
    }
    cases
}

fn cut_and_glued() -> Vec<Case> {
    let whole = api_versions();
    let glued = [whole.clone(), whole.clone(), whole.clone()].concat();
    let mut cases = vec![
        Case::new("three requests in one piece", glued, Outcome::Answers(3)),
        Case::new(
            "a request and the start of another",
            {
                let mut bytes = whole.clone();
                bytes.extend(&whole[..6]);
                bytes
            },
            Outcome::Answers(1),
        )
        .finishes(),
        Case::new("nothing at all", [], Outcome::Closes).finishes(),
    ];
    for len in [1, 3, 4, 5, 11, whole.len() - 1] {
        let cut = Case::new(format!("{len} bytes and an end"), &whole[..len], Outcome::Closes);
        cases.push(cut.finishes());
    }
    for (name, body) in [("one byte", 1), ("a kilobyte", 1024)] {
        let mut bytes = whole[4..].to_vec();
        bytes.extend(vec![7; body]);
        let name = format!("{name} behind the request");
        cases.push(Case::new(name, framed(&bytes), Outcome::Answers(1)));
    }
    // Every API without a body.
    for (key, version, flexible) in [
        (0, 8, false),
        (0, 13, true),
        (1, 4, false),
        (1, 17, true),
        (2, 1, false),
        (2, 10, true),
        (3, 1, false),
        (3, 12, true),
        (10, 0, false),
        (10, 6, true),
        (18, 4, true),
        (19, 2, false),
        (19, 7, true),
        (20, 1, false),
        (20, 6, true),
        (22, 0, false),
        (22, 5, true),
        (60, 2, true),
    ] {
        let name = format!("key {key} version {version} without a body");
        cases.push(Case::new(name, request(key, version, flexible, &[]), Outcome::Closes));
    }
    cases
}

/// Headers of a Metadata request for nothing in version 1.
fn with_client_id(len: i16, id: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 3, 0, 1, 0, 0, 0, 9];
    bytes.extend(len.to_be_bytes());
    bytes.extend(id);
    bytes.extend([0, 0, 0, 0]);
    framed(&bytes)
}

fn headers() -> Vec<Case> {
    let answers = || Outcome::Answers(1);
    let long = vec![b'x'; 32_000];
    let mut cases = vec![
        Case::new("no client id", with_client_id(-1, b""), answers()),
        Case::new("an empty client id", with_client_id(0, b""), answers()),
        Case::new("a long client id", with_client_id(32_000, &long), answers()),
        // Java takes any negative length for null.
        Case::new("a client id of -2", with_client_id(-2, b""), Outcome::Closes).unlike_kafka(),
        Case::new("a client id beyond the end", with_client_id(99, b"me"), Outcome::Closes),
        // Java puts a replacement character there.
        Case::new("a client id that is no text", with_client_id(2, &[0xff, 0xfe]), Outcome::Closes)
            .unlike_kafka(),
        Case::new("old header, new body", request(3, 12, false, &[0, 0, 0, 0]), Outcome::Closes),
        Case::new("a new header and an old body", request(3, 1, true, &[0, 0, 0, 7]), answers()),
        Case::new("half a correlation id", framed(&[0, 18, 0, 0, 0, 0]), Outcome::Closes),
    ];
    for (key, version) in [(-1, 0), (999, 0), (i16::MAX, 1), (4, 0), (3, 14), (3, -1), (0, 2)] {
        let name = format!("key {key} version {version}");
        cases.push(Case::new(name, request(key, version, false, &[0; 16]), Outcome::Closes));
    }
    // Not for clients, nor for the quorum.
    for (key, version, flexible) in [(52, 2, true), (53, 1, true), (54, 1, true), (58, 0, true)] {
        let bytes = request(key, version, flexible, &[0; 32]);
        let name = format!("key {key} from a client");
        cases.push(Case::new(name, bytes, Outcome::Closes));
    }
    for key in [0, 2, 3, 10, 22] {
        let bytes = request(key, 3, false, &[0; 32]);
        let name = format!("key {key} to the controller");
        cases.push(Case::new(name, bytes, Outcome::Closes).on_controller());
    }
    cases
}

/// A Metadata request for nothing with these bytes as the tags of its header.
fn tagged(tags: &[u8]) -> Vec<u8> {
    let mut bytes = header(3, 12);
    bytes.extend(tags);
    bytes.extend([1, 0, 0, 0]);
    framed(&bytes)
}

fn tags() -> Vec<Case> {
    let answers = || Outcome::Answers(1);
    let many: Vec<u8> = {
        let mut tags = vec![0xe8, 0x07];
        (0..1000u32).for_each(|tag| tags.extend([0x80 | (tag & 0x7f) as u8, (tag >> 7) as u8, 0]));
        tags
    };
    let mut body_tag = request(3, 12, true, &[1, 0, 0]);
    body_tag.extend([1, 99, 3, 1, 2, 3]);
    let len = body_tag.len() as u32 - 4;
    body_tag[..4].copy_from_slice(&len.to_be_bytes());
    vec![
        Case::new("no tags", tagged(&[0]), answers()),
        Case::new("an unknown tag", tagged(&[1, 77, 2, 9, 9]), answers()),
        Case::new("a thousand tags", tagged(&many), answers()),
        Case::new("an unknown tag of the body", body_tag, answers()),
        Case::new("a tag twice", tagged(&[2, 9, 1, 7, 9, 1, 7]), answers()),
        Case::new("tags that go down", tagged(&[2, 9, 1, 7, 5, 1, 7]), answers()),
        Case::new("more tags than bytes", tagged(&[0xff, 0xff, 0x03]), Outcome::Closes),
        // Java takes it for -1, which is none.
        Case::new("2^32-1 tags", tagged(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Outcome::Closes)
            .unlike_kafka(),
        Case::new("a count of ten bytes", tagged(&[0xff; 10]), Outcome::Closes),
        Case::new("a count without end", tagged(&[0x80; 40]), Outcome::Closes),
        Case::new("a tag longer than the rest", tagged(&[1, 5, 0xff, 0x7f]), Outcome::Closes),
        Case::new(
            "a tag of 2^32-1 bytes",
            tagged(&[1, 5, 0xff, 0xff, 0xff, 0xff, 0xf]),
            Outcome::Closes,
        ),
    ]
}

fn other_protocols() -> Vec<Case> {
    let http = b"GET / HTTP/1.1\r\nHost: localhost:9092\r\nAccept: */*\r\n\r\n".to_vec();
    let mut tls = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    tls.extend([0xab; 506]);
    let mut sasl = vec![0, 0, 0, 17];
    sasl.extend([0, 17, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 5]);
    sasl.extend(b"PLAIN");
    let ssh = b"SSH-2.0-OpenSSH_9.6\r\n".to_vec();
    let mut cases = vec![
        Case::new("HTTP", http, Outcome::Closes),
        Case::new("TLS", tls, Outcome::Closes),
        Case::new("SSH", ssh, Outcome::Closes),
        // Kafka answers ILLEGAL_SASL_STATE; here the API is not offered.
        Case::new("SASL on a listener without it", sasl, Outcome::Closes).unlike_kafka(),
        Case::new("zeros", [0; 4096], Outcome::Closes),
    ];
    let metadata = encoded(1, &MetadataRequest::default().with_topics(Some(Vec::new())));
    // Bytes without meaning; the length is honest, so that they are read as a request.
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    for round in 0..40 {
        let mut bytes = metadata[4..12].to_vec();
        bytes[1] = [0, 1, 2, 3, 10, 18, 19, 20, 22, 60][round % 10];
        bytes[3] = 4;
        for _ in 0..200 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes.push(0x80 | (random >> 56) as u8);
        }
        let case = Case::new(format!("noise {round}"), framed(&bytes), Outcome::Closes);
        // A negative count of topics asks Kafka for all of them.
        cases.push(if bytes[1] == 3 { case.unlike_kafka() } else { case });
    }
    cases
}
