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
        let shard = self.shard(group)?;
        let (told, resolves) = self.ask_shard(&shard, step)?;
        for resolve in resolves {
            self.resolve(shard.clone(), resolve, may_see.clone());
        }
        Ok(told)
    }

    fn resolve(&self, shard: Arc<Shard>, resolve: Resolve, may_see: MaySee) {
        let groups = self.clone();
        let cluster = self.inner.cluster.read().expect("never poisoned").clone();
        let (plane, at) = (self.plane(&shard.partition), self.now().wall);
        let work = async move {
            let look_up = move || resolve.look_up(at, &*cluster, &*may_see);
            let found = groups.inner.runtime.blocking(plane, look_up).await;
            if let Ok(mut state) = shard.state.lock() {
                state.step(|core, out| core.regexes_found(found, out));
            }
            groups.append(&shard);
        };
        self.inner.runtime.spawn(plane, "look up patterns of topics", work);
    }
}
