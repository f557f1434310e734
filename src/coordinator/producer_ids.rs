//! Producer ids for idempotent producers (KIP-98), from blocks that the controller gives (KIP-730).
//!
//! An id is given out once: a block that a dead process had begun is never continued.

use std::future::Future;
use std::pin::Pin;

use ottla_types::{ErrorCode, ProducerId};
use tokio::sync::Mutex;

/// Ids that may be given out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdBlock {
    /// The first of them.
    pub first: ProducerId,
    /// How many they are.
    pub count: i32,
}

/// The block that was asked for, once it is given.
pub type Allocated = Pin<Box<dyn Future<Output = Result<IdBlock, ErrorCode>> + Send>>;

/// The port to the controller: asks for the next block.
pub type AllocateBlock = Box<dyn Fn() -> Allocated + Send + Sync>;

/// Gives out producer ids.
pub struct ProducerIds {
    block: Mutex<IdBlock>,
    allocate: AllocateBlock,
}

impl ProducerIds {
    /// Without a block; the first id asks for one.
    #[must_use]
    pub fn new(allocate: AllocateBlock) -> ProducerIds {
        ProducerIds { block: Mutex::new(IdBlock { first: ProducerId(0), count: 0 }), allocate }
    }

    /// The next id. Waits for the controller once in a block; others wait behind.
    ///
    /// # Errors
    /// What the controller answered; the caller's client tries again.
    pub async fn next(&self) -> Result<ProducerId, ErrorCode> {
        let mut block = self.block.lock().await;
        if block.count == 0 {
            *block = (self.allocate)().await?;
        }
        let id = block.first;
        block.first = ProducerId(id.0 + 1);
        block.count -= 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn ids_come_from_blocks_and_errors_do_not_use_any_up() {
        let asked = Arc::new(AtomicI64::new(0));
        let counter = asked.clone();
        let allocate: AllocateBlock = Box::new(move || {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            let block = IdBlock { first: ProducerId(number * 100), count: 2 };
            let result = if number == 1 { Err(ErrorCode::NotController) } else { Ok(block) };
            Box::pin(std::future::ready(result))
        });
        let ids = ProducerIds::new(allocate);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            assert_eq!(ids.next().await, Ok(ProducerId(0)));
            assert_eq!(ids.next().await, Ok(ProducerId(1)));
            assert_eq!(ids.next().await, Err(ErrorCode::NotController));
            assert_eq!(ids.next().await, Ok(ProducerId(200)));
        });
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }
}
