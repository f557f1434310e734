//! How the keys and values of records are shown: as text, or as what the records of a topic of the
//! broker's own mean.

use ottla_protocol::batch::Record;
use ottla_protocol::consumer_protocol::{
    self, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
};
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::classic::GroupMetadataValue;
use ottla_protocol::coordinator::share::ShareRecord;
use ottla_protocol::coordinator::transaction::TransactionRecord;
use ottla_protocol::coordinator::{RecordError, RecordJson};
use ottla_protocol::json::Json;
use ottla_protocol::metadata::MetadataRecord;
use ottla_protocol::{Message, Reader};

/// What the records are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoder {
    /// Text.
    Text,
    /// Records of `__consumer_offsets`.
    Offsets,
    /// Records of `__transaction_state`.
    Transactions,
    /// Records of `__share_group_state`.
    ShareState,
    /// Records of the metadata log.
    Metadata,
}

/// A record as it is shown.
pub(super) struct Shown {
    /// Its key, or what is wrong with the record.
    pub(super) key: Option<String>,
    /// Its value.
    pub(super) payload: Option<String>,
}

/// What a coordinator's record means.
struct Meant {
    number: i16,
    version: i16,
    json: RecordJson,
}

impl Decoder {
    /// Shows a record; what cannot be decoded is said in its place.
    pub(super) fn show(self, record: &Record<'_>) -> Shown {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let decode = match self {
            Decoder::Text => {
                return Shown { key: record.key.map(text), payload: record.value.map(text) };
            }
            Decoder::Metadata => return Shown { key: None, payload: Some(metadata(record)) },
            Decoder::Offsets => offsets,
            Decoder::Transactions => transactions,
            Decoder::ShareState => share_state,
        };
        let Some(key) = record.key else {
            let key = format!(
                "Failed to decode message at offset {} using the specified decoder (message had a \
                 missing key)",
                record.offset.0
            );
            return Shown { key: Some(key), payload: None };
        };
        coordinator(record.offset.0, decode(key, record.value))
    }
}

fn coordinator(offset: i64, decoded: Result<Meant, RecordError>) -> Shown {
    let text = |number: i16| Json::Text(number.to_string());
    match decoded {
        Ok(meant) => {
            let key = object([("type", text(meant.number)), ("data", meant.json.key)]);
            let payload = meant.json.value.map_or("<DELETE>".to_owned(), |value| {
                object([("version", text(meant.version)), ("data", value)]).to_string()
            });
            Shown { key: Some(key.to_string()), payload: Some(payload) }
        }
        Err(RecordError::UnknownType(number)) => {
            let key = format!("Unknown record type {number} at offset {offset}, skipping.");
            Shown { key: Some(key), payload: None }
        }
        Err(error) => {
            let key = format!("Error at offset {offset}, skipping. {error}");
            Shown { key: Some(key), payload: None }
        }
    }
}

fn object<const N: usize>(fields: [(&str, Json); N]) -> Json {
    Json::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn offsets(key: &[u8], value: Option<&[u8]>) -> Result<Meant, RecordError> {
    let (record, version) = GroupRecord::decode(key, value)?;
    let version = version.unwrap_or(0);
    let mut json = record.json(version);
    if let GroupRecord::GroupMetadata(_, Some(group)) = &record
        && group.protocol_type == consumer_protocol::PROTOCOL_TYPE
        && let Some(value) = &mut json.value
    {
        open_members(group, value);
    }
    Ok(Meant { number: record.type_number(), version, json })
}

/// Shows what consumers put into a group's opaque bytes, where it can be read.
fn open_members(group: &GroupMetadataValue, json: &mut Json) {
    let Some(Json::Array(members)) = json.get_mut("members") else { return };
    for (json, member) in members.iter_mut().zip(&group.members) {
        if let Some(field) = json.get_mut("subscription")
            && let Some(opened) = opened::<ConsumerProtocolSubscription>(&member.subscription)
        {
            *field = opened;
        }
        if let Some(field) = json.get_mut("assignment")
            && let Some(opened) = opened::<ConsumerProtocolAssignment>(&member.assignment)
        {
            *field = opened;
        }
    }
}

fn opened<T: Message>(bytes: &[u8]) -> Option<Json> {
    let (message, version) = consumer_protocol::decode::<T>(bytes).ok()?;
    Some(message.json(version))
}

fn transactions(key: &[u8], value: Option<&[u8]>) -> Result<Meant, RecordError> {
    let (record, version) = TransactionRecord::decode(key, value)?;
    let version = version.unwrap_or(0);
    Ok(Meant { number: record.type_number(), version, json: record.json(version) })
}

fn share_state(key: &[u8], value: Option<&[u8]>) -> Result<Meant, RecordError> {
    let (record, version) = ShareRecord::decode(key, value)?;
    let version = version.unwrap_or(0);
    Ok(Meant { number: record.type_number(), version, json: record.json(version) })
}

fn metadata(record: &Record<'_>) -> String {
    let skipped = |reason: &dyn std::fmt::Display| {
        format!("Error at {}, skipping. {reason}", record.offset.0)
    };
    let Some(value) = record.value else { return skipped(&"the record has no value") };
    match MetadataRecord::decode(value) {
        Ok((record, version)) => {
            let fields = [
                ("type", Json::Text(record.type_name())),
                ("version", Json::Integer(version.into())),
                ("data", record.json(version)),
            ];
            object(fields).to_string()
        }
        Err(error) => {
            let mut front = Reader::new(value);
            match front.uvarint().and_then(|_| front.uvarint()) {
                Ok(number) if MetadataRecord::TYPES.contains(&number) => {
                    skipped(&format!("Failed to deserialize record with type {number}: {error}"))
                }
                _ => skipped(&error),
            }
        }
    }
}
