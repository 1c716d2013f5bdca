//! What an operator does once: keys, configs, a PoP, a key to the API. Kept for the next start.

use landfall_control::{
    ControlError,
    admin::{self, Grant, PopEnrolment, Scope},
    config::{ControlConfig, RawControlConfig},
};
use landfall_edge::config::RawEdgeConfig;
use zeroize::Zeroizing;

use super::{
    DemoError, Issuer, LOOPBACK,
    files::{self, Files},
    ports::Ports,
};
use crate::config::ConfigFile;

/// The name of the PoP and of the API key.
const NAME: &str = "demo";
const API_KEY: &str = "api-key";
const POP_TOKEN: &str = "pop-token";
const SIGNING_KEY: &str = "feed-signing.pub";

/// What the demo needs of it later.
pub(super) struct Enrolment {
    pub(super) api_key: Zeroizing<String>,
}

/// Makes what is missing and writes both configs.
///
/// # Errors
/// [`DemoError::File`], [`DemoError::Control`], and [`DemoError::Config`] for a config that is wrong.
pub(super) async fn prepare(
    files: &Files,
    ports: &Ports,
    issuer: &Issuer,
) -> Result<Enrolment, DemoError> {
    let keys = files.create_folder("keys")?;
    if files.read("keys/group.pub")?.is_none() {
        admin::init_group_keys(&keys).map_err(|error| failed("make the group key", error))?;
    }
    files.write("control.toml", &files::control_config(ports, issuer))?;
    let config = ConfigFile::read(&files.config("control"))?.load(RawControlConfig::check)?;
    let signing_key = enrol_pop(files, &config).await?;
    files.write("edge.toml", &files::edge_config(ports, issuer, signing_key.trim()))?;
    ConfigFile::read(&files.config("edge"))?.load(RawEdgeConfig::check)?;
    Ok(Enrolment { api_key: make_api_key(files, &config).await? })
}

/// Returns the key that signs the feed.
async fn enrol_pop(files: &Files, config: &ControlConfig) -> Result<String, DemoError> {
    if let (Some(_), Some(signing_key)) = (files.read(POP_TOKEN)?, files.read(SIGNING_KEY)?) {
        return Ok(signing_key);
    }
    // An earlier start may have come this far and no further: its token is lost.
    match admin::remove_pop(config, NAME).await {
        Ok(()) | Err(ControlError::Unknown { .. }) => {}
        Err(error) => return Err(failed("remove the PoP", error)),
    }
    let added = admin::add_pop(config, NAME, &[LOOPBACK]).await;
    let PopEnrolment { token, signing_key, .. } =
        added.map_err(|error| failed("add the PoP", error))?;
    files.write(POP_TOKEN, &token)?;
    files.write(SIGNING_KEY, &signing_key.to_string())?;
    Ok(signing_key.to_string())
}

async fn make_api_key(
    files: &Files,
    config: &ControlConfig,
) -> Result<Zeroizing<String>, DemoError> {
    if let Some(key) = files.read(API_KEY)? {
        return Ok(Zeroizing::new(key));
    }
    // A key of this name that was lost can't be made again: names stay taken.
    let name = format!("{NAME}-{}", std::process::id());
    let grant = Grant { scope: Scope::Admin, property: None, expires_at: None };
    let key = admin::add_api_key(config, &name, grant).await;
    let key = key.map_err(|error| failed("make a key to the API", error))?;
    files.write(API_KEY, &key)?;
    Ok(key)
}

fn failed(step: &'static str, source: ControlError) -> DemoError {
    DemoError::Control { step, source: Box::new(source) }
}
