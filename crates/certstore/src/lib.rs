//! The lock-free certificate store and the rustls resolver.
