//! Heartbeat and LeaveGroup.
//!
//! - A heartbeat keeps a member's session alive, and tells it when it has to join again.
//! - Members leave by id; an operator removes static ones by their instance ids. A group that
//!   nobody is left in becomes empty with the end of the rebalance that this begins, which is at
//!   once.

use ottla_types::ErrorCode;

use super::classic::{Leave, Leaving, State};
use super::effect::{Answer, Effects, Ticket};
use super::{GroupId, GroupShard, MemberId, Now, Slot};

impl GroupShard {
    /// A member says that it is there.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`, `ILLEGAL_GENERATION`; `REBALANCE_IN_PROGRESS`
    /// when it has to join again.
    pub fn heartbeat(
        &mut self,
        now: Now,
        id: &GroupId,
        (member, instance): (&MemberId, Option<&str>),
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let group = match self.slots.get(id) {
            Some(Slot::Consumer) => {
                return self.heartbeat_consumers(now, id, (member, instance), generation);
            }
            Some(Slot::Classic(incarnation)) => self.classic.get(incarnation),
            _ => None,
        };
        let group = group.ok_or(ErrorCode::UnknownMemberId)?;
        group.check_member(member, instance)?;
        if generation != group.generation() {
            return Err(ErrorCode::IllegalGeneration);
        }
        let state = group.state();
        self.keep_alive(now, id, member);
        match state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
            State::Empty => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// Members leave.
    pub fn leave(&mut self, now: Now, request: &Leave, ticket: Ticket, out: &mut Effects) {
        let id = &request.group;
        if matches!(self.slots.get(id), Some(Slot::Consumer)) {
            return self.leave_of_consumers(now, request, ticket, out);
        }
        if self.classic(id).is_none() {
            return out.answer(ticket, Err(ErrorCode::UnknownMemberId));
        }
        let outcomes: Vec<ErrorCode> =
            request.members.iter().map(|leaving| self.let_go(id, leaving, out)).collect();
        if outcomes.contains(&ErrorCode::None) {
            match self.classic(id).expect("looked up before").state() {
                State::Stable | State::CompletingRebalance => self.prepare_rebalance(now, id, out),
                State::PreparingRebalance => self.complete_if_joined(now, id, out),
                State::Empty => {}
            }
        }
        // A group that became empty says so in the log, and only then to whoever left.
        out.answer(ticket, Ok(Answer::Left(outcomes)));
        out.answer_when_kept();
    }

    fn let_go(&mut self, id: &GroupId, leaving: &Leaving, out: &mut Effects) -> ErrorCode {
        let group = self.classic(id).expect("looked up before");
        let member: MemberId = if leaving.id.is_empty() {
            let known = leaving.instance.as_ref().and_then(|it| group.members().static_member(it));
            let Some(known) = known else { return ErrorCode::UnknownMemberId };
            known.clone()
        } else {
            leaving.id.clone()
        };
        if !leaving.id.is_empty() && !group.is_pending(&member) {
            let checked = group.check_member(&member, leaving.instance.as_deref());
            if let Err(error) = checked {
                return error;
            }
        }
        self.remove_member(id, &member, out);
        ErrorCode::None
    }
}
