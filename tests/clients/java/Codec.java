import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarFile;
import java.util.regex.Pattern;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/**
 * Kafka's side of the codec oracle: random messages of every record schema that is in the jars, and
 * a check of messages that others wrote. A case is a line: name of the schema, version, hex, JSON.
 *
 * Random bytes follow the generated SCHEMAS, so that nothing of what Kafka can write is left out
 * because somebody forgot it; the generated class reads and writes them once, as Kafka would.
 */
final class Codec {
    private static final HexFormat HEX = HexFormat.of();
    private static final Pattern RECORDS = Pattern.compile(
        "(org/apache/kafka/(?:common/(?:metadata|message)|.*/generated)/\\w+)JsonConverter\\.class");
    private static final Pattern NO_RECORD = Pattern.compile(".*(Request|Response)(Data|HeaderData)?");
    /** What is no record of a log, or is not built. */
    private static final Map<String, String> LEFT_OUT = Map.of(
        "ControlRecordTypeSchema", "a key of two bytes, written by hand; the dumps compare it",
        "DefaultPrincipalData", "part of a request",
        "QuorumStateData", "a file of JSON",
        "AbortedTxn", "an entry of the transaction index; the dumps compare it",
        "ProducerSnapshot", "a file; the dumps compare it",
        "RemoteLogSegmentMetadataRecord", "tiered storage",
        "RemoteLogSegmentMetadataSnapshotRecord", "tiered storage",
        "RemoteLogSegmentMetadataUpdateRecord", "tiered storage",
        "RemotePartitionDeleteMetadataRecord", "tiered storage");
    private static final String[] TEXTS = {
        "", "a", "topic-1", "\u00e9\u4e2d\ud83d\ude00", "\"\\/\b\f\n\r\t\u0001\u007f\u2028", "x y"};
    private static final double[] DOUBLES = {
        0.0, -0.0, 1.5, 1024.5, 9999999.0, 1e7, 123456789.25, 0.001, 0.0125, 1e-4, -1.25e300,
        Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY};
    /** Tags that no schema has. */
    private static final int UNKNOWN_TAG = 100;

    private final Random random;
    private boolean keepsUnknown;

    private Codec(long seed) {
        random = new Random(seed);
    }

    /** The record schemas in the jars, by their short names. */
    private static Map<String, Class<?>> schemas() throws Exception {
        var found = new TreeMap<String, Class<?>>();
        for (String jar : System.getProperty("java.class.path").split(":")) {
            if (!Path.of(jar).getFileName().toString().matches("kafka[-_].*\\.jar")) continue;
            try (var opened = new JarFile(jar)) {
                for (var entry : (Iterable<java.util.jar.JarEntry>)
                        opened.stream()::iterator) {
                    var match = RECORDS.matcher(entry.getName());
                    if (!match.matches() || NO_RECORD.matcher(match.group(1)).matches()) continue;
                    var type = Class.forName(match.group(1).replace('/', '.'));
                    if (!LEFT_OUT.containsKey(type.getSimpleName())) {
                        found.put(type.getSimpleName(), type);
                    }
                }
            }
        }
        return found;
    }

    private static short constant(Class<?> type, String name) throws Exception {
        return type.getField(name).getShort(null);
    }

    /** Writes `count` cases of each version into a file; tells the schemas with their versions. */
    static Object cases(JsonNode ask) throws Exception {
        var codec = new Codec(ask.get("seed").asLong());
        var lines = new ArrayList<String>();
        var versions = new HashMap<String, List<Short>>();
        for (var schema : schemas().entrySet()) {
            Class<?> type = schema.getValue();
            short low = constant(type, "LOWEST_SUPPORTED_VERSION");
            short high = constant(type, "HIGHEST_SUPPORTED_VERSION");
            versions.put(schema.getKey(), List.of(low, high));
            codec.keepsUnknown = type.getName().contains(".coordinator.");
            Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
            for (short version = low; version <= high; version++) {
                lines.add(line(type, version, write(made(type), version)));
                for (int number = 0; number < ask.get("count").asInt(); number++) {
                    var bytes = new ByteArrayOutputStream();
                    codec.put(new DataOutputStream(bytes), schemas[version], false, 0);
                    lines.add(line(type, version, bytes.toByteArray()));
                }
            }
        }
        Files.write(Path.of(ask.get("file").asText()), lines);
        return versions;
    }

    /** Reads the cases of a file; tells how many there were, or what the first mistake is. */
    static Object check(JsonNode ask) throws Exception {
        var schemas = schemas();
        int count = 0;
        for (String expected : Files.readAllLines(Path.of(ask.get("file").asText()))) {
            String[] fields = expected.split(" ", 4);
            var type = schemas.get(fields[0]);
            String found = line(type, Short.parseShort(fields[1]), HEX.parseHex(fields[2]));
            if (!found.equals(expected)) {
                throw new IllegalStateException("Kafka has\n" + found + "\nfor\n" + expected);
            }
            count++;
        }
        return count;
    }

    private static Message made(Class<?> type) throws Exception {
        return (Message) type.getConstructor().newInstance();
    }

    private static byte[] write(Message message, short version) {
        return MessageUtil.byteBufferToArray(
            MessageUtil.toByteBufferAccessor(message, version).buffer());
    }

