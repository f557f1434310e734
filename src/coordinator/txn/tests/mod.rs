//! Tests of a shard: scenes in `txn/scripts`.

mod harness;
mod render;
mod scripts;

use std::sync::Arc;

use ottla_config::NodeConfig;
use ottla_protocol::coordinator::RecordError;
use ottla_types::Offset;

use super::{TransactionState, TxnShard};
use crate::shard_core::{LoadedRecord, ShardCore};

#[test]
fn states_have_kafkas_numbers_and_names() {
    let names =
        ["Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"];
    for (number, name) in (0..).zip(names) {
        let state = TransactionState::from_number(number).expect("a state");
        assert_eq!((state.number(), state.name()), (number, name));
        assert_eq!(TransactionState::from_name(name), Some(state));
    }
    for number in [-1, 6, 7, 8] {
        assert_eq!(TransactionState::from_number(number), None, "{number} is in no record");
    }
    assert_eq!(TransactionState::from_name("ongoing"), None);
}

fn load(key: &[u8], value: Option<&[u8]>) -> Result<(), RecordError> {
    let config = NodeConfig::new(None, &[]).expect("the defaults are good").transactions;
    let mut shard = TxnShard::new(Arc::new(config));
    shard.load(LoadedRecord { offset: Offset(5), producer: None, key, value })
}

#[test]
fn what_is_damaged_is_not_passed_over() {
    let key = [0, 0, 0, 1, b'a'];
    assert!(load(&key, None).is_ok(), "an id is forgotten that is not there");
    assert!(load(&[0, 99, 1, 2], Some(&[1])).is_ok(), "a type that is not known");
    assert!(load(&key, Some(&[0, 2])).is_err(), "a version that is not known");
    assert!(load(&key, Some(&[0, 0, 1])).is_err(), "a value that is cut");
    assert!(load(&key[..4], None).is_err(), "a key that is cut");
    let mut value = vec![0, 0];
    value.extend([0; 14]);
    value.push(7);
    value.extend([0; 4]);
    value.extend([0; 16]);
    assert!(load(&key, Some(&value)).is_err(), "a state that is in no record");
    value[16] = 0;
    assert!(load(&key, Some(&value)).is_ok());
}
