//! Patterns of topics, as members of consumer groups subscribe by them: the syntax of RE2, in which
//! Kafka reads them (RE2/J). A pattern stands for the topics whose whole name it matches.
//!
//! - Read here, so that the same patterns are good and bad as with Kafka, for the same reasons;
//!   matched by the `regex` crate, in a time that is linear in the name.
//! - Names of topics are ASCII: of every class only its ASCII part counts, so that no tables of
//!   Unicode are needed. What stands for nothing in ASCII matches nothing.
//! - Limits: [`TEXT_MAX`], [`COMPILED_MAX`], [`DEPTH_MAX`]. Java has none, but its memory.
//!
//! Source: RE2's syntax; `TopicRegexResolver` of Kafka.

mod class;
mod parse;
#[cfg(test)]
mod tests;

use class::Set;

/// Longest pattern, in bytes.
pub const TEXT_MAX: usize = 4096;
/// Most bytes that a pattern may take when it is compiled.
pub const COMPILED_MAX: usize = 1 << 20;
/// Most groups within groups.
pub const DEPTH_MAX: usize = 100;

/// What a pattern says.
enum Node {
    /// One character out of some.
    One(Set),
    /// One after the other.
    All(Vec<Node>),
    /// One of these.
    Any(Vec<Node>),
    /// So many times, or more when there is no end.
    Times(Box<Node>, u32, Option<u32>),
    /// A place, not a character.
    At(Place),
}

#[derive(Clone, Copy)]
enum Place {
    Start,
    End,
    WordEdge,
    NoWordEdge,
}

/// A pattern that is compiled.
pub struct Pattern(regex::Regex);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in the words of RE2/J; or that it is beyond a limit.
    pub fn new(text: &str) -> Result<Pattern, &'static str> {
        if text.len() > TEXT_MAX {
            return Err("too long");
        }
        let node = parse::parse(text)?;
        let mut written = String::from(r"\A");
        write(&node, &mut written);
        written.push_str(r"\z");
        let mut builder = regex::RegexBuilder::new(&written);
        builder.unicode(false).size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX);
        // Groups of ours stand around those of the pattern.
        builder.nest_limit(u32::MAX);
        builder.build().map(Pattern).map_err(|_| "too large")
    }

    /// Whether it stands for the topic of this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// Writes a pattern in the syntax of the `regex` crate, in which each part stands by itself.
fn write(node: &Node, out: &mut String) {
    match node {
        Node::One(set) => set.write(out),
        Node::All(nodes) => nodes.iter().for_each(|node| write(node, out)),
        Node::Any(nodes) => {
            out.push_str("(?:");
            for (at, node) in nodes.iter().enumerate() {
                if at > 0 {
                    out.push('|');
                }
                write(node, out);
            }
            out.push(')');
        }
        Node::Times(node, least, most) => {
            out.push_str("(?:");
            write(node, out);
            let most = most.map(|most| most.to_string()).unwrap_or_default();
            out.push_str(&format!("){{{least},{most}}}"));
        }
        Node::At(place) => out.push_str(match place {
            Place::Start => r"\A",
            Place::End => r"\z",
            Place::WordEdge => r"\b",
            Place::NoWordEdge => r"\B",
        }),
    }
}
