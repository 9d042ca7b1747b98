//! Statements with places to fill in.

/// A statement from a `.sql` file with `N` named places in braces.
///
/// [`Template::new`] belongs into a constant: then a place without a name, or a name without a
/// place, does not compile.
#[derive(Clone, Copy, Debug)]
pub struct Template<const N: usize> {
    text: &'static str,
    names: [&'static str; N],
}

impl<const N: usize> Template<N> {
    /// A template whose places are `names`, in the order in which [`Template::fill`] takes their
    /// values.
    pub const fn new(text: &'static str, names: [&'static str; N]) -> Self {
        let bytes = text.as_bytes();
        let mut used = [false; N];
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] == b'{' {
                let mut known = false;
                let mut index = 0;
                while index < N {
                    if is_place(bytes, at, names[index].as_bytes()) {
                        used[index] = true;
                        known = true;
                    }
                    index += 1;
                }
                assert!(known, "a place of the template has no name");
            }
            at += 1;
        }
        let mut index = 0;
        while index < N {
            assert!(used[index], "a name has no place in the template");
            index += 1;
        }
        Self { text, names }
    }

    /// The statement with these values, put in as they are: each must be quoted for its place. A
    /// value is never looked into for places.
    pub fn fill(&self, values: [&str; N]) -> String {
        let mut statement = String::new();
        let mut rest = self.text.trim_end();
        while let Some((before, after)) = rest.split_once('{') {
            statement.push_str(before);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            statement.extend(
                self.names
                    .iter()
                    .zip(values)
                    .filter(|(known, _)| **known == name)
                    .map(|(_, value)| value),
            );
            rest = after;
        }
        statement.push_str(rest);
        statement
    }
}

/// Returns true if `{name}` is at this position.
const fn is_place(text: &[u8], at: usize, name: &[u8]) -> bool {
    if text.len() < at + name.len() + 2 || text[at + name.len() + 1] != b'}' {
        return false;
    }
    let mut index = 0;
    while index < name.len() {
        if text[at + 1 + index] != name[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn every_place_is_filled_and_values_are_left_alone() {
        const GRANT: Template<2> =
            Template::new("GRANT {role} TO {member} -- {role}\n", ["role", "member"]);
        assert_eq!(
            GRANT.fill(["{member}", "b"]),
            "GRANT {member} TO b -- {member}"
        );
    }

    #[test]
    #[should_panic(expected = "a place of the template has no name")]
    fn an_unknown_place_is_refused() {
        Template::new("GRANT {role} TO {member}", ["role"]);
    }

    #[test]
    #[should_panic(expected = "a name has no place in the template")]
    fn an_unused_name_is_refused() {
        Template::new("GRANT {role}", ["role", "member"]);
    }
}
