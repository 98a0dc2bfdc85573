//! Durations as people write them.

use std::time::Duration;

/// Reads `100ms`, `10s`, `10m`, `1h` or `7d`.
///
/// # Errors
/// No number, no unit, or more milliseconds than fit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a duration; write it as 100ms, 10s, 10m, 1h or 7d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refused())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused()),
    };
    // Event times are signed 64-bit milliseconds: a longer span could not be added to one.
    match number.checked_mul(milliseconds) {
        Some(span) if span <= i64::MAX as u64 / 4 => Ok(Duration::from_millis(span)),
        _ => Err(format!(
            "`{text}` is longer than any span of time that can be told apart"
        )),
    }
}