    /** The case of these bytes, as the generated classes read and write them. */
    private static String line(Class<?> type, short version, byte[] bytes) throws Exception {
        var message = made(type);
        var readable = new ByteBufferAccessor(ByteBuffer.wrap(bytes));
        message.read(readable, version);
        if (readable.remaining() > 0) {
            throw new IllegalStateException(type + " leaves bytes of " + HEX.formatHex(bytes));
        }
        var json = Class.forName(type.getName() + "JsonConverter")
            .getMethod("write", type, short.class).invoke(null, message, version);
        return type.getSimpleName() + " " + version + " " + HEX.formatHex(write(message, version))
            + " " + json;
    }

    private void put(DataOutputStream out, Type type, boolean inTag, int depth) throws Exception {
        if (type instanceof TaggedFields tags) {
            putTags(out, tags, depth);
        } else if (type instanceof Schema schema) {
            putStruct(out, schema, inTag, depth);
        } else if (type.arrayElementType().isPresent()) {
            int count = type.isNullable() && oneIn(4) ? -1 : random.nextInt(depth > 2 ? 2 : 4);
            if (type instanceof CompactArrayOf) putUvarint(out, count + 1);
            else out.writeInt(count);
            for (int number = 0; number < count; number++) {
                put(out, type.arrayElementType().get(), false, depth + 1);
            }
        } else {
            putPlain(out, type.toString());
        }
    }

    /** A struct that may be null has a byte in front; which one null is depends on the place. */
    private void putStruct(DataOutputStream out, Schema schema, boolean inTag, int depth)
            throws Exception {
        if (schema.isNullable()) {
            boolean isNull = oneIn(3);
            out.writeByte(!isNull ? 1 : inTag ? 0 : -1);
            if (isNull) return;
        }
        for (BoundField field : schema.fields()) put(out, field.def.type, false, depth + 1);
    }

    private void putTags(DataOutputStream out, TaggedFields tags, int depth) throws Exception {
        Field known = TaggedFields.class.getDeclaredField("fields");
        known.setAccessible(true);
        var written = new TreeMap<Integer, byte[]>();
        for (var entry : ((Map<?, ?>) known.get(tags)).entrySet()) {
            if (oneIn(3)) continue;
            var bytes = new ByteArrayOutputStream();
            var field = (org.apache.kafka.common.protocol.types.Field) entry.getValue();
            put(new DataOutputStream(bytes), field.type, true, depth + 1);
            written.put((Integer) entry.getKey(), bytes.toByteArray());
        }
        while (keepsUnknown && oneIn(4)) {
            written.put(UNKNOWN_TAG + random.nextInt(1000), randomBytes());
        }
        putUvarint(out, written.size());
        for (var tag : written.entrySet()) {
            putUvarint(out, tag.getKey());
            putUvarint(out, tag.getValue().length);
            out.write(tag.getValue());
        }
    }

    private void putPlain(DataOutputStream out, String type) throws IOException {
        switch (type) {
            case "BOOLEAN" -> out.writeByte(random.nextInt(2));
            case "INT8" -> out.writeByte((int) number());
            case "INT16", "UINT16" -> out.writeShort((int) number());
            case "INT32" -> out.writeInt((int) number());
            case "INT64" -> out.writeLong(number());
            case "FLOAT64" -> out.writeDouble(oneIn(4)
                ? random.nextInt() / 8.0 : DOUBLES[random.nextInt(DOUBLES.length)]);
            case "UUID" -> {
                boolean isZero = oneIn(5);
                out.writeLong(isZero ? 0 : random.nextLong());
                out.writeLong(isZero ? 0 : random.nextLong());
            }
            case "STRING", "NULLABLE_STRING", "COMPACT_STRING", "COMPACT_NULLABLE_STRING" -> {
                byte[] text = TEXTS[random.nextInt(TEXTS.length)].getBytes("UTF-8");
                putSized(out, type, type.contains("NULLABLE") && oneIn(4) ? null : text, 2);
            }
            case "BYTES", "NULLABLE_BYTES", "COMPACT_BYTES", "COMPACT_NULLABLE_BYTES" ->
                putSized(out, type, type.contains("NULLABLE") && oneIn(4) ? null : randomBytes(), 4);
            default -> throw new IllegalStateException("no random value of type " + type);
        }
    }

    private static void putSized(DataOutputStream out, String type, byte[] bytes, int lengthBytes)
            throws IOException {
        int length = bytes == null ? -1 : bytes.length;
        if (type.startsWith("COMPACT")) putUvarint(out, length + 1);
        else if (lengthBytes == 2) out.writeShort(length);
        else out.writeInt(length);
        if (bytes != null) out.write(bytes);
    }

    private static void putUvarint(DataOutputStream out, int value) throws IOException {
        for (; value >>> 7 != 0; value >>>= 7) out.writeByte(value & 0x7f | 0x80);
        out.writeByte(value);
    }

    /** Often one that is near a limit of some width. */
    private long number() {
        return switch (random.nextInt(4)) {
            case 0 -> random.nextLong();
            case 1 -> random.nextInt(5) - 2;
            case 2 -> (1L << random.nextInt(64)) - random.nextInt(2);
            default -> random.nextInt(1000);
        };
    }

    private byte[] randomBytes() {
        byte[] bytes = new byte[random.nextInt(6)];
        random.nextBytes(bytes);
        return bytes;
    }

    private boolean oneIn(int count) {
        return random.nextInt(count) == 0;
    }
}
