//! Certificates of a real CA, obtained by the edges themselves for hostnames whose DNS leads to them.

mod authorities;
mod batch;
mod methods;
mod records;
mod renewal;
mod seed;
