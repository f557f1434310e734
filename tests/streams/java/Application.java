import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;

/**
 * One instance of an application of Kafka Streams with exactly_once_v2: it counts words, and joins two
 * streams in windows. BOOTSTRAP, a folder of its own, and how far apart joined records may be, in ms.
 * It runs until its standard input ends.
 */
public final class Application {
    private Application() { }

    public static void main(String[] args) throws Exception {
        var config = new Properties();
        config.put("application.id", "streams");
        config.put("bootstrap.servers", args[0]);
        config.put("state.dir", args[1]);
        config.put("processing.guarantee", "exactly_once_v2");
        config.put("default.key.serde", Serdes.StringSerde.class.getName());
        config.put("default.value.serde", Serdes.StringSerde.class.getName());
        config.put("replication.factor", "1");
        config.put("commit.interval.ms", "100");
        // Each count is told, not only the last one before a commit.
        config.put("statestore.cache.max.bytes", "0");
        config.put("dsl.store.suppliers.class",
            BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class.getName());
        config.put("consumer.auto.offset.reset", "earliest");
        config.put("consumer.session.timeout.ms", "6000");
        config.put("consumer.heartbeat.interval.ms", "500");
        config.put("reconnect.backoff.max.ms", "200");
        config.put("producer.transaction.timeout.ms", "10000");
        var streams = new KafkaStreams(topology(Long.parseLong(args[2])).build(), config);
        streams.setUncaughtExceptionHandler(error -> {
            System.err.println("a thread ends: " + error);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.setStateListener((now, before) -> System.err.println(before + " -> " + now));
        streams.start();
        while (System.in.read() >= 0) { }
        streams.close(Duration.ofSeconds(20));
        System.exit(0);
    }

    private static StreamsBuilder topology(long apart) {
        var builder = new StreamsBuilder();
        KStream<String, String> lines = builder.stream("lines");
        lines.flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count()
            .toStream()
            .mapValues(String::valueOf)
            .to("counts");
        KStream<String, String> left = builder.stream("left");
        KStream<String, String> right = builder.stream("right");
        left.join(right, (one, other) -> one + "+" + other,
                JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(apart), Duration.ofDays(1)))
            .to("joined");
        return builder;
    }
}
