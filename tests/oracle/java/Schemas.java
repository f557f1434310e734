import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.ArrayOf;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.NullableSchema;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/**
 * Prints what Kafka's classes say about the wire: for every API of a listener and every
 * version the fields of the request and of the answer, and the request with all defaults. The
 * grammar is in tests/oracle/schema.rs.
 */
public final class Schemas {
    private static final Map<Type, String> PLAIN = Map.ofEntries(
        Map.entry(Type.BOOLEAN, "b"), Map.entry(Type.INT8, "i8"), Map.entry(Type.INT16, "i16"),
        Map.entry(Type.UINT16, "u16"), Map.entry(Type.INT32, "i32"),
        Map.entry(Type.UNSIGNED_INT32, "u32"), Map.entry(Type.INT64, "i64"),
        Map.entry(Type.FLOAT64, "f64"), Map.entry(Type.UUID, "id"), Map.entry(Type.STRING, "s"),
        Map.entry(Type.COMPACT_STRING, "cs"), Map.entry(Type.NULLABLE_STRING, "ns"),
        Map.entry(Type.COMPACT_NULLABLE_STRING, "cns"), Map.entry(Type.BYTES, "y"),
        Map.entry(Type.COMPACT_BYTES, "cy"), Map.entry(Type.NULLABLE_BYTES, "ny"),
        Map.entry(Type.COMPACT_NULLABLE_BYTES, "cny"), Map.entry(Type.RECORDS, "y"),
        Map.entry(Type.COMPACT_RECORDS, "cy"), Map.entry(Type.NULLABLE_RECORDS, "ny"),
        Map.entry(Type.COMPACT_NULLABLE_RECORDS, "cny"));

    private Schemas() { }

    public static void main(String[] args) {
        for (ApiMessageType api : ApiMessageType.values()) {
            boolean isOffered = api.listeners().contains(ListenerType.BROKER)
                || api.listeners().contains(ListenerType.CONTROLLER);
            if (!isOffered) continue;
            short last = api.highestSupportedVersion(false);
            System.out.println("api " + api.apiKey() + " " + api.name + " "
                + api.lowestSupportedVersion() + " " + last);
            String request = "";
            String response = "";
            for (short version = api.lowestSupportedVersion(); version <= last; version++) {
                String asked = text(api.requestSchemas()[version]);
                String answered = text(api.responseSchemas()[version]);
                System.out.println("version " + version + " " + api.requestHeaderVersion(version)
                    + " " + api.responseHeaderVersion(version) + " "
                    + bytes(api.newRequest(), version));
                // What is as in the version before is not repeated.
                System.out.println("asked " + (asked.equals(request) ? "=" : asked));
                System.out.println("answered " + (answered.equals(response) ? "=" : answered));
                request = asked;
                response = answered;
            }
        }
    }

    private static String bytes(Message message, short version) {
        try {
            var cache = new ObjectSerializationCache();
            int size = message.size(cache, version);
            var buffer = new ByteBufferAccessor(java.nio.ByteBuffer.allocate(size));
            message.write(buffer, cache, version);
            return size == 0 ? "-" : HexFormat.of().formatHex(buffer.buffer().array());
        } catch (RuntimeException unwritable) {
            // A field without a default that this version can say.
            return "?";
        }
    }

    private static String text(Type type) {
        if (PLAIN.containsKey(type)) return PLAIN.get(type);
        if (type instanceof CompactArrayOf array) {
            return (array.isNullable() ? "cn[" : "c[") + text(array.arrayElementType().get()) + "]";
        }
        if (type instanceof ArrayOf array) {
            return (array.isNullable() ? "n[" : "[") + text(array.arrayElementType().get()) + "]";
        }
        if (type instanceof TaggedFields tagged) {
            var fields = new StringBuilder("#{");
            new TreeMap<>(tagged.fields()).forEach((tag, field) ->
                fields.append(fields.length() == 2 ? "" : ",").append(tag).append("=")
                    .append(field.name).append(":").append(text(field.type)));
            return fields.append("}").toString();
        }
        if (type instanceof Schema schema) {
            var fields = new StringBuilder(type instanceof NullableSchema ? "n{" : "{");
            boolean first = true;
            for (BoundField field : schema.fields()) {
                if (!first) fields.append(",");
                first = false;
                if (field.def.type instanceof TaggedFields) {
                    fields.append(text(field.def.type));
                } else {
                    fields.append(field.def.name).append(":").append(text(field.def.type));
                }
            }
            return fields.append("}").toString();
        }
        throw new IllegalArgumentException("unknown type " + type.getClass() + " " + type);
    }
}
