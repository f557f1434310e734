//! The port through which a shard reads and writes its partition's log.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use ottla_types::{ErrorCode, Offset, TopicIdPartition};

use crate::shard_core::Part;

/// Completes when what was appended is committed.
pub type Committed = Pin<Box<dyn Future<Output = Result<(), ErrorCode>> + Send>>;

/// A batch that was appended.
pub struct Appended {
    /// Offset of its first record.
    pub base: Offset,
    /// What to wait for until it is committed; `None` when it is already.
    pub committed: Option<Committed>,
}

/// The logs of the partitions that shards are kept in.
pub trait LogPort: Send + Sync {
    /// Appends a batch, whole or not at all. Writes files, and may not wait for a disk to sync.
    /// What is of a transaction is judged by its producer's epoch, and by that of the coordinator
    /// that ends it.
    ///
    /// # Errors
    /// What a client would be told; nothing was appended then.
    fn append(
        &self,
        partition: TopicIdPartition,
        batch: Bytes,
        part: Part,
    ) -> Result<Appended, ErrorCode>;

    /// Most bytes that a batch may have.
    ///
    /// # Errors
    /// When the partition is not here.
    fn batch_bytes_max(&self, partition: TopicIdPartition) -> Result<usize, ErrorCode>;

    /// Whole batches from `from` on, the first of which may begin below it; empty at the end of
    /// what is committed. At most `bytes_max`, but for a first batch that is longer. Reads files.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn read(
        &self,
        partition: TopicIdPartition,
        from: Offset,
        bytes_max: u64,
    ) -> Result<Bytes, ErrorCode>;

    /// Where the log begins, and where what is committed ends.
    ///
    /// # Errors
    /// When the partition is not led here.
    fn bounds(&self, partition: TopicIdPartition) -> Result<(Offset, Offset), ErrorCode>;
}
