//! Quotas, ACLs, SCRAM credentials, delegation tokens and producer ids.
//!
//! Each is a map whose entries are set and removed by a record. Entries that this version does not
//! use are kept as they came, so that a cluster taken over loses none of its protection.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::metadata::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, EntityData,
    ProducerIdsRecord, RemoveAccessControlEntryRecord, RemoveDelegationTokenRecord,
    RemoveUserScramCredentialRecord, UserScramCredentialRecord,
};
use ottla_types::{BrokerEpoch, NO_NODE, ProducerId, Uuid};

use super::delta::Touched;
use super::error::ReplayError;
use crate::versions::{MetadataVersion, VersionedRecord};

/// For whom a client quota is: names by the type of entity ("user", "client-id", "ip"); `None` is
/// the default entity of that type.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct QuotaEntity(pub BTreeMap<String, Option<String>>);

/// The quotas of one entity by name.
pub type QuotaMap = OrdMap<String, f64>;

/// The client quotas of all entities that have any.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClientQuotas {
    entities: OrdMap<QuotaEntity, Arc<QuotaMap>>,
}

impl ClientQuotas {
    /// The quotas of an entity; `None` when it has none.
    #[must_use]
    pub fn of(&self, entity: &QuotaEntity) -> Option<&QuotaMap> {
        self.entities.get(entity).map(Arc::as_ref)
    }

    /// All entities with their quotas.
    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &QuotaMap)> {
        self.entities.iter().map(|(entity, quotas)| (entity, quotas.as_ref()))
    }

    pub(super) fn set(&mut self, record: &ClientQuotaRecord, touched: &mut Touched) {
        let parts = record.entity.iter();
        let entity = QuotaEntity(
            parts.map(|part| (part.entity_type.clone(), part.entity_name.clone())).collect(),
        );
        let quotas = Arc::make_mut(self.entities.entry(entity.clone()).or_default());
        if record.remove {
            quotas.remove(&record.key);
        } else {
            quotas.insert(record.key.clone(), record.value);
        }
        if quotas.is_empty() {
            self.entities.remove(&entity);
        }
        touched.quotas.insert(entity);
    }

    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        for (entity, quotas) in self.iter() {
            let part = |(entity_type, entity_name): (&String, &Option<String>)| EntityData {
                entity_type: entity_type.clone(),
                entity_name: entity_name.clone(),
            };
            let parts: Vec<EntityData> = entity.0.iter().map(part).collect();
            for (key, value) in quotas {
                let (entity, key) = (parts.clone(), key.clone());
                let record = ClientQuotaRecord { entity, key, value: *value, remove: false };
                out(VersionedRecord::new(record, version));
            }
        }
    }
}

/// The producer ids that were given out.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProducerIds {
    next: Option<ProducerId>,
}

impl ProducerIds {
    /// First id of the next block.
    #[must_use]
    pub fn next(&self) -> ProducerId {
        self.next.unwrap_or(ProducerId(0))
    }

    pub(super) fn set(
        &mut self,
        record: &ProducerIdsRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        let found = record.next_producer_id;
        if let Some(next) = self.next
            && found <= next
        {
            return Err(ReplayError::ProducerIdsWentBack { next, found });
        }
        self.next = Some(found);
        touched.producer_ids = true;
        Ok(())
    }

    /// To whom the last block went is not kept, as in Kafka's snapshots.
    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        if let Some(next_producer_id) = self.next {
            let record = ProducerIdsRecord {
                broker_id: NO_NODE,
                broker_epoch: BrokerEpoch::UNKNOWN,
                next_producer_id,
            };
            out(VersionedRecord::new(record, version));
        }
    }
}

/// The ACLs by id.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Acls {
    by_id: OrdMap<Uuid, Arc<AccessControlEntryRecord>>,
}

impl Acls {
    /// The ACL with this id.
    #[must_use]
    pub fn get(&self, id: Uuid) -> Option<&AccessControlEntryRecord> {
        self.by_id.get(&id).map(Arc::as_ref)
    }

    /// All ACLs by id.
    pub fn iter(&self) -> impl Iterator<Item = &AccessControlEntryRecord> {
        self.by_id.values().map(Arc::as_ref)
    }

    pub(super) fn add(
        &mut self,
        record: &AccessControlEntryRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        if self.by_id.insert(record.id, Arc::new(record.clone())).is_some() {
            return Err(ReplayError::DuplicateAcl(record.id));
        }
        touched.acls.insert(record.id);
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        record: &RemoveAccessControlEntryRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        self.by_id.remove(&record.id).ok_or(ReplayError::UnknownAcl(record.id))?;
        touched.acls.insert(record.id);
        Ok(())
    }

    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        self.iter().for_each(|record| out(VersionedRecord::new(record.clone(), version)));
    }
}

/// Whose SCRAM credential, and for which mechanism.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ScramKey {
    /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    pub mechanism: i8,
    /// Name of the user.
    pub user: String,
}

/// The SCRAM credentials by mechanism and user.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ScramCredentials {
    by_key: OrdMap<ScramKey, Arc<UserScramCredentialRecord>>,
}

impl ScramCredentials {
    /// The credential of a user for a mechanism.
    #[must_use]
    pub fn get(&self, key: &ScramKey) -> Option<&UserScramCredentialRecord> {
        self.by_key.get(key).map(Arc::as_ref)
    }

    /// All credentials by mechanism and user.
    pub fn iter(&self) -> impl Iterator<Item = &UserScramCredentialRecord> {
        self.by_key.values().map(Arc::as_ref)
    }

    pub(super) fn set(&mut self, record: &UserScramCredentialRecord, touched: &mut Touched) {
        let key = ScramKey { mechanism: record.mechanism, user: record.name.clone() };
        self.by_key.insert(key.clone(), Arc::new(record.clone()));
        touched.scram.insert(key);
    }

    pub(super) fn remove(
        &mut self,
        record: &RemoveUserScramCredentialRecord,
        touched: &mut Touched,
    ) -> Result<(), ReplayError> {
        let key = ScramKey { mechanism: record.mechanism, user: record.name.clone() };
        if self.by_key.remove(&key).is_none() {
            let ScramKey { mechanism, user } = key;
            return Err(ReplayError::UnknownCredential { user, mechanism });
        }
        touched.scram.insert(key);
        Ok(())
    }

    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        self.iter().for_each(|record| out(VersionedRecord::new(record.clone(), version)));
    }
}

/// The delegation tokens by id.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DelegationTokens {
    by_id: OrdMap<String, Arc<DelegationTokenRecord>>,
}

impl DelegationTokens {
    /// The token with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&DelegationTokenRecord> {
        self.by_id.get(id).map(Arc::as_ref)
    }

    /// All tokens by id.
    pub fn iter(&self) -> impl Iterator<Item = &DelegationTokenRecord> {
        self.by_id.values().map(Arc::as_ref)
    }

    pub(super) fn set(&mut self, record: &DelegationTokenRecord, touched: &mut Touched) {
        self.by_id.insert(record.token_id.clone(), Arc::new(record.clone()));
        touched.tokens.insert(record.token_id.clone());
    }

    /// A token may be gone already: Kafka removes an expired one without asking.
    pub(super) fn remove(&mut self, record: &RemoveDelegationTokenRecord, touched: &mut Touched) {
        self.by_id.remove(&record.token_id);
        touched.tokens.insert(record.token_id.clone());
    }

    pub(super) fn write(&self, version: MetadataVersion, out: &mut dyn FnMut(VersionedRecord)) {
        self.iter().for_each(|record| out(VersionedRecord::new(record.clone(), version)));
    }
}
