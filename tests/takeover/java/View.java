import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What a stock consumer sees of every partition, internal topics included. */
final class View {
    private static final HexFormat HEX = HexFormat.of();

    private View() { }

    static String hex(byte[] bytes) {
        return bytes == null ? null : HEX.formatHex(bytes);
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String isolation) {
        var config = Fill.at(bootstrap);
        config.put("isolation.level", isolation);
        config.put("exclude.internal.topics", "false");
        config.put("allow.auto.create.topics", "false");
        config.put("auto.offset.reset", "none");
        config.put("fetch.max.wait.ms", "50");
        return new KafkaConsumer<>(
            config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /**
     * By partition: offsets at both ends, the stable end, each record, which of them are seen by
     * read_committed, and the offsets at `times` (or at times chosen from the records).
     */
    static Object view(String bootstrap, JsonNode times) {
        var view = new TreeMap<String, Map<String, Object>>();
        try (var uncommitted = consumer(bootstrap, "read_uncommitted");
                var committed = consumer(bootstrap, "read_committed")) {
            var partitions = new ArrayList<TopicPartition>();
            uncommitted.listTopics().forEach((topic, infos) -> infos.forEach(
                info -> partitions.add(new TopicPartition(topic, info.partition()))));
            var starts = uncommitted.beginningOffsets(partitions);
            var ends = uncommitted.endOffsets(partitions);
            var stable = committed.endOffsets(partitions);
            var all = read(uncommitted, partitions, starts, ends);
            var seen = read(committed, partitions, starts, stable);
            for (var partition : partitions) {
                var found = new HashMap<String, Object>();
                var records = all.get(partition);
                found.put("start", starts.get(partition));
                found.put("end", ends.get(partition));
                found.put("stable", stable.get(partition));
                found.put("records", records.stream().map(View::plain).toList());
                found.put("committed", seen.get(partition).stream().map(View::plain).toList());
                var given = times == null ? null : times.get(partition.toString());
                var asked = given == null ? chosen(records)
                    : Main.JSON.convertValue(given, long[].class);
                found.put("times", atTimes(uncommitted, partition, asked));
                view.put(partition.toString(), found);
            }
        }
        return view;
    }

    private static Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> read(
            KafkaConsumer<byte[], byte[]> consumer, Collection<TopicPartition> partitions,
            Map<TopicPartition, Long> starts, Map<TopicPartition, Long> ends) {
        var found = new HashMap<TopicPartition, List<ConsumerRecord<byte[], byte[]>>>();
        partitions.forEach(partition -> found.put(partition, new ArrayList<>()));
        consumer.assign(partitions);
        partitions.forEach(partition -> consumer.seek(partition, starts.get(partition)));
        long deadline = System.currentTimeMillis() + 60_000;
        while (true) {
            var missing = partitions.stream()
                .filter(p -> consumer.position(p) < ends.get(p)).toList();
            if (missing.isEmpty()) return found;
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("not read to the end: " + missing.stream()
                    .map(p -> p + " at " + consumer.position(p) + " of " + ends.get(p)).toList());
            }
            for (var record : consumer.poll(Duration.ofMillis(100))) {
                found.get(new TopicPartition(record.topic(), record.partition())).add(record);
            }
        }
    }

    private static Object plain(ConsumerRecord<byte[], byte[]> record) {
        var headers = new ArrayList<List<String>>();
        record.headers().forEach(header -> {
            var pair = new ArrayList<String>();
            pair.add(header.key());
            pair.add(hex(header.value()));
            headers.add(pair);
        });
        var plain = new HashMap<String, Object>();
        plain.put("offset", record.offset());
        plain.put("time", record.timestamp());
        plain.put("time_type", record.timestampType().toString());
        plain.put("epoch", record.leaderEpoch().orElse(-1));
        plain.put("key", hex(record.key()));
        plain.put("value", hex(record.value()));
        plain.put("headers", headers);
        return plain;
    }

    private static long[] chosen(List<ConsumerRecord<byte[], byte[]>> records) {
        var sorted = records.stream().mapToLong(ConsumerRecord::timestamp).sorted().toArray();
        if (sorted.length == 0) return new long[] {0};
        long last = sorted[sorted.length - 1];
        return new long[] {
            0, sorted[0] + 1, sorted[sorted.length / 3], sorted[sorted.length / 2], last, last + 1};
    }

    private static Object atTimes(
            KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition, long[] times) {
        var found = new TreeMap<String, Object>();
        for (long time : times) {
            var offset = consumer.offsetsForTimes(Map.of(partition, time)).get(partition);
            found.put(Long.toString(time),
                offset == null ? "none" : offset.offset() + " at " + offset.timestamp());
        }
        return found;
    }
}
