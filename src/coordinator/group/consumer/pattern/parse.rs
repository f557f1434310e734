//! RE2's syntax, with what RE2/J says when something is wrong.
//!
//! Groups are kept on a stack, each with what stands before it in its branch. Which groups capture,
//! and who is greedy, does not change what matches as a whole, and is not kept.

use super::class::{self, Set};
use super::{DEPTH_MAX, Node, Place};

const BAD_RANGE: &str = "invalid character class range";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_NAME: &str = "invalid named capture";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const NESTED_REPEAT: &str = "invalid nested repetition operator";
const BAD_COUNT: &str = "invalid repeat count";
const NO_BRACKET: &str = "missing closing ]";
const NO_PAREN: &str = "missing closing )";
const NO_OPERAND: &str = "missing argument to repetition operator";
const TRAILING: &str = "trailing backslash at end of expression";
const NAME_TWICE: &str = "duplicate capture group name";
/// What RE2/J says of a parenthesis that nobody opened.
const NOT_OPENED: &str = "regexp/syntax: internal error";

/// Most times that anything may be repeated.
const REPEAT_MAX: u32 = 1000;
/// Most digits of a number of times.
const DIGITS_MAX: usize = 8;

type Parsed<T> = Result<T, &'static str>;

/// What holds inside a group.
#[derive(Clone, Copy, Default)]
struct Flags {
    folds: bool,
    dot_is_all: bool,
}

/// A group that is not closed yet.
#[derive(Default)]
struct Open {
    /// The branches that are complete.
    branches: Vec<Node>,
    /// The branch that is being read.
    branch: Vec<Node>,
    /// What held where it began.
    flags: Flags,
}

impl Open {
    fn close(mut self) -> Node {
        let last = Node::All(self.branch);
        if self.branches.is_empty() {
            return last;
        }
        self.branches.push(last);
        Node::Any(self.branches)
    }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    flags: Flags,
    open: Vec<Open>,
    names: Vec<String>,
}

