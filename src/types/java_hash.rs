//! Java's `String.hashCode`, by which Kafka spreads groups and transactional ids over partitions.

/// `31 * h + unit` over the UTF-16 units of the text, wrapping as Java's `int` does.
#[must_use]
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_java() {
        // Values printed by jshell of JDK 17.
        assert_eq!(java_string_hash(""), 0);
        assert_eq!(java_string_hash("hello"), 99_162_322);
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_string_hash("\u{1F600}"), 1_772_899);
    }
}
