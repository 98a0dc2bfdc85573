//! Values that a type has no use for: gone past with their grammar checked, and nothing made of them.

use super::reader::{Reader, Unsure};

/// How many containers are skipped within one another, a bit each. serde_json skips any number.
const DEPTH: u32 = u64::BITS;

impl Reader<'_> {
    /// Goes past the next value.
    #[inline(always)]
    pub(super) fn skip_value(&mut self) -> Result<(), Unsure> {
        match self.byte() {
            b'"' => {
                self.at += 1;
                self.skip_string().map(drop)
            }
            b'0'..=b'9' => self.skip_number(),
            _ => self.skip_other(),
        }
    }

    /// Goes past white space and a value.
    #[inline(never)]
    fn skip_other(&mut self) -> Result<(), Unsure> {
        match self.token() {
            b'[' | b'{' => self.skip_container(),
            other => self.skip_scalar(other),
        }
    }

    fn skip_scalar(&mut self, first: u8) -> Result<(), Unsure> {
        match first {
            b'"' => {
                self.at += 1;
                self.skip_string().map(drop)
            }
            b'0'..=b'9' | b'-' => self.skip_number(),
            b'n' => self.literal(b"null"),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            _ => Err(self.give_up()),
        }
    }

    /// Goes past the container at the place, without recursion.
    fn skip_container(&mut self) -> Result<(), Unsure> {
        let mut open = Open {
            objects: 0,
            count: 0,
        };
        loop {
            match self.token() {
                first @ (b'[' | b'{') if open.count < DEPTH => {
                    self.at += 1;
                    open.push(first == b'{');
                    if self.token() != open.end() {
                        if open.is_object() {
                            self.skip_key()?;
                        }
                        continue;
                    }
                    self.at += 1;
                    open.pop();
                }
                other => self.skip_scalar(other)?,
            }
            loop {
                if open.count == 0 {
                    return Ok(());
                }
                match self.token() {
                    b',' => {
                        self.at += 1;
                        if open.is_object() {
                            self.skip_key()?;
                        }
                        break;
                    }
                    end if end == open.end() => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return Err(self.give_up()),
                }
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), Unsure> {
        self.expect(b'"')?;
        self.skip_string()?;
        self.expect(b':')
    }
}

/// The containers that are open, the innermost one in the lowest bit.
struct Open {
    objects: u64,
    count: u32,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        self.objects = self.objects << 1 | u64::from(is_object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.count -= 1;
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn end(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }
}