/// Reads a pattern.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Parsed<Node> {
    let mut parser = Parser {
        text: text.chars().collect(),
        at: 0,
        flags: Flags::default(),
        open: vec![Open::default()],
        names: Vec::new(),
    };
    let mut was_repeat = false;
    while let Some(next) = parser.peek() {
        was_repeat = parser.part(next, was_repeat)?;
    }
    let whole = parser.open.pop().expect("the outermost is never closed");
    if parser.open.is_empty() { Ok(whole.close()) } else { Err(NO_PAREN) }
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn pop(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn takes(&mut self, expected: char) -> bool {
        let is = self.peek() == Some(expected);
        self.at += usize::from(is);
        is
    }

    fn looks_at(&self, expected: &str) -> bool {
        let rest = &self.text[self.at..];
        let mut chars = expected.chars();
        chars.by_ref().zip(rest).all(|(a, b)| a == *b) && rest.len() >= expected.chars().count()
    }

    fn group(&mut self) -> &mut Open {
        self.open.last_mut().expect("the outermost is never closed")
    }

    fn push(&mut self, node: Node) {
        self.group().branch.push(node);
    }

    fn literal(&mut self, char: u32) {
        self.push(Node::One(Set::chars(char, char, self.flags.folds)));
    }

    /// Reads one part; tells whether it was a repetition.
    fn part(&mut self, next: char, was_repeat: bool) -> Parsed<bool> {
        match next {
            '\\' => return self.escaped().map(|()| false),
            '[' => {
                let set = self.class()?;
                self.push(Node::One(set));
                return Ok(false);
            }
            '(' => return self.group_begins().map(|()| false),
            '*' | '+' | '?' | '{' => {
                let Some((least, most)) = self.times()? else {
                    self.literal(u32::from(next));
                    self.at += 1;
                    // RE2/J takes a brace for a repetition also when it is none.
                    return Ok(true);
                };
                self.takes('?');
                if was_repeat {
                    return Err(NESTED_REPEAT);
                }
                let operand = self.group().branch.pop().ok_or(NO_OPERAND)?;
                self.push(Node::Times(Box::new(operand), least, most));
                return Ok(true);
            }
            _ => {}
        }
        self.at += 1;
        match next {
            '|' => {
                let group = self.group();
                let branch = std::mem::take(&mut group.branch);
                group.branches.push(Node::All(branch));
            }
            ')' => {
                let group = self.open.pop().expect("the outermost is never closed");
                if self.open.is_empty() {
                    return Err(NOT_OPENED);
                }
                self.flags = group.flags;
                self.push(group.close());
            }
            '^' => self.push(Node::At(Place::Start)),
            '$' => self.push(Node::At(Place::End)),
            '.' => {
                let line_ends = if self.flags.dot_is_all { Set::default() } else { Set::of(b"\n") };
                self.push(Node::One(line_ends.not()));
            }
            _ => self.literal(u32::from(next)),
        }
        Ok(false)
    }

    /// How many times; none when a brace is only a brace.
    fn times(&mut self) -> Parsed<Option<(u32, Option<u32>)>> {
        let start = self.at;
        let counted = match self.pop() {
            Some('*') => Some((0, None)),
            Some('+') => Some((1, None)),
            Some('?') => Some((0, Some(1))),
            _ => self.count()?,
        };
        if counted.is_none() {
            self.at = start;
        }
        Ok(counted)
    }

    /// What stands in braces.
    fn count(&mut self) -> Parsed<Option<(u32, Option<u32>)>> {
        let Some(least) = self.number() else { return Ok(None) };
        let mut most = Some(least);
        if self.takes(',') {
            most = match self.peek() {
                Some('}') => None,
                _ => match self.number() {
                    None => return Ok(None),
                    most => most,
                },
            };
        }
        if !self.takes('}') {
            return Ok(None);
        }
        let is_bad = |times: u32| times > REPEAT_MAX || times < least;
        if least > REPEAT_MAX || most.is_some_and(is_bad) {
            return Err(BAD_COUNT);
        }
        Ok(Some((least, most)))
    }

    /// A number; one that is too long is more than any may be.
    fn number(&mut self) -> Option<u32> {
        let start = self.at;
        while self.peek().is_some_and(|char| char.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.text[start..self.at].iter().collect();
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        let is_long = digits.len() > DIGITS_MAX;
        Some(if is_long { u32::MAX } else { digits.parse().unwrap_or(u32::MAX) })
    }

    fn begin(&mut self, flags: Flags) -> Parsed<()> {
        if self.open.len() > DEPTH_MAX {
            return Err("nested too deeply");
        }
        self.open.push(Open { flags, ..Open::default() });
        Ok(())
    }

    fn group_begins(&mut self) -> Parsed<()> {
        let flags = self.flags;
        if !self.looks_at("(?") {
            self.at += 1;
            return self.begin(flags);
        }
        for start in ["(?P<", "(?<"] {
            if self.looks_at(start) {
                self.at += start.len();
                self.name()?;
                return self.begin(flags);
            }
        }
        self.at += 2;
        self.flags()
    }

    fn name(&mut self) -> Parsed<()> {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|char| *char == '>').ok_or(BAD_NAME)?;
        let name: String = rest[..end].iter().collect();
        self.at += end + 1;
        let is_good = |char: char| char == '_' || char.is_ascii_alphanumeric();
        if name.is_empty() || !name.chars().all(is_good) {
            return Err(BAD_NAME);
        }
        if self.names.contains(&name) {
            return Err(NAME_TWICE);
        }
        self.names.push(name);
        Ok(())
    }

    /// Flags, for the rest of a group or for a group of their own.
    fn flags(&mut self) -> Parsed<()> {
        let before = self.flags;
        let (mut flags, mut sets, mut saw) = (before, true, false);
        while let Some(next) = self.pop() {
            match next {
                'i' => flags.folds = sets,
                's' => flags.dot_is_all = sets,
                // Names have no lines.
                'm' | 'U' => {}
                '-' if sets => {
                    (sets, saw) = (false, false);
                    continue;
                }
                ':' | ')' if sets || saw => {
                    if next == ':' {
                        self.begin(before)?;
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => return Err(BAD_PERL),
            }
            saw = true;
        }
        Err(BAD_PERL)
    }

    /// What stands behind a backslash, outside a class.
    fn escaped(&mut self) -> Parsed<()> {
        let start = self.at;
        self.at += 1;
        let place = match self.pop() {
            Some('A') => Some(Place::Start),
            Some('z') => Some(Place::End),
            Some('b') => Some(Place::WordEdge),
            Some('B') => Some(Place::NoWordEdge),
            Some('C') => return Err(BAD_ESCAPE),
            Some('Q') => {
                while self.peek().is_some() && !self.looks_at("\\E") {
                    let next = self.pop().expect("there is one");
                    self.literal(u32::from(next));
                }
                self.at = self.text.len().min(self.at + 2);
                return Ok(());
            }
            _ => None,
        };
        if let Some(place) = place {
            self.push(Node::At(place));
            return Ok(());
        }
        self.at = start;
        match self.named()? {
            Some(set) => self.push(Node::One(set)),
            None => {
                let char = self.escape()?;
                self.literal(char);
            }
        }
        Ok(())
    }

    /// A class with a name of Perl or Unicode.
    fn named(&mut self) -> Parsed<Option<Set>> {
        if self.looks_at("\\p") || self.looks_at("\\P") {
            return self.unicode().map(Some);
        }
        if self.peek() != Some('\\') {
            return Ok(None);
        }
        let set = self.text.get(self.at + 1).and_then(|letter| class::perl(*letter));
        self.at += if set.is_some() { 2 } else { 0 };
        Ok(set)
    }

    fn unicode(&mut self) -> Parsed<Set> {
        self.at += 1;
        let mut is_not = self.pop() == Some('P');
        let name = match self.pop().ok_or(BAD_RANGE)? {
            '{' => {
                let rest = &self.text[self.at..];
                let end = rest.iter().position(|char| *char == '}').ok_or(BAD_RANGE)?;
                let name = rest[..end].iter().collect();
                self.at += end + 1;
                name
            }
            letter => letter.to_string(),
        };
        let name = match name.strip_prefix('^') {
            Some(name) => {
                is_not = !is_not;
                name
            }
            None => &name,
        };
        let set = class::unicode(name, self.flags.folds).ok_or(BAD_RANGE)?;
        Ok(if is_not { set.not() } else { set })
    }

    /// A character behind a backslash.
    fn escape(&mut self) -> Parsed<u32> {
        self.at += 1;
        let next = self.pop().ok_or(TRAILING)?;
        let is_octal = |char: &char| ('0'..='7').contains(char);
        let control = match next {
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'x' => return self.hex(),
            '0'..='7' => {
                if next != '0' && !self.peek().is_some_and(|next| is_octal(&next)) {
                    return Err(BAD_ESCAPE);
                }
                self.at -= 1;
                let digits = self.text[self.at..].iter().take(3).take_while(|it| is_octal(it));
                let digits: Vec<u32> = digits.filter_map(|it| it.to_digit(8)).collect();
                self.at += digits.len();
                return Ok(digits.iter().fold(0, |value, digit| value * 8 + digit));
            }
            _ if next.is_ascii_alphanumeric() => return Err(BAD_ESCAPE),
            _ => u32::from(next),
        };
        Ok(control)
    }

    fn hex(&mut self) -> Parsed<u32> {
        if !self.takes('{') {
            let high = self.hex_digit()?.ok_or(BAD_ESCAPE)?;
            return Ok(high * 16 + self.hex_digit()?.ok_or(BAD_ESCAPE)?);
        }
        let mut value = self.hex_digit()?.ok_or(BAD_ESCAPE)?;
        while let Some(digit) = self.hex_digit()? {
            value = value * 16 + digit;
            if value > u32::from(char::MAX) {
                return Err(BAD_ESCAPE);
            }
        }
        Ok(value)
    }

    /// A digit; none at the closing brace.
    fn hex_digit(&mut self) -> Parsed<Option<u32>> {
        match self.pop() {
            Some('}') => Ok(None),
            next => next.and_then(|next| next.to_digit(16)).map(Some).ok_or(BAD_ESCAPE),
        }
    }

    /// A class in brackets.
    fn class(&mut self) -> Parsed<Set> {
        self.at += 1;
        let is_not = self.takes('^');
        let mut set = Set::default();
        let mut is_first = true;
        while is_first || self.peek() != Some(']') {
            is_first = false;
            if let Some(more) = self.posix()? {
                set = set.with(more);
            } else if let Some(more) = self.named()? {
                set = set.with(more);
            } else {
                set = set.with(self.range()?);
            }
        }
        self.at += 1;
        Ok(if is_not { set.not() } else { set })
    }

    fn posix(&mut self) -> Parsed<Option<Set>> {
        if !self.looks_at("[:") {
            return Ok(None);
        }
        let rest = &self.text[self.at + 2..];
        // The end may share a colon with the beginning, as in `[:]`.
        let end = self.text[self.at + 1..].windows(2).position(|it| it == [':', ']']);
        let Some(end) = end else { return Ok(None) };
        let name: String = rest.iter().take(end.checked_sub(1).ok_or(BAD_RANGE)?).collect();
        self.at += end + 3;
        class::posix(&name, self.flags.folds).map(Some).ok_or(BAD_RANGE)
    }

    fn range(&mut self) -> Parsed<Set> {
        let low = self.class_char()?;
        let mut high = low;
        if self.peek() == Some('-') && self.text.get(self.at + 1) != Some(&']') {
            self.at += 1;
            high = self.class_char()?;
            if high < low {
                return Err(BAD_RANGE);
            }
        }
        Ok(Set::chars(low, high, self.flags.folds))
    }

    fn class_char(&mut self) -> Parsed<u32> {
        match self.peek() {
            None => Err(NO_BRACKET),
            Some('\\') => self.escape(),
            Some(next) => {
                self.at += 1;
                Ok(u32::from(next))
            }
        }
    }
}
