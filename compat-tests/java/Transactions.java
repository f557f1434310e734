import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Transactional producers, and copy jobs (cases_transactions.py). */
final class Transactions {
    private static final Map<String, Opened> OPEN = new HashMap<>();

    private Transactions() {}

    private static final class Opened {
        private final KafkaProducer<byte[], byte[]> producer;
        private boolean begun;

        Opened(KafkaProducer<byte[], byte[]> producer) {
            this.producer = producer;
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(Properties config, String id) {
        config.put("transactional.id", id);
        config.put("max.block.ms", "15000");
        config.put("delivery.timeout.ms", "15000");
        config.put("request.timeout.ms", "10000");
        KafkaProducer<byte[], byte[]> producer =
            new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        try {
            producer.initTransactions();
        } catch (RuntimeException error) {
            producer.close(Duration.ZERO);
            throw error;
        }
        return producer;
    }

    static Object open(Properties config, JsonNode ask) {
        Opened opened = new Opened(producer(config, ask.get("id").asText()));
        OPEN.put(ask.get("handle").asText(), opened);
        return null;
    }

    static Object transact(JsonNode ask) {
        Opened opened = OPEN.get(ask.get("handle").asText());
        if (!opened.begun) opened.producer.beginTransaction();
        opened.begun = true;
        for (JsonNode record : ask.get("values")) {
            byte[] value = record.get(1).asText().getBytes(StandardCharsets.UTF_8);
            opened.producer.send(new ProducerRecord<>(
                ask.get("topic").asText(), record.get(0).asInt(), null, value));
        }
        opened.producer.flush();
        String end = ask.get("end").asText();
        if (end.equals("commit")) opened.producer.commitTransaction();
        if (end.equals("abort")) opened.producer.abortTransaction();
        opened.begun = end.equals("none");
        return null;
    }

    static Object close(JsonNode ask) {
        OPEN.remove(ask.get("handle").asText()).producer.close(Duration.ofSeconds(5));
        return null;
    }

    static Object copy(Properties config, JsonNode ask) throws IOException {
        return Members.begin(ask, new Copy(config, ask));
    }

    private static final class Copy extends Members.Running {
        private boolean abort;

        Copy(Properties config, JsonNode ask) throws IOException {
            super(config, ask);
            abort = ask.get("abort").asBoolean();
        }

        @Override
        public void run() {
            while (!over) {
                try {
                    job();
                } catch (Exception error) {
                    note("!", error.toString());
                }
            }
        }

        private KafkaConsumer<byte[], byte[]> consumer() {
            Properties consuming = new Properties();
            consuming.putAll(config);
            consuming.put("group.id", ask.get("group").asText());
            consuming.put("isolation.level", "read_committed");
            consuming.put("auto.offset.reset", "earliest");
            consuming.put("enable.auto.commit", "false");
            consuming.put("fetch.max.wait.ms", "100");
            consuming.put("max.poll.records", "5");
            consuming.put("session.timeout.ms", ask.get("session").asText());
            consuming.put("heartbeat.interval.ms", ask.get("heartbeat").asText());
            return new KafkaConsumer<>(
                consuming, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }

        /** Copies until something goes wrong. */
        private void job() {
            Properties producing = new Properties();
            producing.putAll(config);
            KafkaProducer<byte[], byte[]> producer = producer(producing, ask.get("id").asText());
            try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
                consumer.subscribe(Collections.singleton(ask.get("source").asText()));
                while (!over) {
                    ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofMillis(100));
                    if (!polled.isEmpty()) transaction(producer, consumer, polled);
                }
            } finally {
                producer.close(Duration.ofSeconds(5));
            }
        }

        private void transaction(KafkaProducer<byte[], byte[]> producer,
                KafkaConsumer<byte[], byte[]> consumer, ConsumerRecords<byte[], byte[]> polled) {
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            producer.beginTransaction();
            for (ConsumerRecord<byte[], byte[]> one : polled) {
                byte[] value = String.valueOf(one.offset()).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(ask.get("target").asText(), 0, null, value));
                offsets.put(new TopicPartition(one.topic(), one.partition()),
                    new OffsetAndMetadata(one.offset() + 1));
            }
            producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
            if (abort) {
                abort = false;
                producer.flush();
                producer.abortTransaction();
                throw new IllegalStateException("aborted as it was asked to");
            }
            producer.commitTransaction();
        }
    }
}
