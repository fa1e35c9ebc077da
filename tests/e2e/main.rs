//! The real binary, from outside.

mod terminal;
mod top;
