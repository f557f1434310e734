import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Compacted topics with everything that a cleaner decides about, a segment for each batch. */
final class Dirty {
    /** Behind the times of markers, which are the broker's: only records let segments roll. */
    private static final long TIME = System.currentTimeMillis() + 600_000;
    private static final int BATCHES = 40;

    private Dirty() { }

    private static List<String> topics() {
        var topics = new ArrayList<String>();
        Fill.CODECS.forEach(codec -> topics.add("dirty-" + codec));
        topics.add("dirty-soon-gone");
        return topics;
    }

    /** The first round has transactions, ended either way; later ones have none. */
    static Object fill(String bootstrap, int round) throws Exception {
        if (round == 0) {
            try (var admin = Admin.create(Fill.at(bootstrap))) {
                for (String topic : topics()) {
                    String kept = topic.endsWith("gone") ? "0" : "86400000";
                    Fill.create(admin, topic, 1, Map.of("cleanup.policy", "compact",
                        "min.cleanable.dirty.ratio", "0.001", "segment.ms", "1",
                        "delete.retention.ms", kept));
                }
            }
        }
        for (String topic : topics()) {
            String codec = topic.equals("dirty-soon-gone") ? "none" : topic.substring(6);
            var random = new Random(topic.hashCode() + round);
            try (var plain = producer(bootstrap, codec, null);
                    var again = producer(bootstrap, codec, null);
                    var ended = round == 0 ? producer(bootstrap, codec, topic) : null) {
                if (ended != null) ended.initTransactions();
                for (int i = 0; i < BATCHES; i++) {
                    var records = records(topic, round * BATCHES + i, random);
                    if (ended == null || i % 3 != 0) {
                        Fill.send(i % 2 == 0 ? plain : again, records);
                        continue;
                    }
                    ended.beginTransaction();
                    Fill.send(ended, records);
                    if (i % 2 == 0) ended.commitTransaction(); else ended.abortTransaction();
                }
            }
        }
        return true;
    }

    private static KafkaProducer<byte[], byte[]> producer(
            String bootstrap, String codec, String transaction) {
        var config = new java.util.HashMap<String, String>();
        config.put("compression.type", codec);
        if (transaction != null) config.put("transactional.id", transaction);
        return Fill.producer(bootstrap, config);
    }

    private static List<ProducerRecord<byte[], byte[]>> records(
            String topic, int batch, Random random) {
        var records = new ArrayList<ProducerRecord<byte[], byte[]>>();
        for (int i = 0; i < 1 + random.nextInt(8); i++) {
            String key = "key-" + random.nextInt(30);
            String value = random.nextInt(5) == 0 ? null
                : "value " + batch + " " + i + "y".repeat(random.nextInt(200));
            var record = Fill.record(topic, 0, TIME + batch * 50L + i, key, value);
            if (i % 3 == 1) record.headers().add("number", Fill.bytes("" + i));
            records.add(record);
        }
        return records;
    }
}
