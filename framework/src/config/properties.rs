//! Kafka's format of properties, which is Java's: `name=value`, `name: value` or `name value` a line,
//! `#` and `!` begin comments, a backslash at the end continues a line and escapes within it.

use std::iter::Peekable;
use std::str::Chars;

/// A line that is not of the format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The line's number, from 1.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) reason: String,
}

/// The names and values of a properties file, in its order.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let mut settings = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_in_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        let setting = split(&logical).map_err(|reason| Malformed {
            line: index + 1,
            reason,
        })?;
        settings.push(setting);
    }
    Ok(settings)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn split(line: &str) -> Result<(String, String), String> {
    let mut rest = line.chars().peekable();
    let name = unescape(&mut rest, |c| c == '=' || c == ':' || is_blank(c))?;
    while rest.next_if(|c| is_blank(*c)).is_some() {}
    if rest.next_if(|c| *c == '=' || *c == ':').is_some() {
        while rest.next_if(|c| is_blank(*c)).is_some() {}
    }
    let value = unescape(&mut rest, |_| false)?;
    if name.is_empty() {
        Err("a value without a name".into())
    } else {
        Ok((name, value))
    }
}

fn unescape(rest: &mut Peekable<Chars<'_>>, ends: impl Fn(char) -> bool) -> Result<String, String> {
    let mut text = String::new();
    while let Some(c) = rest.next_if(|c| !ends(*c)) {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match rest.next() {
            Some('t') => text.push('\t'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('f') => text.push('\x0c'),
            Some('u') => text.push(unicode(rest)?),
            Some(other) => text.push(other),
            None => {}
        }
    }
    Ok(text)
}

fn unicode(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let high = unit(rest)?;
    let units = if (0xd800..0xdc00).contains(&high) && rest.next_if_eq(&'\\').is_some() {
        if rest.next() != Some('u') {
            return Err("the first half of a \\u pair without its second".into());
        }
        vec![high, unit(rest)?]
    } else {
        vec![high]
    };
    let text =
        String::from_utf16(&units).map_err(|_| "\\u escapes that are no character".to_owned())?;
    text.chars()
        .next()
        .ok_or_else(|| "\\u escapes that are no character".to_owned())
}

fn unit(rest: &mut Peekable<Chars<'_>>) -> Result<u16, String> {
    let digits: String = rest.by_ref().take(4).collect();
    let valid = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u16::from_str_radix(&digits, 16) {
        Ok(unit) if valid => Ok(unit),
        _ => Err("\\u needs four hexadecimal digits".into()),
    }
}
