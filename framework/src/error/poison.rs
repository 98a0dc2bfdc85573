//! The record that user code panicked at.

use std::fmt;

use crate::connect::TopicPartition;

/// Bytes of a key that a message shows at most.
const SHOWN: usize = 64;

/// A record during which user code panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoisonRecord {
    /// Topic and partition of the record.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its key's bytes: `None` if it has none, or could not be read again.
    pub key: Option<Vec<u8>>,
    /// How sure it is that the record is the reason.
    pub blame: Blame,
}

/// How sure it is that a record is the reason for a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nothing else was being processed: without the record, the panic does not come.
    Alone,
    /// It is the last of several records whose common result was being processed, such as a row of a table.
    LastOfSeveral,
    /// It was being replayed in an epoch that had been committed with it: it went well then.
    Replayed,
}

impl fmt::Display for PoisonRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, offset {}", self.partition, self.offset)?;
        match &self.key {
            Some(key) => write!(f, ", key {}", shown(key)),
            None => Ok(()),
        }
    }
}

/// A key as text where it is text, otherwise in hexadecimal; the beginning of a long one.
fn shown(key: &[u8]) -> String {
    let start = &key[..key.len().min(SHOWN)];
    let more = if start.len() < key.len() { "..." } else { "" };
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        // Cut in the middle of a character.
        Err(error) if !more.is_empty() && error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text.filter(|text| !text.chars().any(char::is_control)) {
        Some(text) => format!("`{text}{more}`"),
        None => {
            let digits: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{digits}{more}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_text_where_they_are_text() {
        assert_eq!(shown(b"key-2"), "`key-2`");
        assert_eq!(shown(b""), "``");
        assert_eq!(shown(&7_u32.to_be_bytes()), "0x00000007");
        assert_eq!(shown(&[0xff, 0x41]), "0xff41");
        assert_eq!(
            shown("é".repeat(40).as_bytes()),
            format!("`{}...`", "é".repeat(32))
        );
        let odd = "a".to_owned() + &"é".repeat(40);
        assert_eq!(shown(odd.as_bytes()), format!("`a{}...`", "é".repeat(31)));
    }
}
