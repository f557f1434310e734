import com.google.re2j.Pattern;
import com.google.re2j.PatternSyntaxException;
import java.util.Random;

/** Writes random patterns, and what RE2/J says of them: `PatternCases SEED COUNT`. */
public class PatternCases {
    static final String[] NAMES = {
        "a", "b", "ab", "aab", "A", "a-b", "a.b", "k1", "s_2", "foo", "Foo-7", "__bar"};

    static final String[] PARTS = {
        "a", "b", "A", "k", "s", "foo", "o", "-", "_", ".", ".*", "*", "+", "?", "*?", "{2}", "{1,}",
        "{0,3}", "{,2}", "{3,1}", "{1001}", "{01}", "{", "}", "(", "(", ")", ")", "|", "[", "[^", "]",
        "[a-z]", "[0-9]", "[^a-b]", "[[:alpha:]]", "[[:^digit:]]", "[[:nope:]]", "[:", ":]", "a-z",
        "\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\pL", "\\PL", "\\p{Lu}", "\\p{^Ll}", "\\p{Greek}",
        "\\p{Nope}", "\\p{", "\\p", "\\pZ", "\\p{Common}", "\\p{Pd}", "\\Q", "\\E", "\\Qa.b\\E", "\\A",
        "\\z", "\\b", "\\B", "\\C", "\\x61", "\\x{62}", "\\x{110000}", "\\x6", "\\x", "\\141", "\\0",
        "\\1", "\\8", "\\a", "\\n", "\\t", "\\.", "\\-", "\\_", "\\y", "\\", "^", "$", "(?i)", "(?i:",
        "(?-i)", "(?s)", "(?m)", "(?U)", "(?is-m:", "(?:", "(?P<n>", "(?<m>", "(?P<>", "(?P<n", "(?=",
        "(?", "(?)", "(?-)", "(?i-", "&&", "--", "~", "#", " ", "\u212a", "\u017f", "\u00e9", "K", "S",
        "7", "F", "[a-", "[z-a]", "[\\d-", "[]a]", "[^]a]", "[a\\]]", "[\\x61-\\x62]", "[\u017f]"};

    public static void main(String[] args) {
        Random random = new Random(Long.parseLong(args[0]));
        int count = Integer.parseInt(args[1]);
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < count; i++) {
            StringBuilder text = new StringBuilder();
            int parts = 1 + random.nextInt(6);
            for (int j = 0; j < parts; j++) text.append(PARTS[random.nextInt(PARTS.length)]);
            String answer;
            try {
                Pattern pattern = Pattern.compile(text.toString());
                StringBuilder bits = new StringBuilder("=");
                for (String name : NAMES) bits.append(pattern.matcher(name).matches() ? '1' : '0');
                answer = bits.toString();
            } catch (PatternSyntaxException e) {
                answer = e.getDescription();
            }
            out.append(text).append('\t').append(answer).append('\n');
        }
        System.out.write(out.toString().getBytes(java.nio.charset.StandardCharsets.UTF_8), 0,
            out.toString().getBytes(java.nio.charset.StandardCharsets.UTF_8).length);
        System.out.flush();
    }
}
