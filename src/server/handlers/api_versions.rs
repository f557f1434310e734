//! ApiVersions (18): what this listener answers, and the cluster's features.
//!
//! Versions: 0-4. A version that is not known is answered in version 0 with error 35 and this one
//! row, and its body is not read. The header of an answer never has tags (KIP-511).
//! - Rows are those of the table for this kind of listener.
//! - Features are those that work here: `metadata.version`, `kraft.version`, `group.version`,
//!   `transaction.version`. A finalized level of another feature is kept in the metadata, and not
//!   shown.
//! - Below version 4, features whose lowest level is 0 are left out: old clients refuse them
//!   (KAFKA-17492).
//! - Versions: 3 adds the client's software name and version, which must be legal ones.
//!
//! Errors: `UNSUPPORTED_VERSION`; `INVALID_REQUEST` for an illegal software name or version.

use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use ottla_metadata::image::{Image, Provenance};
use ottla_metadata::{
    GROUP_VERSION, KRAFT_VERSION, METADATA_VERSION, TRANSACTION_VERSION, shown_features,
};
use ottla_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, StrBytes, decode_request, encode_response,
};
use ottla_protocol::{ApiKey, Decoded};
use ottla_types::ErrorCode;

use crate::apis::{APIS, Api, Incoming, find};
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = &request.header;
    let on_controller = request.peer.listener.is_controller();
    let own = find(ApiKey::ApiVersions.code(), on_controller).expect("offered everywhere");
    if !own.versions.contains(&header.api_version) {
        let refusal = refuse(ErrorCode::UnsupportedVersion, &[own]);
        return Ok(Reply::Now(Response::encode_as(header, 0, &refusal)));
    }
    let body: ApiVersionsRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let named = header.api_version >= 3;
    if named && !(is_legal(&body.client_software_name) && is_legal(&body.client_software_version)) {
        let refusal = refuse(ErrorCode::InvalidRequest, &[]);
        return Ok(Reply::Now(Response::encode(header, &refusal)));
    }
    let image = services.images.load();
    let kraft_version = services.quorum.kraft_version();
    let asked = Asked { version: header.api_version, on_controller };
    let body = services.api_versions.get(asked, (image.provenance(), kraft_version), || {
        let answer = answer(&image, kraft_version, asked.version, on_controller);
        let mut body = BytesMut::new();
        encode_response(&answer, header.api_key, asked.version, &mut body);
        body.freeze()
    });
    Ok(Reply::Now(Response::of_body(header, &body)))
}

/// Answers that are encoded already: every client asks first of all, and hears the same.
#[derive(Default)]
pub struct KeptAnswers {
    /// One for each kind of question, which are few.
    kept: Mutex<Vec<Kept>>,
}

/// What an answer depends on, but for what the cluster is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Asked {
    version: i16,
    on_controller: bool,
}

/// Of the cluster: up to where the image reaches, and the level that is not in it.
type AsOf = (Provenance, i16);

struct Kept {
    asked: Asked,
    as_of: AsOf,
    body: Bytes,
}

impl KeptAnswers {
    /// The answer's body, made anew when the cluster has changed.
    fn get(&self, asked: Asked, as_of: AsOf, encode: impl FnOnce() -> Bytes) -> Bytes {
        let mut kept = self.kept.lock().expect("never poisoned");
        let same = kept.iter().position(|kept| kept.asked == asked);
        match same {
            Some(at) if kept[at].as_of == as_of => kept[at].body.clone(),
            _ => {
                let body = encode();
                if let Some(at) = same {
                    kept.swap_remove(at);
                }
                kept.push(Kept { asked, as_of, body: body.clone() });
                body
            }
        }
    }
}

fn refuse(error: ErrorCode, rows: &[&Api]) -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(error.code())
        .with_api_keys(rows.iter().map(|api| row(api)).collect())
}

fn row(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key.code())
        .with_min_version(api.shown_min)
        .with_max_version(*api.versions.end())
}

fn answer(
    image: &Image,
    kraft_version: i16,
    version: i16,
    on_controller: bool,
) -> ApiVersionsResponse {
    let offered = APIS.iter().filter(|api| api.is_offered(on_controller));
    let mut answer = ApiVersionsResponse::default().with_api_keys(offered.map(row).collect());
    let shown = shown_features().filter(|(_, min, _)| *min > 0 || version >= 4);
    answer.supported_features = shown
        .map(|(name, min, max)| {
            SupportedFeatureKey::default()
                .with_name(StrBytes::from_static_str(name))
                .with_min_version(min)
                .with_max_version(max)
        })
        .collect();
    let finalized = [
        (METADATA_VERSION, image.features().level(METADATA_VERSION)),
        (KRAFT_VERSION.name, kraft_version),
        (GROUP_VERSION, image.features().level(GROUP_VERSION)),
        (TRANSACTION_VERSION, image.features().level(TRANSACTION_VERSION)),
    ];
    answer.finalized_features = finalized
        .into_iter()
        .filter(|(_, level)| *level > 0)
        .map(|(name, level)| {
            FinalizedFeatureKey::default()
                .with_name(StrBytes::from_static_str(name))
                .with_max_version_level(level)
                .with_min_version_level(level)
        })
        .collect();
    answer.finalized_features_epoch = image.provenance().offset.0;
    answer
}

/// Kafka's pattern: letters and digits, with '-' and '.' between them.
fn is_legal(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    outer(bytes.first()) && outer(bytes.last()) && bytes.iter().copied().all(inner)
}

#[cfg(test)]
mod tests {
    use ottla_types::Offset;

    use super::*;

    #[test]
    fn an_answer_is_kept_as_long_as_it_is_true() {
        let (kept, image) = (KeptAnswers::default(), Image::default().provenance());
        let get = |version, offset, kraft_version, encoded: &'static [u8]| {
            let asked = Asked { version, on_controller: false };
            let as_of = (Provenance { offset: Offset(offset), ..image }, kraft_version);
            kept.get(asked, as_of, || Bytes::from_static(encoded))
        };
        assert_eq!(&*get(4, 1, 1, b"a"), b"a");
        assert_eq!(&*get(4, 1, 1, b"b"), b"a", "kept");
        assert_eq!(&*get(3, 1, 1, b"c"), b"c", "another version");
        assert_eq!(&*get(4, 2, 1, b"d"), b"d", "the metadata went on");
        assert_eq!(&*get(4, 2, 0, b"e"), b"e", "the quorum's level changed");
        assert_eq!(&*get(3, 1, 1, b"f"), b"c", "kept");
    }

    #[test]
    fn software_names() {
        for legal in ["a", "librdkafka", "apache-kafka-java", "4.3.1", "v2.x-rc1"] {
            assert!(is_legal(legal), "{legal:?}");
        }
        for illegal in ["", "-a", "a.", "a b", "a_b", "\u{e9}"] {
            assert!(!is_legal(illegal), "{illegal:?}");
        }
    }
}
