//! Protobuf's wire format, as far as a page of metrics needs it (the "Encoding" chapter of protobuf's guides).
//!
//! Written straight into the page: making messages first, with a text of its own for every label, took longer than
//! everything else about a page.

/// An integer of seven bits a byte, the lowest first.
pub(super) fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A field of `uint64`, `uint32`, an enumeration, or an `int64` that is not negative.
pub(super) fn unsigned(out: &mut Vec<u8>, field: u32, number: u64) {
    key(out, field, VARINT);
    varint(out, number);
}

/// A field of `sint64` or `sint32`.
pub(super) fn signed(out: &mut Vec<u8>, field: u32, number: i64) {
    key(out, field, VARINT);
    varint(out, zigzag(number));
}

/// A field of `double`.
pub(super) fn double(out: &mut Vec<u8>, field: u32, number: f64) {
    key(out, field, FIXED64);
    out.extend_from_slice(&number.to_le_bytes());
}

/// A field of `string`.
pub(super) fn string(out: &mut Vec<u8>, field: u32, text: &str) {
    key(out, field, DELIMITED);
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A field of a message, or of packed integers, whose content `fill` writes.
pub(super) fn nested(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, DELIMITED);
    let start = out.len();
    // Most are short: one byte says their length. For others the content moves on.
    out.push(0);
    fill(out);
    let length = out.len() - start - 1;
    if length <= 0x7f {
        out[start] = length as u8;
        return;
    }
    let mut head = Vec::with_capacity(WIDEST);
    varint(&mut head, length as u64);
    out.splice(start..=start, head);
}

/// Small numbers of either sign as small numbers.
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The longest [`varint`], in bytes.
const WIDEST: usize = 10;

// Wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;

fn key(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// One field of each type, as a library reads it.
    #[derive(Clone, PartialEq, Message)]
    struct Each {
        #[prost(uint64, optional, tag = "1")]
        unsigned: Option<u64>,
        #[prost(sint64, optional, tag = "16")]
        signed: Option<i64>,
        #[prost(double, optional, tag = "3")]
        double: Option<f64>,
        #[prost(string, optional, tag = "4")]
        string: Option<String>,
        #[prost(message, optional, boxed, tag = "5")]
        nested: Option<Box<Each>>,
    }

    proptest! {
        #[test]
        fn a_library_reads_what_was_written(
            integer in any::<u64>(),
            difference in any::<i64>(),
            level in -1e300_f64..1e300,
            label in ".{0,40}",
            long in prop::collection::vec(any::<char>(), 0..6_000),
        ) {
            let long: String = long.into_iter().collect();
            let mut out = Vec::new();
            unsigned(&mut out, 1, integer);
            nested(&mut out, 5, |out| {
                string(out, 4, &long);
                nested(out, 5, |out| string(out, 4, &label));
            });
            signed(&mut out, 16, difference);
            double(&mut out, 3, level);
            let innermost = Each { string: Some(label), ..Each::default() };
            let inner = Each {
                string: Some(long),
                nested: Some(Box::new(innermost)),
                ..Each::default()
            };
            let whole = Each {
                unsigned: Some(integer),
                signed: Some(difference),
                double: Some(level),
                string: None,
                nested: Some(Box::new(inner)),
            };
            prop_assert_eq!(Each::decode(&out[..]).unwrap(), whole);
        }
    }
}
