import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Kafka's own Java client, as the harness asks it: one JVM for all questions. Compiled for each
 * version of the client apart, so it uses only what all of them have.
 */
public final class Compat {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration LIMIT = Duration.ofSeconds(15);
    private static String bootstrap;
    private static Admin admin;
    private static Endurance endurance;

    private interface Op {
        Object answer(JsonNode question) throws Exception;
    }

    private static final Map<String, Op> OPS = new LinkedHashMap<>();

    static {
        OPS.put("hello", Compat::hello);
        OPS.put("produce", Compat::produce);
        OPS.put("consume", Compat::consume);
        OPS.put("list_offsets", Compat::listOffsets);
        OPS.put("unknown_topic", Compat::unknownTopic);
        OPS.put("list_topics", ask -> admin.listTopics().names().get());
        OPS.put("describe_topic", Compat::describeTopic);
        OPS.put("create_topic", Compat::createTopic);
        OPS.put("delete_topic", Compat::deleteTopic);
        OPS.put("describe_cluster", Compat::describeCluster);
        OPS.put("delete_records", Compat::deleteRecords);
        OPS.put("create_partitions", Compat::createPartitions);
        OPS.put("describe_configs", Compat::describeConfigs);
        OPS.put("alter_configs", Compat::alterConfigs);
        OPS.put("endure", Compat::endure);
        OPS.put("endured", ask -> endurance.count());
        OPS.put("calm", ask -> endurance.calm());
        OPS.put("join", ask -> Members.join(common(), ask));
        OPS.put("leave", Members::leave);
        OPS.put("txn_open", ask -> Transactions.open(common(), ask));
        OPS.put("transact", Transactions::transact);
        OPS.put("txn_close", Transactions::close);
        OPS.put("copy", ask -> Transactions.copy(common(), ask));
    }

    public static void main(String[] args) throws Exception {
        PrintStream answers = new PrintStream(System.out, false, "UTF-8");
        System.setOut(System.err);
        bootstrap = args[0];
        admin = Admin.create(common());
        BufferedReader lines = new BufferedReader(
            new InputStreamReader(System.in, StandardCharsets.UTF_8), 1 << 20);
        for (String line; (line = lines.readLine()) != null;) {
            answers.println(JSON.writeValueAsString(answer(JSON.readTree(line))));
            answers.flush();
        }
        System.exit(0);
    }

    private static Map<String, Object> answer(JsonNode question) {
        Map<String, Object> answer = new HashMap<>();
        try {
            Op op = OPS.get(question.get("op").asText());
            if (op == null) answer.put("unoffered", "client: no such call");
            else answer.put("ok", op.answer(question));
        } catch (Exception error) {
            answer.put("error", error.toString());
        }
        return answer;
    }

    private static Object hello(JsonNode ask) {
        Map<String, Object> hello = new HashMap<>();
        hello.put("version", AppInfoParser.getVersion());
        hello.put("calls", OPS.keySet());
        hello.put("consumer_protocol", ConsumerConfig.configNames().contains("group.protocol"));
        return hello;
    }

    private static Properties common() {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        return config;
    }

