//! A place in a JSON text, and what is read there byte by byte.
//!
//! Reading either comes to what serde_json would come to, or gives up. That it gave up is remembered, because a type may
//! take an error for an answer and go on (`unwrap_or_default`): what it makes of that does not count either.

use std::fmt;

use serde::de;
use serde_json::de::StrRead;

use super::scan::Stops;

/// How many containers serde_json reads within one another.
const DEPTH: u8 = 127;

/// Nothing is said of the text: serde_json has to read it.
#[derive(Debug)]
pub(super) struct Unsure;

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not read; serde_json says why")
    }
}

impl std::error::Error for Unsure {}

impl de::Error for Unsure {
    /// Drops the message unformatted: serde_json's counts.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Unsure
    }
}

/// A string between its quotes, which the place was behind the first of and is behind the second of now.
pub(super) enum Text<'de> {
    /// As it stands in the text.
    Plain(&'de str),
    /// Escapes in it are well formed, and still have to be replaced.
    Escaped,
}

/// A place in a JSON text.
pub(super) struct Reader<'de> {
    pub(super) text: &'de str,
    pub(super) at: usize,
    /// How many containers may still be opened.
    pub(super) depth: u8,
    stops: Stops,
    gave_up: bool,
}

impl<'de> Reader<'de> {
    #[inline]
    pub(super) fn new(text: &'de str) -> Self {
        Reader {
            text,
            at: 0,
            depth: DEPTH,
            stops: Stops::new(text.as_bytes()),
            gave_up: false,
        }
    }

    /// Whether all that was read counts, and nothing but white space follows.
    #[inline]
    pub(super) fn is_done(&mut self) -> bool {
        self.token();
        self.at == self.text.len() && !self.gave_up
    }

    #[cold]
    pub(super) fn give_up(&mut self) -> Unsure {
        self.gave_up = true;
        Unsure
    }

    /// Remembers that a type has refused what it was given.
    #[inline]
    pub(super) fn noted<T>(&mut self, result: Result<T, Unsure>) -> Result<T, Unsure> {
        result.map_err(|_| self.give_up())
    }

    /// The byte at the place; 0, which JSON has nowhere, behind the end.
    #[inline]
    pub(super) fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Whether these two bytes stand at a place.
    #[inline(always)]
    pub(super) fn stands_at(&self, at: usize, first: u8, second: u8) -> bool {
        let bytes = self.text.as_bytes();
        bytes.get(at) == Some(&first) && bytes.get(at + 1) == Some(&second)
    }

    /// Goes to the next byte that is no white space and returns it, 0 behind the end.
    #[inline]
    pub(super) fn token(&mut self) -> u8 {
        let byte = self.byte();
        if byte > b' ' {
            return byte;
        }
        self.skip_space();
        self.byte()
    }

    #[inline(never)]
    fn skip_space(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Goes past this byte, which must be the next that is no white space.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Unsure> {
        if self.token() != byte {
            return Err(self.give_up());
        }
        self.at += 1;
        Ok(())
    }

    /// Goes past these bytes, which must stand at the place.
    #[inline]
    pub(super) fn literal(&mut self, literal: &[u8]) -> Result<(), Unsure> {
        let rest = &self.text.as_bytes()[self.at..];
        if !rest.starts_with(literal) {
            return Err(self.give_up());
        }
        self.at += literal.len();
        Ok(())
    }

    /// Goes behind the first quote of an object's next entry; whether there is one.
    #[inline(always)]
    pub(super) fn next_entry(&mut self, is_first: bool) -> Result<bool, Unsure> {
        if self.stands_at(self.at, b',', b'"') {
            self.at += 2;
            return Ok(true);
        }
        self.next_entry_spaced(is_first)
    }

    /// Goes to another place, before or behind.
    pub(super) fn go(&mut self, at: usize) {
        self.at = at;
        self.stops.begin_at(self.text.as_bytes(), at);
    }

    #[inline(never)]
    fn next_entry_spaced(&mut self, is_first: bool) -> Result<bool, Unsure> {
        if self.token() == b'}' {
            return Ok(false);
        }
        if !is_first {
            self.expect(b',')?;
        }
        self.expect(b'"').map(|()| true)
    }

    /// The text between two places.
    #[inline]
    pub(super) fn between(&mut self, from: usize, to: usize) -> Result<&'de str, Unsure> {
        let text: &'de str = self.text;
        text.get(from..to).ok_or_else(|| self.give_up())
    }

    /// Where the plain text at the place stops.
    #[inline(always)]
    pub(super) fn stop(&mut self) -> usize {
        self.stops.next(self.text.as_bytes(), self.at)
    }

    /// Reads on from behind a string's first quote to behind its second.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'de>, Unsure> {
        let from = self.at;
        self.at = self.stop();
        if self.byte() == b'"' {
            let text = self.between(from, self.at)?;
            self.at += 1;
            return Ok(Text::Plain(text));
        }
        self.skip_escaped()?;
        Ok(Text::Escaped)
    }

    /// Goes from behind a string's first quote to behind its second; whether it is plain.
    #[inline(always)]
    pub(super) fn skip_string(&mut self) -> Result<bool, Unsure> {
        self.at = self.stop();
        if self.byte() == b'"' {
            self.at += 1;
            return Ok(true);
        }
        self.skip_escaped().map(|()| false)
    }

    /// Goes on from what stopped the plain text in a string to behind its second quote. As in serde_json, that four
    /// digits make a character is asked only by who reads the string.
    #[inline(never)]
    fn skip_escaped(&mut self) -> Result<(), Unsure> {
        loop {
            match self.byte() {
                b'"' => break,
                b'\\' => {}
                _ => return Err(self.give_up()),
            }
            self.at += 1;
            let digits = match self.byte() {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 0,
                b'u' => 4,
                _ => return Err(self.give_up()),
            };
            self.at += 1;
            for _ in 0..digits {
                if !self.byte().is_ascii_hexdigit() {
                    return Err(self.give_up());
                }
                self.at += 1;
            }
            self.at = self.stop();
        }
        self.at += 1;
        Ok(())
    }

    /// Has serde_json read what lies between two places: what is too rare to be read here.
    pub(super) fn by_serde_json<T>(
        &mut self,
        from: usize,
        to: usize,
        read: impl FnOnce(&mut serde_json::Deserializer<StrRead<'de>>) -> serde_json::Result<T>,
    ) -> Result<T, Unsure> {
        let part = self.between(from, to)?;
        let mut deserializer = serde_json::Deserializer::from_str(part);
        let value = read(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
        value.map_err(|_| self.give_up())
    }
}
