//! JSON objects out of a byte stream: OVSDB and unixctl put nothing between them (RFC 7047, section 4).

use serde_json::Value;

/// What one message may have. A node has some hundred ports, and we ask for a few columns of a few rows.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// How much is read at once.
const ROOM: usize = 16 * 1024;

/// Bytes that came, and how far they were looked at: each is looked at once, so that a peer that sends a large message in
/// small pieces costs no more than one that sends it at once.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Frames {
    /// Where what comes is to be appended, with some room.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(ROOM);
        &mut self.bytes
    }

    /// The next message, if all of it has come.
    pub(super) fn next(&mut self) -> Result<Option<Value>, String> {
        let fresh = self.bytes.iter().enumerate().skip(self.scanned);
        let mut end = None;
        for (at, byte) in fresh {
            self.scanned = at + 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' if self.depth > 0 => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' => self.depth += 1,
                b'[' if self.depth > 0 => self.depth += 1,
                b'}' | b']' if self.depth > 1 => self.depth -= 1,
                b'}' if self.depth == 1 => {
                    self.depth = 0;
                    end = Some(at + 1);
                    break;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if self.depth > 0 => {}
                other => return Err(format!("byte {other:#04x} where a message should begin")),
            }
        }
        let Some(end) = end else {
            return if self.bytes.len() > MAX_MESSAGE {
                Err(format!("a message of more than {MAX_MESSAGE} bytes"))
            } else {
                Ok(None)
            };
        };
        let rest = self.bytes.split_off(end);
        let message = std::mem::replace(&mut self.bytes, rest);
        self.scanned = 0;
        serde_json::from_slice(&message)
            .map(Some)
            .map_err(|why| format!("no JSON: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages in a text that comes in pieces of `size` bytes.
    fn split(text: &str, size: usize) -> Result<Vec<String>, String> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            frames.tail().extend_from_slice(piece);
            while let Some(message) = frames.next()? {
                found.push(message.to_string());
            }
        }
        Ok(found)
    }

    #[test]
    fn pieces_and_neighbours() {
        let text = " {\"a\":[{\"b\":\"}]\\\"{\"}]}{\"c\":\"\\\\\"}\n{}";
        for size in 1..=text.len() {
            let found = split(text, size).unwrap();
            assert_eq!(
                found,
                ["{\"a\":[{\"b\":\"}]\\\"{\"}]}", "{\"c\":\"\\\\\"}", "{}"],
                "{size}"
            );
        }
        assert_eq!(split("{\"half\": [1, 2", 3).unwrap(), [""; 0]);
    }

    #[test]
    fn garbage() {
        for text in [
            "HTTP/1.1 200",
            "[1]",
            "\0",
            "}",
            "]",
            "\"x\"",
            "{]}",
            "{\"a\":}",
            "{\"a\":1]}",
            "{} x",
            "{\"\u{1}\":1}",
        ] {
            assert!(split(text, 5).is_err(), "{text:?}");
        }
        let mut bytes = Frames::default();
        bytes.tail().extend_from_slice(b"{\"a\":\"\xff\"}");
        assert!(bytes.next().is_err());
        // serde_json's limit; ours would only be memory
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        assert!(split(&deep, 100).is_err());
    }

    #[test]
    fn endless() {
        let mut frames = Frames::default();
        frames.tail().extend_from_slice(b"{\"a\":\"");
        let mut pushed = 0;
        let error = loop {
            frames.tail().extend_from_slice(&[b'x'; ROOM]);
            pushed += ROOM;
            match frames.next() {
                Ok(None) => assert!(pushed <= MAX_MESSAGE),
                Ok(Some(message)) => panic!("{message}"),
                Err(error) => break error,
            }
        };
        assert!(error.contains("more than"), "{error}");
    }
}
