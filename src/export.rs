//! What leaves Vestibule for other tools.

pub mod accesslog;
pub mod exposition;
pub mod otlp;
