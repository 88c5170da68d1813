//! The one long answer that we ask for: a dump of flows is a text of some 450 bytes a flow, of which a node can have 100,000, in
//! one JSON string. It is taken apart while it comes, and what was handed on is forgotten.

/// What a line may have. A flow to all ports of a large switch has some ten thousand bytes.
const MAX_LINE: usize = 256 * 1024;

/// What the rest of the message may have: the call's number and an error's text.
const MAX_OUTER: usize = 64 * 1024;

/// A reply, of which the member `result`, a text, is given away line by line; what is around it is kept.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The message, with an empty text in place of the result.
    outer: Vec<u8>,
    depth: usize,
    place: Place,
    escape: Escape,
    /// The last text at the outermost level: a key, if a colon follows.
    word: Vec<u8>,
    /// Whether the next text is the result.
    awaits_result: bool,
    line: Vec<u8>,
    overlong: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    Text,
    Result,
}

/// Where in `\n` or `\u000a` we are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    /// Hexadecimal digits that came, and their value.
    Unicode(u8, u32),
}

impl Lines {
    /// Takes what came, and hands on each line that is complete. Gives back the message without its result once that is
    /// complete, and then wants no more.
    pub(super) fn push(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&str)) -> Result<Option<&[u8]>, String> {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = match self.place {
                Place::Result => self.in_result(bytes, each),
                Place::Text => {
                    self.in_text(byte)?;
                    rest
                }
                Place::Between => {
                    if self.between(byte)? {
                        return Ok(Some(&self.outer));
                    }
                    rest
                }
            };
        }
        Ok(None)
    }

    /// How many lines were left out as they were too long.
    pub(super) fn overlong(&self) -> u64 {
        self.overlong
    }

    /// Whether the message ends with this byte.
    fn between(&mut self, byte: u8) -> Result<bool, String> {
        match byte {
            b'{' => self.depth += 1,
            b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => return Ok(false),
            _ if self.depth == 0 => return Err(format!("byte {byte:#04x} where a message should begin")),
            b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            b':' if self.depth == 1 => self.awaits_result = self.word == b"result",
            b',' if self.depth == 1 => self.awaits_result = false,
            b'"' if self.depth == 1 && self.awaits_result => {
                self.keep(b'"')?;
                self.keep(b'"')?;
                self.awaits_result = false;
                self.place = Place::Result;
                return Ok(false);
            }
            b'"' => {
                self.word.clear();
                self.place = Place::Text;
            }
            _ => {}
        }
        self.keep(byte)?;
        Ok(self.depth == 0)
    }

    fn in_text(&mut self, byte: u8) -> Result<(), String> {
        self.keep(byte)?;
        match (self.escape, byte) {
            (Escape::None, b'"') => self.place = Place::Between,
            (Escape::None, b'\\') => self.escape = Escape::Begun,
            (Escape::None, _) => self.word.push(byte),
            // no key of the protocol has one
            _ => self.escape = Escape::None,
        }
        Ok(())
    }

    /// Takes a piece of the result, and gives back what is left.
    fn in_result<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(&str)) -> &'a [u8] {
        if self.escape == Escape::None {
            let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let (plain, rest) = bytes.split_at(plain.unwrap_or(bytes.len()));
            self.add(plain);
            return match rest.split_first() {
                Some((b'"', rest)) => {
                    self.end_line(each);
                    self.place = Place::Between;
                    rest
                }
                Some((_, rest)) => {
                    self.escape = Escape::Begun;
                    rest
                }
                None => rest,
            };
        }
        let Some((&byte, rest)) = bytes.split_first() else {
            return bytes;
        };
        match (self.escape, byte) {
            (Escape::Begun, b'n') => self.end_line(each),
            (Escape::Begun, b'u') => {
                self.escape = Escape::Unicode(0, 0);
                return rest;
            }
            (Escape::Begun, b't') => self.add(b"\t"),
            (Escape::Begun, b'r' | b'b' | b'f') => self.add(b" "),
            (Escape::Unicode(digits, value), byte) => {
                let value = value << 4 | char::from(byte).to_digit(16).unwrap_or_default();
                if digits < 3 {
                    self.escape = Escape::Unicode(digits + 1, value);
                    return rest;
                }
                // ovs-vswitchd writes only control characters so; half of a surrogate pair is nothing by itself
                let c = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.add(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            (_, byte) => self.add(&[byte]),
        }
        self.escape = Escape::None;
        rest
    }

    /// Adds to the line, until it is one byte too long.
    fn add(&mut self, bytes: &[u8]) {
        let room = (MAX_LINE + 1).saturating_sub(self.line.len());
        self.line.extend(bytes.iter().take(room));
    }

    fn end_line(&mut self, each: &mut impl FnMut(&str)) {
        if self.line.len() > MAX_LINE {
            self.overlong += 1;
        } else if !self.line.is_empty() {
            each(&String::from_utf8_lossy(&self.line));
        }
        self.line.clear();
    }

    fn keep(&mut self, byte: u8) -> Result<(), String> {
        self.outer.push(byte);
        if self.outer.len() > MAX_OUTER {
            return Err(format!("a message of more than {MAX_OUTER} bytes beside its result"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines and what is left of a message that comes in pieces.
    fn take(message: &[u8], size: usize) -> Result<(Vec<String>, Option<String>, u64), String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in message.chunks(size) {
            let outer = lines.push(piece, &mut |line| found.push(line.to_owned()))?;
            if let Some(outer) = outer {
                let outer = String::from_utf8(outer.to_vec()).unwrap();
                return Ok((found, Some(outer), lines.overlong()));
            }
        }
        Ok((found, None, lines.overlong()))
    }

    #[test]
    fn pieces() {
        let message = r#" {"id":1,"error":null,"x":{"result":"no"},"result":"a \"b\"\\\n\n\u00e9\tc\nlast"}{"#;
        for size in 1..message.len() {
            let (lines, outer, overlong) = take(message.as_bytes(), size).unwrap();
            assert_eq!(lines, ["a \"b\"\\", "é\tc", "last"], "{size}");
            let outer = outer.unwrap();
            assert_eq!(
                outer, r#"{"id":1,"error":null,"x":{"result":"no"},"result":""}"#,
                "{size}"
            );
            assert_eq!(overlong, 0);
        }
    }

    #[test]
    fn other_messages() {
        let is = |text: &str, lines: &[&str]| {
            let (found, outer, _) = take(text.as_bytes(), 3).unwrap();
            assert_eq!(found, lines, "{text}");
            assert!(outer.is_some(), "{text}");
        };
        is(r#"{"error":"result","id":0,"result":null}"#, &[]);
        is(r#"{"error":"no\nsuch","id":0,"result":{"result":"x"}}"#, &[]);
        is(r#"{"method":"echo","params":["result:"],"id":"echo"}"#, &[]);
        is(r#"{"result":"\ud83d\ude00\u0000"}"#, &["\u{fffd}\u{fffd}\0"]);
        assert!(take(b"HTTP/1.1", 3).is_err());
        assert!(take(b"]", 3).is_err());
        assert_eq!(take(br#"{"result":"half"#, 3).unwrap().1, None);
        let invalid = take(b"{\"result\":\"a\xffb\"}", 2).unwrap();
        assert_eq!(invalid.0, ["a\u{fffd}b"]);
    }

    #[test]
    fn without_end() {
        let line = "x".repeat(MAX_LINE);
        let message = format!(r#"{{"result":"{line}\n{line}y\nz"}}"#);
        let (lines, outer, overlong) = take(message.as_bytes(), 4096).unwrap();
        assert_eq!((lines.len(), overlong), (2, 1));
        assert_eq!(lines.last().map(String::as_str), Some("z"));
        assert!(outer.is_some());
        let mut lines = Lines::default();
        let mut pushed = 0;
        let error = loop {
            pushed += 4096;
            assert!(pushed < 2 * MAX_OUTER);
            match lines.push(&[b'{'; 4096], &mut |_| ()) {
                Ok(found) => assert_eq!(found, None),
                Err(error) => break error,
            }
        };
        assert!(error.contains("more than"), "{error}");
    }
}
