//! An operator who lowers and raises `transaction.version` while transactions are made.

use std::io;

use kafka_protocol::messages::UpdateFeaturesRequest;
use ottla_test_client::Connection;

use super::requests::{self, code};
use super::session::Client;
use crate::client::Phase;

/// The level that a new cluster has.
const NEWEST: i16 = 2;

/// Changes the level as long as the world is loaded.
pub async fn run(client: Client) {
    let mut level = NEWEST;
    while *client.phase.borrow() == Phase::Load && !client.is_over() {
        client.pause(200, 3_000).await;
        let Some(mut connection) = client.connect().await else { return };
        let next = client.dice.below(3) as i16;
        if set(&client, &mut connection, level, next).await.is_ok() {
            level = next;
        } else {
            // It may have been done, or may be done now: the next change says what it is.
            level = client.dice.below(3) as i16;
        }
    }
}

async fn set(client: &Client, connection: &mut Connection, from: i16, to: i16) -> io::Result<()> {
    let request = requests::set_level(from, to);
    let call = connection.call::<UpdateFeaturesRequest>(1, &request);
    let answer = client.answer(call).await?;
    let error = answer.results.first().map_or(answer.error_code, |it| it.error_code);
    client.findings.note(|| format!("transaction.version {from} to {to}: error {error}"));
    if answer.error_code != code::NONE || error != code::NONE {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    client.findings.count(|stats| stats.configs += 1);
    client.model().level = Some(to);
    Ok(())
}
