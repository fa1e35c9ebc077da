//! The floor that everything with a socket stands on: connecting, names, TLS, certificates, and the HTTP/1.1 client codec.

pub mod address;
pub mod certificate;
pub mod challenge;
pub mod client;
pub mod connect;
pub mod dns;
pub mod examine;
pub mod http1;
pub mod mark;
pub mod post;
pub mod revocation;
pub mod stream;
pub mod tls;
