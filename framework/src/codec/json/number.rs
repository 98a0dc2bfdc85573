//! Numbers: their grammar, and the values of those that are exact in a machine word.

use super::reader::{Reader, Unsure};

/// Digits of which every number fits a `u64`.
const WORD_DIGITS: usize = 19;
/// Digits of which every number is a whole `f64`, as is the power of ten that it is divided by: the quotient of two exact
/// numbers is rounded once and therefore the same however it is come to.
const EXACT_DIGITS: usize = 15;

static POWERS: [f64; EXACT_DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// A number as serde_json hands it to a type.
pub(super) enum Number {
    /// Not negative, and whole.
    Unsigned(u64),
    /// Negative, and whole.
    Signed(i64),
    /// With a fraction, or negative zero.
    Float(f64),
    /// Well formed, with an exponent or more digits than are sure to be exact: serde_json has to say what it is.
    Long,
}

impl Reader<'_> {
    /// Reads the number at the place and goes past it.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number, Unsure> {
        let Some(short) = self.eight().and_then(Short::at) else {
            return self.any_number();
        };
        self.at += short.length();
        Ok(match short.fraction {
            0 => Number::Unsigned(short.digits()),
            fraction => Number::Float(short.digits() as f64 / POWERS[fraction]),
        })
    }

    #[inline(never)]
    fn any_number(&mut self) -> Result<Number, Unsure> {
        let negative = self.byte() == b'-';
        self.at += usize::from(negative);
        let first = self.at;
        let mut digits = 0;
        self.integer(|digit| digits = add(digits, digit))?;
        let whole = self.at - first;
        let mut fraction = 0;
        if self.byte() == b'.' {
            self.at += 1;
            fraction = self.digits(|digit| digits = add(digits, digit))?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.exponent()?;
            return Ok(Number::Long);
        }
        Ok(match (negative, fraction) {
            (false, 0) if whole <= WORD_DIGITS => Number::Unsigned(digits),
            (true, 0) if whole < WORD_DIGITS && digits > 0 => Number::Signed(-(digits as i64)),
            (true, 0) if digits == 0 && whole == 1 => Number::Float(-0.0),
            (_, 1..) if whole + fraction <= EXACT_DIGITS => {
                let float = digits as f64 / POWERS[fraction];
                Number::Float(if negative { -float } else { float })
            }
            _ => Number::Long,
        })
    }

    /// The eight bytes at the place.
    #[inline(always)]
    fn eight(&self) -> Option<&[u8; 8]> {
        self.text.as_bytes().get(self.at..)?.first_chunk()
    }

    /// Goes past the number at the place.
    #[inline(always)]
    pub(super) fn skip_number(&mut self) -> Result<(), Unsure> {
        if self.text.as_bytes().get(self.at + 1) == Some(&b',') && self.byte() != b'-' {
            self.at += 1;
            return Ok(());
        }
        if let Some(short) = self.eight().and_then(Short::at) {
            self.at += short.length();
            return Ok(());
        }
        self.skip_any_number()
    }

    #[inline(never)]
    fn skip_any_number(&mut self) -> Result<(), Unsure> {
        self.at += usize::from(self.byte() == b'-');
        self.integer(|_| ())?;
        if self.byte() == b'.' {
            self.at += 1;
            self.digits(|_| ())?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.exponent()?;
        }
        Ok(())
    }

    /// One zero, or digits that do not begin with one.
    #[inline]
    fn integer(&mut self, take: impl FnMut(u8)) -> Result<(), Unsure> {
        let begins_with_zero = self.byte() == b'0';
        if self.digits(take)? > 1 && begins_with_zero {
            return Err(self.give_up());
        }
        Ok(())
    }

    /// At least one digit; how many there are.
    #[inline]
    fn digits(&mut self, mut take: impl FnMut(u8)) -> Result<usize, Unsure> {
        let from = self.at;
        loop {
            let digit = self.byte().wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            take(digit);
            self.at += 1;
        }
        if self.at == from {
            return Err(self.give_up());
        }
        Ok(self.at - from)
    }

    fn exponent(&mut self) -> Result<(), Unsure> {
        self.at += 1;
        self.at += usize::from(matches!(self.byte(), b'+' | b'-'));
        self.digits(|_| ()).map(drop)
    }
}

/// A number of at most seven bytes, digits with or without a point between them: what most numbers are.
struct Short {
    /// Its bytes and the one behind it, the first in the lowest byte, with the bits of `0` turned: a digit is its value.
    turned: u64,
    /// Digits before the point, and behind it.
    whole: usize,
    fraction: usize,
}

const ONES: u64 = u64::MAX / 0xff;

impl Short {
    /// The number that eight bytes begin with.
    #[inline(always)]
    fn at(bytes: &[u8; 8]) -> Option<Self> {
        let turned = u64::from_le_bytes(*bytes) ^ (ONES * u64::from(b'0'));
        // What is no digit gets its high bit set; no sum is carried into the next byte.
        let others = (((turned & (ONES * 0x7f)) + ONES * (0x7f - 9)) | turned) & (ONES << 7);
        let place = |others: u64| others.trailing_zeros() as usize / 8;
        let whole = place(others);
        if whole > 7 || whole == 0 || (whole > 1 && bytes[0] == b'0') {
            return None;
        }
        let mut fraction = 0;
        let mut behind = bytes[whole];
        if behind == b'.' {
            let end = place(others & (others - 1));
            fraction = end - whole - 1;
            if end > 7 || fraction == 0 {
                return None;
            }
            behind = bytes[end];
        }
        (behind | 0x20 != b'e').then_some(Short {
            turned,
            whole,
            fraction,
        })
    }

    #[inline(always)]
    fn length(&self) -> usize {
        self.whole + usize::from(self.fraction > 0) + self.fraction
    }

    /// The number its digits make without the point.
    #[inline(always)]
    fn digits(&self) -> u64 {
        let before_point = (1 << (8 * self.whole)) - 1;
        let joined = self.turned & before_point | self.turned >> 8 & !before_point;
        let digits = if self.fraction == 0 {
            self.turned
        } else {
            joined
        };
        // The last digit goes to the highest byte, and zeros come before the first. Then pairs are joined to numbers
        // below 100, and four of those to one.
        let last = digits << (8 * (8 - self.whole - self.fraction));
        let pairs = last * 10 + (last >> 8);
        let upper = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
        let lower = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
        upper.wrapping_add(lower) >> 32
    }
}

/// Another digit at the end; what does not fit is of no use to [`Number`].
#[inline]
fn add(digits: u64, digit: u8) -> u64 {
    digits.wrapping_mul(10).wrapping_add(u64::from(digit))
}
