//! `/api/Property/{property}/hostname/{hostname}/certificate`

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{
    SharedApp,
    body::{SecretText, read_secret_json},
    hostname::{HostnameBody, ids},
    problem::Problem,
};
use crate::service::Upload;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UploadBody {
    certificate: String,
    private_key: SecretText,
}

pub(super) async fn upload(
    State(app): State<SharedApp>,
    path: Result<Path<(i64, i64)>, PathRejection>,
    request: Request,
) -> Result<Json<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    let expected = "an object of `certificate` and `privateKey`, both PEM text, and nothing else";
    let body: UploadBody = read_secret_json(request, app.limits.max_body, expected).await?;
    let SecretText(private_key) = body.private_key;
    let upload = Upload { certificate: body.certificate, private_key };
    let now = OffsetDateTime::now_utc();
    Ok(Json(app.service.upload_certificate(property, id, upload, now).await?.into()))
}

pub(super) async fn remove(
    State(app): State<SharedApp>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Json<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    let now = OffsetDateTime::now_utc();
    Ok(Json(app.service.remove_certificate(property, id, now).await?.into()))
}
