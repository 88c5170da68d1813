//! Words of others, fit to be shown. A pod's name, a key of a netconf, what the daemon says: none of them may end a line,
//! pass for a line of ours, or go on without end.

use std::fmt::Write;

/// At most `most` characters of a text, on one line.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    let mut characters = text.chars().map(|c| if is_shown(c) { c } else { ' ' });
    let mut short: String = characters.by_ref().take(most).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

/// At most `most` characters of a text in double quotes, as JSON has them: whoever reads it can tell what is the text and
/// what is not.
#[must_use]
pub fn quoted(text: &str, most: usize) -> String {
    let mut quoted = String::with_capacity(text.len().min(most) + 2);
    quoted.push('"');
    let mut characters = text.chars();
    for c in characters.by_ref().take(most) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if is_shown(c) => quoted.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // writing to a String cannot fail
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    if characters.next().is_some() {
        quoted.push('…');
    }
    quoted.push('"');
    quoted
}

/// Not a control character, and none that hides, ends a line, or turns the direction of what follows
/// (general categories Cc, Zl, Zp, and of Cf those that Unicode Technical Report 36 warns of).
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_however_it_is_written() {
        for c in [
            "\n",
            "\r",
            "\0",
            "\u{1b}[2J",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "\u{feff}",
        ] {
            let text = format!("a{c}b");
            let (cut, quoted) = (cut(&text, 100), quoted(&text, 100));
            for shown in [&cut, &quoted] {
                assert!(shown.chars().all(is_shown), "{shown:?}");
            }
            assert_eq!(
                serde_json::from_str::<String>(&quoted).unwrap(),
                text,
                "JSON reads it back"
            );
        }
        assert_eq!(quoted("say \"no\" \\", 100), r#""say \"no\" \\""#);
        assert_eq!(quoted("plain é", 100), "\"plain é\"");
    }

    #[test]
    fn not_without_end() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc…");
        assert_eq!(quoted("abcd", 3), "\"abc…\"");
        assert_eq!(cut(&"é".repeat(10_000), 5).chars().count(), 6, "characters, not bytes");
    }
}
