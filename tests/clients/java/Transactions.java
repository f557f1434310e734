import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Producers with transactional ids, which are open while other questions are answered (tools.py). */
final class Transactions {
    private static final class Opened {
        final KafkaProducer<byte[], byte[]> producer;
        final Properties config;
        boolean begun;

        Opened(KafkaProducer<byte[], byte[]> producer, Properties config) {
            this.producer = producer;
            this.config = config;
        }
    }

    private static final Map<String, Opened> OPEN = new HashMap<>();
    private static final long PATIENCE_MS = 30_000;

    private Transactions() {}

    /** One step of one producer; gives the name of the error that it is told, or null. */
    static Object step(JsonNode ask) throws Exception {
        String name = ask.get("name").asText();
        try {
            act(ask, name);
            return null;
        } catch (KafkaException error) {
            return named(error);
        } catch (ExecutionException error) {
            return named(error.getCause());
        }
    }

    private static String named(Throwable error) {
        // The producer may wrap what it was told, depending on when it was told.
        boolean wrapped = error.getClass() == KafkaException.class && error.getCause() != null;
        return (wrapped ? error.getCause() : error).getClass().getSimpleName();
    }

    private static void act(JsonNode ask, String name) throws Exception {
        JsonNode words = ask.get("words");
        Opened opened = OPEN.get(name);
        switch (ask.get("verb").asText()) {
            case "open" -> OPEN.put(name, open(ask));
            case "send" -> send(opened, words);
            case "offsets" -> {
                begin(opened);
                var partition = new TopicPartition(words.get(1).asText(), words.get(2).asInt());
                var offset = new OffsetAndMetadata(words.get(3).asLong());
                opened.producer.sendOffsetsToTransaction(
                    Map.of(partition, offset), new ConsumerGroupMetadata(words.get(0).asText()));
            }
            case "commit" -> {
                opened.begun = false;
                opened.producer.commitTransaction();
                settle(opened);
            }
            case "abort" -> {
                opened.begun = false;
                opened.producer.abortTransaction();
                settle(opened);
            }
            case "level" -> level(ask, Short.parseShort(name));
            case "close" -> OPEN.remove(name).producer.close(Duration.ofSeconds(5));
            default -> throw new IllegalArgumentException(ask.toString());
        }
    }

    private static Properties common(JsonNode ask) {
        var config = new Properties();
        config.put("bootstrap.servers", ask.get("bootstrap").asText());
        return config;
    }

    /** Waits until a transaction that was ended has all its markers. */
    private static void settle(Opened opened) throws Exception {
        String id = opened.config.getProperty("transactional.id");
        var config = new Properties();
        config.put("bootstrap.servers", opened.config.get("bootstrap.servers"));
        try (var admin = Admin.create(config)) {
            until(() -> admin.describeTransactions(List.of(id)).description(id).get().state()
                .toString().startsWith("Complete"));
        }
    }

    /** Waits until the broker tells clients of a level of transaction.version. */
    private static void level(JsonNode ask, short level) throws Exception {
        try (var admin = Admin.create(common(ask))) {
            until(() -> {
                var told = admin.describeFeatures().featureMetadata().get().finalizedFeatures();
                var found = told.get("transaction.version");
                return (found == null ? 0 : found.maxVersionLevel()) == level;
            });
        }
    }

    private static void until(Callable<Boolean> holds) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!holds.call()) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("this does not come");
            }
            Thread.sleep(20);
        }
    }

    private static Opened open(JsonNode ask) {
        var config = common(ask);
        config.put("transactional.id", ask.get("words").get(0).asText());
        for (int at = 1; at < ask.get("words").size(); at++) {
            String[] pair = ask.get("words").get(at).asText().split("=");
            config.put(pair[0], pair[1]);
        }
        var producer =
            new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        producer.initTransactions();
        return new Opened(producer, config);
    }

    private static void begin(Opened opened) {
        if (!opened.begun) opened.producer.beginTransaction();
        opened.begun = true;
    }

    private static void send(Opened opened, JsonNode words) throws Exception {
        begin(opened);
        for (int at = 0; at < words.get(2).asInt(); at++) {
            byte[] value = String.valueOf(at).getBytes(StandardCharsets.UTF_8);
            opened.producer.send(new ProducerRecord<>(
                words.get(0).asText(), words.get(1).asInt(), null, value)).get();
        }
    }
}
