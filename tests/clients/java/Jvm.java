import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.StreamSupport;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.common.utils.Time;

/**
 * All of the client tests' Java in one process: a request is one line of JSON on standard input,
 * its answer one line on standard output. It runs the main methods of Kafka's tools, a producer and
 * a consumer, and Apache Kafka itself. Bytes travel as hex.
 */
public final class Jvm {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();
    /** What a tool wants done at its end; for the console producer this is sending. */
    private static final List<Runnable> hooks = new ArrayList<>();
    private static Integer exitCode;
    private static volatile Integer strangerWantedExit;
    private static KafkaRaftServer broker;
    /** Scala keeps the stream that it finds first: what is behind it changes. */
    private static final Turned printed = new Turned();
    private static final Turned complained = new Turned();
    private static final PrintStream realErr = System.err;

    private static final class Turned extends OutputStream {
        volatile OutputStream to = OutputStream.nullOutputStream();

        @Override public void write(int one) throws IOException {
            to.write(one);
        }

        @Override public void write(byte[] bytes, int at, int count) throws IOException {
            to.write(bytes, at, count);
        }

        @Override public void flush() throws IOException {
            to.flush();
        }
    }

    private static final class Exited extends Error {
        Exited() {
            super("the tool exits");
        }
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        complained.to = realErr;
        System.setOut(new PrintStream(printed));
        System.setErr(new PrintStream(complained, true));
        Thread main = Thread.currentThread();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        Exit.Procedure exit = (code, message) -> {
            if (Thread.currentThread() != main) strangerWantedExit = code;
            else if (exitCode == null) exitCode = code;
            throw new Exited();
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        for (String line; (line = lines.readLine()) != null;) {
            Map<String, Object> answer = new HashMap<>();
            exitCode = null;
            try {
                answer.put("ok", answer(JSON.readTree(line)));
            } catch (Throwable error) {
                answer.put("error", error.toString());
            }
            if (strangerWantedExit != null) {
                answer.put("error", "a thread of Kafka's gave up with " + strangerWantedExit);
            }
            out.println(JSON.writeValueAsString(answer));
            out.flush();
        }
    }

    private static Object answer(JsonNode ask) throws Exception {
        return switch (ask.get("op").asText()) {
            case "tool" -> tool(ask);
            case "produce" -> produce(ask);
            case "consume" -> consume(ask);
            case "join" -> Members.join(ask);
            case "commit" -> Members.commit(ask);
            case "leave" -> Members.leave(ask);
            case "transaction" -> Transactions.step(ask);
            case "start" -> start(ask);
            case "stop" -> stop();
            case "codec_cases" -> Codec.cases(ask);
            case "codec_check" -> Codec.check(ask);
            default -> throw new IllegalArgumentException(ask.toString());
        };
    }

    /**
     * Runs a tool's main; its wish to exit is its exit code. What it prints goes to a file, because
     * it may be more than fits into this process.
     */
    private static Object tool(JsonNode ask) throws Exception {
        var args = JSON.convertValue(ask.get("args"), String[].class);
        var err = new ByteArrayOutputStream();
        printed.to = new BufferedOutputStream(new FileOutputStream(ask.get("out").asText()));
        complained.to = err;
        System.setOut(new PrintStream(printed)); // a tool may have closed the last one
        System.setIn(new ByteArrayInputStream(HEX.parseHex(ask.get("stdin").asText())));
        hooks.clear();
        int code = 0;
        try {
            Class.forName(ask.get("tool").asText()).getMethod("main", String[].class)
                .invoke(null, (Object) args);
        } catch (InvocationTargetException thrown) {
            code = 1;
            if (!(thrown.getCause() instanceof Exited)) thrown.getCause().printStackTrace();
        } finally {
            hooks.forEach(Runnable::run);
            System.out.flush();
            printed.to.close();
            printed.to = OutputStream.nullOutputStream();
            complained.to = realErr;
        }
        return Map.of("code", exitCode == null ? code : exitCode,
            "err", err.toString());
    }

    private static Properties common(JsonNode ask) {
        var config = new Properties();
        config.put("bootstrap.servers", ask.get("bootstrap").asText());
        return config;
    }

    private static byte[] bytes(JsonNode hex) {
        return hex == null || hex.isNull() ? null : HEX.parseHex(hex.asText());
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? null : HEX.formatHex(bytes);
    }

    private static Object produce(JsonNode ask) throws Exception {
        var config = common(ask);
        config.put("compression.type", ask.get("codec").asText());
        config.put("linger.ms", "2000"); // one batch, which the end sends
        var sent = new ArrayList<java.util.concurrent.Future<RecordMetadata>>();
        try (var producer = new KafkaProducer<>(
                config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (JsonNode record : ask.get("records")) {
                var made = new ProducerRecord<>(ask.get("topic").asText(),
                    ask.path("partition").asInt(0), record.get("timestamp").asLong(),
                    bytes(record.get("key")), bytes(record.get("value")));
                for (JsonNode header : record.get("headers")) {
                    made.headers().add(header.get(0).asText(), bytes(header.get(1)));
                }
                sent.add(producer.send(made));
            }
        }
        var offsets = new ArrayList<Long>();
        for (var future : sent) offsets.add(future.get().offset());
        return offsets;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(JsonNode ask) {
        var config = common(ask);
        config.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(
            config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static Object consume(JsonNode ask) {
        var found = new HashMap<String, List<Object>>();
        var partitions = new ArrayList<TopicPartition>();
        for (JsonNode topic : ask.get("topics")) {
            partitions.add(new TopicPartition(topic.asText(), 0));
            found.put(topic.asText(), new ArrayList<>());
        }
        long deadline = System.currentTimeMillis() + 20_000;
        try (var consumer = consumer(ask)) {
            consumer.assign(partitions);
            var ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("records are missing");
                }
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    found.get(record.topic()).add(plain(record));
                }
            }
        }
        return found;
    }

    private static Object plain(ConsumerRecord<byte[], byte[]> record) {
        var headers = new ArrayList<List<String>>();
        for (Header header : record.headers()) {
            var pair = new ArrayList<String>();
            pair.add(header.key());
            pair.add(hex(header.value()));
            headers.add(pair);
        }
        var plain = new HashMap<String, Object>();
        plain.put("offset", record.offset());
        plain.put("timestamp", record.timestamp());
        plain.put("key", hex(record.key()));
        plain.put("value", hex(record.value()));
        plain.put("headers", headers);
        return plain;
    }

    private static Object start(JsonNode ask) {
        var config = new Properties();
        StreamSupport.stream(
            ((Iterable<String>) () -> ask.get("config").fieldNames()).spliterator(), false)
            .forEach(key -> config.put(key, ask.get("config").get(key).asText()));
        broker = new KafkaRaftServer(KafkaConfig.fromProps(config, false), Time.SYSTEM);
        broker.startup();
        return true;
    }

    private static Object stop() {
        broker.shutdown();
        broker.awaitShutdown();
        broker = null;
        return true;
    }
}
