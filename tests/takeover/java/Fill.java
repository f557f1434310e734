import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What every broker can be filled with: topics and records of idempotent producers. */
final class Fill {
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    /** The time of the first record: recent, as brokers look at it, and a round number. */
    static final long TIME = System.currentTimeMillis() / 1_000_000 * 1_000_000 - 3_600_000;

    private Fill() { }

    static Properties at(String bootstrap) {
        var config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        return config;
    }

    static KafkaProducer<byte[], byte[]> producer(String bootstrap, Map<String, String> more) {
        var config = at(bootstrap);
        config.put("linger.ms", "20");
        config.put("acks", "all");
        // A broker that is slow to learn that it leads a new partition refuses the first batch; if
        // the second one, already under way, is taken then, the first is out of order for good.
        config.put("max.in.flight.requests.per.connection", "1");
        config.putAll(more);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static ProducerRecord<byte[], byte[]> record(
            String topic, int partition, Long time, String key, String value) {
        return new ProducerRecord<>(topic, partition, time, bytes(key), bytes(value));
    }

    static void create(Admin admin, String topic, int partitions, Map<String, String> configs)
            throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs)))
            .all().get();
    }

    /** A batch for each call: what was sent is waited for. */
    static void send(
            KafkaProducer<byte[], byte[]> producer, List<ProducerRecord<byte[], byte[]>> records)
            throws Exception {
        var sent = new ArrayList<Future<RecordMetadata>>();
        for (var record : records) sent.add(producer.send(record));
        producer.flush();
        for (var future : sent) future.get();
    }

    /** Records with all that a record can have: headers, nulls, times out of order, much data. */
    static List<ProducerRecord<byte[], byte[]>> anyRecords(String topic, int partition, int seed) {
        var random = new Random(seed);
        var records = new ArrayList<ProducerRecord<byte[], byte[]>>();
        for (int i = 0; i < 20; i++) {
            long time = TIME + seed * 1000L + i * 100L - (i % 5 == 3 ? 5000 : 0);
            String key = i % 4 == 0 ? null : "key-" + i;
            String value = i % 7 == 2 ? null : "value " + i + "x".repeat(random.nextInt(300));
            var record = record(topic, partition, time, key, value);
            for (int header = 0; header < i % 3; header++) {
                byte[] bytes = new byte[random.nextInt(20)];
                random.nextBytes(bytes);
                record.headers().add("header-" + header, header == 1 && i % 2 == 0 ? null : bytes);
            }
            records.add(record);
        }
        byte[] large = new byte[40_000];
        random.nextBytes(large);
        records.add(new ProducerRecord<>(topic, partition, TIME, bytes("large"), large));
        return records;
    }

    /** Topics of every codec and both times, rolled segments, and producers with sequences. */
    static Object fill(String bootstrap, String prefix) throws Exception {
        try (var admin = Admin.create(at(bootstrap))) {
            for (String codec : CODECS) create(admin, prefix + codec, 2, Map.of());
            create(admin, prefix + "append-time", 1,
                Map.of("message.timestamp.type", "LogAppendTime"));
            create(admin, prefix + "tiny", 1, Map.of("segment.ms", "1"));
            create(admin, prefix + "empty", 3, Map.of());
            create(admin, prefix + "to-delete", 2, Map.of("retention.bytes", "1000000"));
        }
        for (String codec : CODECS) {
            try (var producer = producer(bootstrap, Map.of("compression.type", codec))) {
                for (int round = 0; round < 5; round++) {
                    for (int partition = 0; partition < 2; partition++) {
                        send(producer, anyRecords(prefix + codec, partition, round));
                    }
                    send(producer, anyRecords(prefix + "append-time", 0, round));
                    send(producer, anyRecords(prefix + "to-delete", round % 2, round));
                }
                for (int i = 0; i < 10; i++) {
                    long time = TIME + i * 10L + CODECS.indexOf(codec) * 1000L;
                    send(producer, List.of(record(prefix + "tiny", 0, time, "k" + i, codec + i)));
                }
            }
        }
        return true;
    }

    /** Appends to each partition of the named topics; tells what was put where. */
    static Object add(String bootstrap, JsonNode topics) throws Exception {
        var added = new TreeMap<String, List<Object>>();
        int turn = 0;
        for (JsonNode topic : topics) {
            String codec = CODECS.get(turn++ % CODECS.size());
            try (var producer = producer(bootstrap, Map.of("compression.type", codec))) {
                int partitions = producer.partitionsFor(topic.asText()).size();
                for (int partition = 0; partition < partitions; partition++) {
                    var list = new ArrayList<Object>();
                    for (int i = 0; i < 3; i++) {
                        String value = "added by turn " + turn + " " + i;
                        var record = record(topic.asText(), partition, TIME + i, "added", value);
                        var metadata = producer.send(record).get();
                        var plain = new HashMap<String, Object>();
                        plain.put("offset", metadata.offset());
                        plain.put("time", metadata.timestamp());
                        plain.put("key", View.hex(bytes("added")));
                        plain.put("value", View.hex(bytes(value)));
                        list.add(plain);
                    }
                    added.put(new TopicPartition(topic.asText(), partition).toString(), list);
                }
            }
        }
        return added;
    }

    static Object create(String bootstrap, String topic) throws Exception {
        try (var admin = Admin.create(at(bootstrap))) {
            create(admin, topic, 2, Map.of("segment.bytes", "1048576", "retention.ms", "-1"));
        }
        try (var producer = producer(bootstrap, Map.of("compression.type", "zstd"))) {
            for (int partition = 0; partition < 2; partition++) {
                send(producer, anyRecords(topic, partition, 7));
            }
        }
        return true;
    }

    static Object delete(String bootstrap, String topic) throws Exception {
        try (var admin = Admin.create(at(bootstrap))) {
            admin.deleteTopics(List.of(topic)).all().get();
        }
        return true;
    }

    static Object deleteRecords(String bootstrap, String topic, long before) throws Exception {
        var partition = new TopicPartition(topic, 0);
        try (var admin = Admin.create(at(bootstrap))) {
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(before)))
                .all().get();
        }
        return true;
    }
}
