//! The files that a config names, read as a start reads them.

use std::error::Error;

use crate::{
    api::problem::chain,
    authority::LoadedAuthority,
    challenge_zone,
    config::{ControlConfig, Publication},
    state,
};
use landfall_model::config::Problem;

/// Reads every file that the config names, and says what is wrong with each. Neither writes nor connects.
pub fn check_files(config: &ControlConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |key: &str, error: &dyn Error| problems.push(Problem::new(key, chain(error)));
    match state::read_group_key(&config.group_public_key_file) {
        Err(error) => add("keys.group_public_key_file", &error),
        Ok(group) => {
            for (name, own) in &config.agents.authorities {
                if let Err(error) = LoadedAuthority::load(name, own, &group) {
                    add(&format!("issuance.authority.{name}"), &error);
                }
            }
        }
    }
    let publication = config.challenge_zone.as_ref().map(|own| &own.publication);
    if let Some(Publication::Updated(update)) = publication
        && let Err(error) = challenge_zone::check_files(update)
    {
        add("challenge_zone.update.tsig_secret_file", &error);
    }
    problems
}
