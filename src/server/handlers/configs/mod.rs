//! The APIs about configs. What they have in common is in `server/configs/`.

pub mod alter;
pub mod alter_incremental;
pub mod describe;
pub mod list;