    private static KafkaProducer<byte[], byte[]> producer(Properties config) {
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static byte[] bytes(JsonNode text) {
        return text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    /** A topic that is missing is always created by use: the producer has no word for it. */
    private static Object produce(JsonNode ask) throws Exception {
        Properties config = common();
        config.put("compression.type", ask.get("codec").asText());
        config.put("acks", ask.get("acks").asText());
        config.put("enable.idempotence", String.valueOf(ask.get("idempotent").asBoolean()));
        config.put("max.request.size", ask.get("max_bytes").asText());
        config.put("linger.ms", "20");
        return send(config, ask.get("topic").asText(), ask.get("partition").asInt(),
            ask.get("records"));
    }

    private static List<Long> send(Properties config, String topic, int partition,
            JsonNode records) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(config)) {
            for (JsonNode record : records) {
                ProducerRecord<byte[], byte[]> made = new ProducerRecord<>(topic, partition,
                    record.get("timestamp").asLong(), bytes(record.get("key")),
                    bytes(record.get("value")));
                for (JsonNode header : record.get("headers")) {
                    made.headers().add(header.get(0).asText(), bytes(header.get(1)));
                }
                sent.add(producer.send(made));
            }
        }
        List<Long> offsets = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            if (one.get().hasOffset()) offsets.add(one.get().offset());
        }
        return offsets;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(boolean committed) {
        Properties config = common();
        config.put("isolation.level", committed ? "read_committed" : "read_uncommitted");
        config.put("enable.auto.commit", "false");
        config.put("allow.auto.create.topics", "false");
        config.put("fetch.max.wait.ms", "100");
        return new KafkaConsumer<>(
            config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static Object consume(JsonNode ask) throws Exception {
        TopicPartition partition =
            new TopicPartition(ask.get("topic").asText(), ask.get("partition").asInt());
        List<TopicPartition> one = Collections.singletonList(partition);
        int count = ask.get("count").asInt();
        List<Object> found = new ArrayList<>();
        boolean committed = ask.path("committed").asBoolean();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(committed)) {
            consumer.assign(one);
            switch (ask.get("start").asText()) {
                case "start": consumer.seekToBeginning(one); break;
                case "end": consumer.seekToEnd(one); consumer.position(partition); break;
                case "offset": consumer.seek(partition, ask.get("at").asLong()); break;
                default: consumer.seek(partition, forTime(consumer, partition, ask.get("at")));
            }
            if (ask.get("then").size() > 0) {
                send(common(), partition.topic(), partition.partition(), ask.get("then"));
            }
            long deadline = System.currentTimeMillis() + LIMIT.toMillis();
            while (found.size() < count) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(found.size() + " records, not " + count);
                }
                consumer.poll(Duration.ofMillis(500)).forEach(record -> found.add(plain(record)));
            }
        }
        return found;
    }

    private static long forTime(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition,
            JsonNode at) {
        return consumer.offsetsForTimes(Collections.singletonMap(partition, at.asLong()))
            .get(partition).offset();
    }

    private static Object plain(ConsumerRecord<byte[], byte[]> record) {
        List<List<String>> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(Arrays.asList(header.key(), text(header.value())));
        }
        Map<String, Object> plain = new HashMap<>();
        plain.put("offset", record.offset());
        plain.put("timestamp", record.timestamp());
        plain.put("key", text(record.key()));
        plain.put("value", text(record.value()));
        plain.put("headers", headers);
        return plain;
    }

    private static Object listOffsets(JsonNode ask) throws Exception {
        JsonNode at = ask.get("at");
        OffsetSpec spec = at.isNumber() ? OffsetSpec.forTimestamp(at.asLong())
            : at.asText().equals("earliest") ? OffsetSpec.earliest() : OffsetSpec.latest();
        TopicPartition partition =
            new TopicPartition(ask.get("topic").asText(), ask.get("partition").asInt());
        return admin.listOffsets(Collections.singletonMap(partition, spec))
            .partitionResult(partition).get().offset();
    }

    private static Object unknownTopic(JsonNode ask) {
        String topic = ask.get("topic").asText();
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(false)) {
            // A consumer says that a topic is not there by an empty list, or by null.
            List<?> found = consumer.partitionsFor(topic, Duration.ofSeconds(5));
            if (found == null || found.isEmpty()) {
                throw new UnknownTopicOrPartitionException("no partitions of " + topic);
            }
            return found.size();
        }
    }

    private static Object describeTopic(JsonNode ask) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(false)) {
            return consumer.partitionsFor(ask.get("topic").asText()).size();
        }
    }

    private static Object createTopic(JsonNode ask) throws Exception {
        NewTopic topic = new NewTopic(
            ask.get("topic").asText(), ask.get("partitions").asInt(), (short) 1);
        topic.configs(strings(ask.get("configs")));
        admin.createTopics(Collections.singleton(topic)).all().get();
        return null;
    }

    private static Map<String, String> strings(JsonNode object) {
        Map<String, String> strings = new HashMap<>();
        object.fields().forEachRemaining(one -> strings.put(one.getKey(), one.getValue().asText()));
        return strings;
    }

    private static Object deleteTopic(JsonNode ask) throws Exception {
        admin.deleteTopics(Collections.singleton(ask.get("topic").asText())).all().get();
        return null;
    }

    private static Object describeCluster(JsonNode ask) throws Exception {
        List<Object> brokers = new ArrayList<>();
        for (Node node : admin.describeCluster().nodes().get()) {
            Map<String, Object> broker = new HashMap<>();
            broker.put("id", node.id());
            broker.put("host", node.host());
            broker.put("port", node.port());
            brokers.add(broker);
        }
        Map<String, Object> cluster = new HashMap<>();
        cluster.put("brokers", brokers);
        cluster.put("controller", admin.describeCluster().controller().get().id());
        cluster.put("cluster_id", admin.describeCluster().clusterId().get());
        return cluster;
    }

    private static Object deleteRecords(JsonNode ask) throws Exception {
        TopicPartition partition =
            new TopicPartition(ask.get("topic").asText(), ask.get("partition").asInt());
        RecordsToDelete before = RecordsToDelete.beforeOffset(ask.get("offset").asLong());
        return admin.deleteRecords(Collections.singletonMap(partition, before))
            .lowWatermarks().get(partition).get().lowWatermark();
    }

    private static Object createPartitions(JsonNode ask) throws Exception {
        admin.createPartitions(Collections.singletonMap(ask.get("topic").asText(),
            NewPartitions.increaseTo(ask.get("count").asInt()))).all().get();
        return null;
    }

    private static ConfigResource resource(JsonNode ask) {
        return new ConfigResource(ConfigResource.Type.TOPIC, ask.get("topic").asText());
    }

    private static Object describeConfigs(JsonNode ask) throws Exception {
        Map<String, String> values = new HashMap<>();
        admin.describeConfigs(Collections.singleton(resource(ask))).all().get()
            .get(resource(ask)).entries().forEach(one -> values.put(one.name(), one.value()));
        return values;
    }

    private static Object alterConfigs(JsonNode ask) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        strings(ask.get("configs")).forEach((name, value) -> changes.add(
            new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Collections.singletonMap(resource(ask), changes))
            .all().get();
        return null;
    }

    private static Object endure(JsonNode ask) {
        endurance = new Endurance(ask.get("topic").asText());
        endurance.start();
        return null;
    }

    /** Sends bursts of numbered records in a thread of its own, and notes each acknowledgement. */
    private static final class Endurance extends Thread {
        private static final int BURST = 20;
        private final String topic;
        private final List<Integer> acked = Collections.synchronizedList(new ArrayList<>());
        private final List<String> errors = Collections.synchronizedList(new ArrayList<>());
        private volatile boolean over;

        Endurance(String topic) {
            this.topic = topic;
        }

        @Override
        public void run() {
            Properties config = common();
            config.put("acks", "all");
            config.put("enable.idempotence", "true");
            config.put("delivery.timeout.ms", "60000");
            config.put("request.timeout.ms", "30000");
            try (KafkaProducer<byte[], byte[]> producer = producer(config)) {
                for (int first = 0; !over; first += BURST) {
                    for (int number = first; number < first + BURST; number++) {
                        send(producer, number);
                    }
                    producer.flush();
                    Thread.sleep(20);
                }
            } catch (InterruptedException stopped) {
                Thread.currentThread().interrupt();
            }
        }

        private void send(KafkaProducer<byte[], byte[]> producer, int number) {
            byte[] value = String.valueOf(number).getBytes(StandardCharsets.UTF_8);
            producer.send(new ProducerRecord<>(topic, 0, null, value), (told, error) -> {
                if (error == null) acked.add(number);
                else errors.add(error.toString());
            });
        }

        int count() {
            return acked.size();
        }

        Object calm() throws InterruptedException {
            over = true;
            join();
            Map<String, Object> told = new HashMap<>();
            told.put("acked", acked);
            told.put("errors", errors);
            return told;
        }
    }
}
