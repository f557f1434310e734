import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A share group (KIP-932), which Kafka has by itself since 4.2; `__share_group_state` is its. */
final class Share {
    private static final String GROUP = "share";
    private static final List<String> TOPICS = List.of("k-gzip", "k-snappy");

    private Share() { }

    private static KafkaShareConsumer<byte[], byte[]> consumer(String bootstrap) {
        var config = Fill.at(bootstrap);
        config.put("group.id", GROUP);
        config.put("share.acknowledgement.mode", "explicit");
        var consumer = new KafkaShareConsumer<>(
            config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(TOPICS);
        return consumer;
    }

    /** Takes `count` records with this key, or any; some are given back, and some refused. */
    private static void take(String bootstrap, int count, String key) {
        long deadline = System.currentTimeMillis() + 40_000;
        try (var consumer = consumer(bootstrap)) {
            int taken = 0;
            while (taken < count) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    var fate = record.offset() % 50 == 49 ? AcknowledgeType.RELEASE
                        : record.offset() % 7 == 3 ? AcknowledgeType.REJECT
                        : AcknowledgeType.ACCEPT;
                    consumer.acknowledge(record, record.deliveryCount().orElse((short) 1) > 1
                        ? AcknowledgeType.ACCEPT : fate);
                    if (key == null || Arrays.equals(record.key(), Fill.bytes(key))) taken++;
                }
                consumer.commitSync();
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("the share group got " + taken + " records");
                }
            }
        }
    }

    /** Records are taken from four partitions, and not all of them: the state is one of pieces. */
    static Object populate(String bootstrap) {
        take(bootstrap, 120, null);
        return true;
    }

    /** Goes on where it was left: what was added meanwhile is there to be taken. */
    static Object goOn(String bootstrap) {
        take(bootstrap, 12, "added");
        return true;
    }

    static Object describe(String bootstrap) throws Exception {
        var told = new TreeMap<String, Object>();
        try (var admin = Admin.create(Fill.at(bootstrap))) {
            var group = admin.describeShareGroups(List.of(GROUP)).all().get().get(GROUP);
            var offsets = new TreeMap<String, String>();
            admin.listShareGroupOffsets(Map.of(GROUP, new ListShareGroupOffsetsSpec()))
                .partitionsToOffsetInfo(GROUP).get()
                .forEach((partition, info) -> offsets.put(
                    partition.toString(), info == null ? "none" : "" + info.startOffset()));
            told.put("share group", group.members().size() + " members, epoch "
                + group.groupEpoch() + " " + offsets);
        }
        return told;
    }
}
