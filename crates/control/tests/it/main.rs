//! Drives a control plane over HTTP, as customers, PoPs and operators do.

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod agents;
#[cfg(test)]
mod api;
#[cfg(test)]
mod authorities;
#[cfg(test)]
mod certificate_pairs;
#[cfg(test)]
mod challenge_zone;
#[cfg(test)]
mod cloudflare;
#[cfg(test)]
mod cloudflare_list;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod database_lines;
#[cfg(test)]
mod dns_proofs;
#[cfg(test)]
mod errands;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fair_leases;
mod feed;
#[cfg(test)]
mod hostnames;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod many_jobs;
#[cfg(test)]
mod mass_revocation;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod ownership;
#[cfg(test)]
mod platform;
#[cfg(test)]
mod predecessors;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod replacement;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod sites;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod support;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod tickets;
#[cfg(test)]
mod upload;
#[cfg(test)]
mod upload_refusals;
#[cfg(test)]
mod verification;
#[cfg(test)]
mod verification_backlog;
#[cfg(test)]
mod watch;
