//! Patterns are looked up on threads for blocking work, without the shard's lock: there may be many
//! topics. What was found comes back as a step of the shard that asked.

use std::sync::Arc;

use ottla_types::ErrorCode;
use tokio::sync::oneshot;

use super::Groups;
use super::shard::Shard;
use crate::group::consumer::Resolve;
use crate::group::{Effects, GroupShard, Now, Ticket, Told};

/// Whether the sender of a request may describe a topic.
pub type MaySee = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Groups {
    /// A step that somebody waits for, and after which patterns may have to be looked up.
    pub(super) fn ask_and_resolve(
        &self,
        group: &str,
        may_see: MaySee,
        step: impl FnOnce(&mut GroupShard, Now, Ticket, &mut Effects),
    ) -> Result<oneshot::Receiver<Told>, ErrorCode> {
        let shard = self.shards.of(group)?;
        let (told, resolves) = self.shards.ask_shard(&shard, step)?;
        for resolve in resolves {
            self.resolve(shard.clone(), resolve, may_see.clone());
        }
        Ok(told)
    }

    fn resolve(&self, shard: Arc<Shard<GroupShard>>, resolve: Resolve, may_see: MaySee) {
        let shards = self.shards.clone();
        let runtime = self.runtime().clone();
        let cluster = self.cluster();
        let (plane, at) = (shards.plane(&shard.partition), shards.now().wall);
        let work = async move {
            let look_up = move || resolve.look_up(at, &*cluster, &*may_see);
            let found = runtime.blocking(plane, look_up).await;
            shards.step(&shard, |core, _, out| core.regexes_found(found, out));
        };
        self.runtime().spawn(plane, "look up patterns of topics", work);
    }
}
