//! The PoP edge: TLS front, pingora proxy, feed poller and admin listener.
