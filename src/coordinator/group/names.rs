//! Names of groups, and of their members.

use crate::names::names;

names! {
    /// Id of a group.
    GroupId,
    /// Id of a member, which its coordinator gave it.
    MemberId,
}
