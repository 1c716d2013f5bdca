//! Certificates of a real CA, obtained by the edges themselves for hostnames whose DNS leads to them.

mod seed;
