//! `make bench`: the load comparison. See `load.rs`.
#![allow(missing_docs, reason = "a benchmark")]

use std::process::ExitCode;

// As in the product: the floors are of the same stack.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    landfall_benches::load::main().await
}
