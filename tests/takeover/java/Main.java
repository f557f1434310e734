import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.Map;

/**
 * The Java side of the takeover matrix, one process for each version of Kafka and with that
 * version's own classes: a question is one line of JSON on standard input, its answer one line on
 * standard output. Bytes travel as hex. Nothing here knows what is to be expected.
 */
public final class Main {
    static final ObjectMapper JSON =
        new ObjectMapper().enable(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS);

    private Main() { }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null;) {
            Map<String, Object> answer;
            try {
                Object found = answer(JSON.readTree(line));
                answer = Map.of("ok", found);
            } catch (Throwable error) {
                var trace = new StringWriter();
                error.printStackTrace(new PrintWriter(trace));
                answer = Map.of("error", trace.toString());
            }
            out.println(JSON.writeValueAsString(answer));
            out.flush();
        }
        System.exit(0);
    }

    private static Object answer(JsonNode ask) throws Exception {
        String bootstrap = ask.path("bootstrap").asText();
        return switch (ask.get("op").asText()) {
            case "fill" -> Fill.fill(bootstrap, ask.get("prefix").asText());
            case "dirty" -> Dirty.fill(bootstrap, ask.get("round").asInt());
            case "populate" -> Populate.populate(bootstrap, ask.get("sasl").asText(),
                JSON.convertValue(ask.get("dirs"), String[].class));
            case "view" -> View.view(bootstrap, ask.get("times"));
            case "describe" -> Describe.describe(bootstrap, ask.get("sasl").asText());
            case "add" -> Fill.add(bootstrap, ask.get("topics"));
            case "create" -> Fill.create(bootstrap, ask.get("topic").asText());
            case "delete" -> Fill.delete(bootstrap, ask.get("topic").asText());
            case "delete_records" -> Fill.deleteRecords(
                bootstrap, ask.get("topic").asText(), ask.get("before").asLong());
            case "share" -> share(ask.get("step").asText(), bootstrap);
            case "members_begin" -> Members.begin(ask);
            case "members_send" -> Members.send(ask);
            case "members_join" -> Members.join(ask);
            case "members_leave" -> Members.leave(ask);
            case "members_end" -> Members.end();
            case "members" -> Members.look();
            case "txn_begin" -> Transactions.begin(ask);
            case "txn_step" -> Transactions.step(ask);
            case "txn_loop" -> Transactions.loop(ask);
            case "txn_loops" -> Transactions.loops();
            case "txn_loops_rest" -> Transactions.rest(ask.get("rests").asBoolean());
            case "txn_loops_end" -> Transactions.endLoops();
            case "txn_end" -> Transactions.end();
            case "txn_read" -> Transactions.read(ask);
            case "txn_states" -> Transactions.states(ask);
            case "go_on" -> Populate.goOn(bootstrap);
            case "image" -> ImageLines.of(Path.of(ask.get("dir").asText()));
            default -> throw new IllegalArgumentException(ask.toString());
        };
    }

    /** Of the versions that have share groups; the others are compiled without. */
    private static Object share(String step, String bootstrap) throws Exception {
        return Class.forName("Share").getDeclaredMethod(step, String.class)
            .invoke(null, bootstrap);
    }
}
