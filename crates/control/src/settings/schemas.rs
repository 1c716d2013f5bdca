//! What of the settings may be given, and when, for the API's document.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Schema, Type},
    },
};

use super::{HostnameSettings, PropertySettings};

macro_rules! roles {
    ($($(#[doc = $doc:literal])+ $name:ident = $role:ident($settings:ident $(, $required:literal)*);)+) => {
        $(
            $(#[doc = $doc])+
            pub(crate) enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let description = concat!($($doc),+).trim();
                    $role($settings::schema(), &[$($required),*], description)
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                    $settings::schemas(schemas);
                }
            }
        )+
    };
}

roles! {
    /// A property to create.
    NewProperty = creation(PropertySettings, "name", "origins");
    /// What to change of a property. What is missing stays; null is the default.
    PropertyChange = change(PropertySettings);
    /// A hostname to add.
    NewHostname = creation(HostnameSettings, "name");
    /// What to change of a hostname. What is missing stays; null is the default.
    HostnameChange = change(HostnameSettings);
}

fn creation(settings: RefOr<Schema>, required: &[&str], description: &str) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = settings else { return settings };
    for field in required {
        object.properties.entry((*field).to_owned()).and_modify(refuse_null);
    }
    object.required = required.iter().map(|&field| field.to_owned()).collect();
    object.description = Some(description.to_owned());
    Schema::Object(object).into()
}

fn refuse_null(field: &mut RefOr<Schema>) {
    let named = match field {
        RefOr::T(Schema::OneOf(forms)) => {
            forms.items.iter().find(|form| matches!(form, RefOr::Ref(_))).cloned()
        }
        RefOr::T(Schema::Array(array)) => {
            array.schema_type = Type::Array.into();
            None
        }
        RefOr::T(_) | RefOr::Ref(_) => None,
    };
    if let Some(named) = named {
        *field = named;
    }
}

fn change(settings: RefOr<Schema>, _required: &[&str], description: &str) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = settings else { return settings };
    object.properties.remove("name");
    object.description = Some(description.to_owned());
    Schema::Object(object).into()
}
