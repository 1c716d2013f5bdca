//! The control plane: hostnames API, store, internal CA and feed server.
