//! `POST /feed/v1/ack`: what a PoP has applied, and whether that is what it should have.

use std::cmp::Reverse;

use axum::{
    Extension, Json,
    extract::{Request, State},
};
use landfall_feed::protocol::{Ack, AckReply, AckState, MAX_ACK_BUSIEST, MAX_ACK_REJECTED};
use time::OffsetDateTime;

use crate::{
    api::{SharedApp, body::read_json, problem::Problem},
    call::Call,
    store::{self, Store, StoreError, feed::FeedState, line::Line},
    token::PopId,
};

/// The longest id or reason that is kept, in characters.
const MAX_TEXT: usize = 300;

pub(super) async fn handle(
    State(app): State<SharedApp>,
    Extension(pop): Extension<PopId>,
    request: Request,
) -> Result<Json<AckReply>, Problem> {
    let ack: Ack = read_json(request, app.limits.max_body).await?;
    let _turn = app.service.store.turn(Line::Acknowledgements).await;
    let kept = keep(&app.service.store, pop, bounded(ack)).await;
    let state = kept.map_err(|error| Problem::internal(&error))?;
    app.service.watch.acknowledged.notify_one();
    Ok(Json(AckReply { state }))
}

async fn keep(store: &Store, pop: PopId, ack: Ack) -> Result<AckState, StoreError> {
    let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await?;
    let now = change.now();
    let feed = store::feed::state(change.on()).await?;
    let state = judge(&ack, &feed);
    let name = store::pop::name(change.on(), pop).await?.unwrap_or_default();
    store::pop::keep_ack(change.on(), pop, &ack, state, now).await?;
    if !ack.busiest.is_empty() {
        store::traffic::add(change.on(), pop, &ack.busiest, now).await?;
    }
    change.commit().await?;
    if state == AckState::Diverged || !ack.rejected.is_empty() {
        tell_of_difference(&name, &ack, state, &feed);
    }
    Ok(state)
}

fn tell_of_difference(pop: &str, ack: &Ack, state: AckState, feed: &FeedState) {
    let (applied, revision, rejected) = (ack.applied.0, feed.revision.0, ack.rejected.len());
    if (ack.epoch, ack.applied) > (feed.epoch, feed.revision) {
        let help = "if the database was restored, run `landfall feed new-epoch`";
        tracing::warn!(
            pop,
            applied,
            revision,
            rejected,
            help,
            "a PoP differs: it is ahead of the feed"
        );
    } else {
        tracing::warn!(pop, applied, revision, ?state, rejected, "a PoP differs");
    }
}

fn judge(ack: &Ack, state: &FeedState) -> AckState {
    let position = (ack.epoch, ack.applied);
    match position.cmp(&(state.epoch, state.revision)) {
        std::cmp::Ordering::Less => AckState::Behind,
        std::cmp::Ordering::Equal if ack.digest == state.digest => AckState::InSync,
        std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => AckState::Diverged,
    }
}

fn bounded(mut ack: Ack) -> Ack {
    ack.busiest.truncate(MAX_ACK_BUSIEST);
    ack.rejected.sort_by_key(|rejected| Reverse(rejected.revision));
    ack.rejected.truncate(MAX_ACK_REJECTED);
    for rejected in &mut ack.rejected {
        rejected.id = one_line(&rejected.id);
        rejected.reason = one_line(&rejected.reason);
    }
    ack
}

/// What a PoP says is shown to owners: one line, of what can be printed.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use landfall_feed::{digest::StateDigest, protocol::Rejected};
    use landfall_model::{Epoch, Revision};

    use super::*;

    #[test]
    fn what_a_pop_says_is_one_line_and_no_more_than_was_agreed() {
        let ack = Ack {
            epoch: Epoch(1),
            applied: Revision(1),
            digest: StateDigest::default(),
            rejected: vec![
                Rejected {
                    id: "hostname/a.test".into(),
                    revision: Revision(1),
                    reason: format!("\u{1b}[31mcall\r\nus{}", "!".repeat(MAX_TEXT)),
                };
                MAX_ACK_REJECTED + 1
            ],
            busiest: Vec::new(),
        };
        let kept = bounded(ack);
        assert_eq!(kept.rejected.len(), MAX_ACK_REJECTED);
        assert!(kept.rejected[0].reason.starts_with(" [31mcall  us!"), "{:?}", kept.rejected[0]);
        assert_eq!(kept.rejected[0].reason.chars().count(), MAX_TEXT);
    }
}
