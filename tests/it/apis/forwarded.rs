//! Requests that a broker forwards to the controller.

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiVersionsRequest, EnvelopeRequest, MetadataRequest, UnregisterBrokerRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use ottla_test_client::{decode_response, encode_request};
use ottla_types::ErrorCode;

use super::admin::partitions_request;
use crate::client::Client;
use crate::node::fresh;
use crate::requests::{creatable, create_request, error};

/// Bytes in front of a frame.
const LENGTH_LEN: usize = 4;
/// User:ANONYMOUS, as Kafka's brokers write it.
const ANONYMOUS: &[u8] = b"\0\0\x05User\x0aANONYMOUS\0\0";

/// A request in an envelope, as if a client on this machine had sent it.
pub fn envelope_of<R: Request>(version: i16, request: &R) -> EnvelopeRequest {
    let frame = encode_request(version, 77, &StrBytes::from_static_str("inner"), request).unwrap();
    EnvelopeRequest::default()
        .with_request_data(frame.slice(LENGTH_LEN..))
        .with_request_principal(Some(Bytes::from_static(ANONYMOUS)))
        .with_client_host_address(Bytes::from_static(&[127, 0, 0, 1]))
}

pub fn envelope(client: &mut Client, version: i16) {
    let name = fresh("forwarded");
    let create = create_request(vec![creatable(&name, 1, &[])]);
    for expected in [ErrorCode::None, ErrorCode::TopicAlreadyExists] {
        let answer = client.call(version, &envelope_of(7, &create));
        assert_eq!(error(answer.error_code), ErrorCode::None);
        let inner = decode_response::<kafka_protocol::messages::CreateTopicsRequest>(
            7,
            answer.response_data.unwrap(),
        );
        let (correlation, inner) = inner.unwrap();
        assert_eq!((correlation, error(inner.topics[0].error_code)), (77, expected));
    }
    let grow = envelope_of(3, &partitions_request(&fresh("missing"), 2, None));
    let answer = client.call(version, &grow);
    assert_eq!(answer.response_data.unwrap()[..5], [0, 0, 0, 77, 0], "the header of the answer");
    let forget = envelope_of(0, &UnregisterBrokerRequest::default().with_broker_id(9.into()));
    assert_eq!(client.call(version, &forget).error_code, 0, "the error is inside");
    let (data, whole) = (grow.request_data.clone(), grow);
    let refused = [
        (whole.clone().with_request_principal(None), 97),
        (whole.clone().with_request_principal(Some(Bytes::from_static(b"xx"))), 97),
        (whole.clone().with_client_host_address(Bytes::from_static(&[1, 2])), 42),
        (whole.clone().with_request_data(data.slice(..8)), 35),
        (whole.with_request_data(data.slice(..data.len() - 3)), 35),
        (envelope_of(0, &ApiVersionsRequest::default()), 42),
        (envelope_of(12, &MetadataRequest::default()), 42),
        (envelope_of(0, &envelope_of(7, &create)), 42),
    ];
    for (request, code) in refused {
        let answer = client.call(version, &request);
        assert_eq!((answer.error_code, answer.response_data), (code, None));
    }
}
