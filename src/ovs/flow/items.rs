//! Lists as Open vSwitch writes them: `name`, `name(arguments)`, `name=value` and `name:value`, between commas.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// All of it.
    pub text: &'a str,
    /// What stands first. Of an output it is the port.
    pub name: &'a str,
    /// What follows, with what separates it from the name; empty when nothing does.
    rest: &'a str,
}

impl<'a> Item<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.trim();
        let end = text.find(['(', ':', '=']).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        Self { text, name, rest }
    }

    /// What is in the parentheses of `name(…)`; also when the last one is missing.
    #[must_use]
    pub fn arguments(&self) -> Option<&'a str> {
        let arguments = self.rest.strip_prefix('(')?;
        Some(arguments.strip_suffix(')').unwrap_or(arguments))
    }

    /// What follows the `=`.
    #[must_use]
    pub fn value(&self) -> Option<&'a str> {
        self.rest.strip_prefix('=')
    }

    /// What follows the `:`.
    #[must_use]
    pub fn attribute(&self) -> Option<&'a str> {
        self.rest.strip_prefix(':')
    }

    /// Whether nothing follows the name.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The items of a list; see [`items`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    text: &'a str,
    at: usize,
}

/// The items of a list, without what is nested in them. A parenthesis too many ends nothing, and one too few ends with the
/// text.
#[must_use]
pub fn items(text: &str) -> Items<'_> {
    Items { text, at: 0 }
}

impl Items<'_> {
    /// Where the next item begins.
    pub(super) fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
            let mut depth = 0_usize;
            let comma = rest.bytes().position(|byte| {
                match byte {
                    b'(' | b'{' => depth += 1,
                    b')' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                byte == b',' && depth == 0
            });
            let end = comma.unwrap_or(rest.len());
            self.at += end + usize::from(comma.is_some());
            let text = rest.get(..end).unwrap_or_default();
            if !text.trim().is_empty() {
                return Some(Item::new(text));
            }
        }
    }
}
