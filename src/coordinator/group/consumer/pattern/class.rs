//! Classes of characters: sets of ASCII, and the names that RE2 has for some.

/// A set of ASCII characters: a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Set(u128);

/// Characters outside ASCII that are the other case of one inside it.
const KELVIN: u32 = 0x212A;
const LONG_S: u32 = 0x017F;

const LOWER: Set = Set::range(b'a', b'z');
const UPPER: Set = Set::range(b'A', b'Z');
const DIGIT: Set = Set::range(b'0', b'9');
const ALPHA: Set = LOWER.with(UPPER);
const ALNUM: Set = ALPHA.with(DIGIT);
const WORD: Set = ALNUM.with(Set::of(b"_"));
const CONTROL: Set = Set::range(0, 0x1F).with(Set::range(0x7F, 0x7F));
const GRAPH: Set = Set::range(b'!', b'~');

impl Set {
    pub(super) const ALL: Set = Set(u128::MAX);

    pub(super) const fn range(low: u8, high: u8) -> Set {
        Set((u128::MAX >> (127 - high)) & (u128::MAX << low))
    }

    pub(super) const fn of(all: &[u8]) -> Set {
        let (mut bits, mut at) = (0, 0);
        while at < all.len() {
            bits |= 1u128 << all[at];
            at += 1;
        }
        Set(bits)
    }

    pub(super) const fn with(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }

    pub(super) const fn not(self) -> Set {
        Set(!self.0)
    }

    /// All characters from `low` to `high` that are ASCII, and with `folds` their other cases.
    pub(super) fn chars(low: u32, high: u32, folds: bool) -> Set {
        let all = match u8::try_from(low).ok().filter(u8::is_ascii) {
            Some(low) => Set::range(low, u8::try_from(high.min(0x7F)).expect("it is ASCII")),
            None => Set::default(),
        };
        if !folds {
            return all;
        }
        let is_in = |char: u32| (low..=high).contains(&char);
        let others = |char: u32, set: &[u8]| if is_in(char) { Set::of(set) } else { Set(0) };
        all.folded().with(others(KELVIN, b"kK")).with(others(LONG_S, b"sS"))
    }

    /// With the other case of each letter.
    pub(super) const fn folded(self) -> Set {
        let (lower, upper) = (self.0 & LOWER.0, self.0 & UPPER.0);
        Set(self.0 | lower >> 32 | upper << 32)
    }

    /// Writes the class in the syntax of the `regex` crate.
    pub(super) fn write(self, out: &mut String) {
        if self.0 == 0 {
            // Nothing is both.
            return out.push_str("[a&&b]");
        }
        out.push('[');
        let has = |at: u32| self.0 & (1 << at) != 0;
        let mut at = 0;
        while at < 128 {
            if !has(at) {
                at += 1;
                continue;
            }
            let low = at;
            while at < 128 && has(at) {
                at += 1;
            }
            out.push_str(&format!(r"\x{low:02X}-\x{:02X}", at - 1));
        }
        out.push(']');
    }
}

/// A class of Perl, by the letter behind the backslash.
pub(super) fn perl(letter: char) -> Option<Set> {
    Some(match letter {
        'd' => DIGIT,
        'D' => DIGIT.not(),
        's' => Set::of(b"\t\n\x0C\r "),
        'S' => Set::of(b"\t\n\x0C\r ").not(),
        'w' => WORD,
        'W' => WORD.not(),
        _ => return None,
    })
}

/// A class of POSIX, by what stands between the colons.
pub(super) fn posix(name: &str, folds: bool) -> Option<Set> {
    let (name, is_not) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    let set = match name {
        "alnum" => ALNUM,
        "alpha" => ALPHA,
        "ascii" => Set::ALL,
        "blank" => Set::of(b"\t "),
        "cntrl" => CONTROL,
        "digit" => DIGIT,
        "graph" => GRAPH,
        "lower" => LOWER,
        "print" => GRAPH.with(Set::of(b" ")),
        "punct" => Set(GRAPH.0 & !ALNUM.0),
        "space" => Set::of(b"\t\n\x0B\x0C\r "),
        "upper" => UPPER,
        "word" => WORD,
        "xdigit" => DIGIT.with(Set::range(b'A', b'F')).with(Set::range(b'a', b'f')),
        _ => return None,
    };
    let set = if folds { set.folded() } else { set };
    Some(if is_not { set.not() } else { set })
}

/// A category or a script of Unicode, by its name.
pub(super) fn unicode(name: &str, folds: bool) -> Option<Set> {
    let set = match name {
        "Any" => Set::ALL,
        "L" | "Latin" => ALPHA,
        "Ll" => LOWER,
        "Lu" => UPPER,
        "N" | "Nd" => DIGIT,
        "P" => Set::of(b"!\"#%&'()*,-./:;?@[\\]_{}"),
        "Pc" => Set::of(b"_"),
        "Pd" => Set::of(b"-"),
        "Pe" => Set::of(b")]}"),
        "Po" => Set::of(b"!\"#%&'*,./:;?@\\"),
        "Ps" => Set::of(b"([{"),
        "S" => Set::of(b"$+<=>^`|~"),
        "Sc" => Set::of(b"$"),
        "Sk" => Set::of(b"^`"),
        "Sm" => Set::of(b"+<=>|~"),
        "Z" | "Zs" => Set::of(b" "),
        "C" | "Cc" => CONTROL,
        "Common" => ALPHA.not(),
        _ if OUTSIDE_ASCII.split_ascii_whitespace().any(|known| known == name) => Set::default(),
        _ => return None,
    };
    // RE2/J knows no other case of what is small.
    Some(if folds && name != "Ll" { set.folded() } else { set })
}

/// Categories and scripts that have nothing in ASCII.
const OUTSIDE_ASCII: &str = "Cf Co Cs Lm Lo Lt M Mc Me Mn Nl No Pf Pi So Zl Zp \
    Arabic Armenian Avestan Balinese Bamum Batak Bengali Bopomofo Brahmi Braille Buginese Buhid \
    Canadian_Aboriginal Carian Cham Cherokee Coptic Cuneiform Cypriot Cyrillic Deseret Devanagari \
    Egyptian_Hieroglyphs Ethiopic Georgian Glagolitic Gothic Greek Gujarati Gurmukhi Han Hangul \
    Hanunoo Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi \
    Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer Lao Lepcha \
    Limbu Linear_B Lisu Lycian Lydian Malayalam Mandaic Meetei_Mayek Mongolian Myanmar \
    New_Tai_Lue Nko Ogham Ol_Chiki Old_Italic Old_Persian Old_South_Arabian Old_Turkic Oriya \
    Osmanya Phags_Pa Phoenician Rejang Runic Samaritan Saurashtra Shavian Sinhala Sundanese \
    Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Tamil Telugu Thaana Thai \
    Tibetan Tifinagh Ugaritic Unknown Vai Yi";
