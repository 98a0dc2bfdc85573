//! Which values are never printed, and a way to print the others.

use std::collections::BTreeMap;
use std::fmt;

const MARKS: [&str; 7] = [
    "password",
    "secret",
    "key.pem",
    "keystore.key",
    "jaas",
    "token",
    "oauthbearer.config",
];

/// Whether a setting of this name may hold a secret, so that its value is never shown.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    MARKS.iter().any(|mark| name.contains(mark))
}

/// Properties for `Debug`, with the values of secrets replaced.
pub(super) struct Veiled<'a>(pub(super) &'a BTreeMap<String, String>);

impl fmt::Debug for Veiled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(name, value)| {
            let value = if is_secret(name) { "[hidden]" } else { value };
            (name, value)
        });
        f.debug_map().entries(shown).finish()
    }
}
