//! `/api/Property/{property}/hostname/{hostname}/certificate`

use axum::{
    Extension, Json,
    extract::{Path, Request, State, rejection::PathRejection},
};
use serde::Deserialize;

use super::{
    SharedApp,
    body::{SecretText, read_secret_json},
    hostname::{HostnameBody, ids},
    problem::Problem,
};
use crate::{call::Call, service::Upload};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UploadBody {
    certificate: String,
    private_key: SecretText,
}

pub(super) async fn upload(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
    request: Request,
) -> Result<Json<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    let expected = "an object of `certificate` and `privateKey`, both PEM text, and nothing else";
    let body: UploadBody = read_secret_json(request, app.limits.max_body, expected).await?;
    let SecretText(private_key) = body.private_key;
    let upload = Upload { certificate: body.certificate, private_key };
    Ok(Json(app.service.upload_certificate(call, property, id, upload).await?.into()))
}

pub(super) async fn remove(
    State(app): State<SharedApp>,
    Extension(call): Extension<Call>,
    path: Result<Path<(i64, i64)>, PathRejection>,
) -> Result<Json<HostnameBody>, Problem> {
    let (property, id) = ids(path)?;
    Ok(Json(app.service.remove_certificate(call, property, id).await?.into()))
}
