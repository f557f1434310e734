import com.fasterxml.jackson.databind.JsonNode;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Members of groups, a thread each. What happens to one stands in a file (groups.py). */
final class Members {
    private static final Map<String, Running> MEMBERS = new HashMap<>();

    private Members() {}

    static Object join(Properties config, JsonNode ask) throws IOException {
        config.put("group.id", ask.get("group").asText());
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        config.put("fetch.max.wait.ms", "100");
        config.put("metadata.max.age.ms", ask.get("pattern").isNull() ? "60000" : "1000");
        if (ask.path("protocol").asText().equals("consumer")) {
            // Times and assignors are the broker's.
            config.put("group.protocol", "consumer");
        } else {
            config.put("session.timeout.ms", ask.get("session").asText());
            config.put("heartbeat.interval.ms", ask.get("heartbeat").asText());
            config.put("partition.assignment.strategy", ask.get("cooperative").asBoolean()
                ? CooperativeStickyAssignor.class.getName() : RangeAssignor.class.getName());
        }
        if (!ask.get("instance").isNull()) {
            config.put("group.instance.id", ask.get("instance").asText());
        }
        return begin(ask, new Member(config, ask));
    }

    static Object begin(JsonNode ask, Running member) {
        MEMBERS.put(ask.get("member").asText(), member);
        member.start();
        return null;
    }

    static Object leave(JsonNode ask) throws Exception {
        Running member = MEMBERS.remove(ask.get("member").asText());
        member.over = true;
        member.join(20_000);
        if (member.isAlive()) throw new TimeoutException("a member does not leave within 20 s");
        return null;
    }

    /** What runs until it is to leave, and writes into a file what happens to it. */
    abstract static class Running extends Thread {
        protected final Properties config;
        protected final JsonNode ask;
        private final OutputStream log;
        protected volatile boolean over;

        Running(Properties config, JsonNode ask) throws IOException {
            this.config = config;
            this.ask = ask;
            log = new FileOutputStream(ask.get("log").asText(), true);
            setDaemon(true);
        }

        protected void note(String mark, String text) {
            String line = mark + " " + text.replaceAll("\\s+", " ") + "\n";
            try {
                log.write(line.getBytes(StandardCharsets.UTF_8));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    private static final class Member extends Running implements ConsumerRebalanceListener {
        private KafkaConsumer<byte[], byte[]> consumer;
        private boolean uncommitted;

        Member(Properties config, JsonNode ask) throws IOException {
            super(config, ask);
        }

        @Override
        public void run() {
            consumer = new KafkaConsumer<>(
                config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            try {
                if (ask.get("pattern").isNull()) {
                    consumer.subscribe(StreamSupport.stream(ask.get("topics").spliterator(), false)
                        .map(JsonNode::asText).collect(Collectors.toList()), this);
                } else {
                    consumer.subscribe(Pattern.compile(ask.get("pattern").asText()), this);
                }
                while (!over) poll();
            } catch (RuntimeException error) {
                note("!", error.toString());
            }
            consumer.close();
        }

        private void poll() {
            try {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofMillis(100));
                for (ConsumerRecord<byte[], byte[]> one : polled) {
                    note(".", one.topic() + ":" + one.partition() + " " + one.offset());
                }
                uncommitted |= !polled.isEmpty();
                commit();
            } catch (FencedInstanceIdException fenced) {
                over = true;
                throw fenced;
            } catch (RuntimeException error) {
                note("!", error.toString());
            }
        }

        /** While a rebalance is under way a commit is refused: it follows later. */
        private void commit() {
            try {
                if (uncommitted) consumer.commitSync();
                uncommitted = false;
            } catch (RebalanceInProgressException later) {
                note("~", later.toString());
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> given) {
            note("+", words(given));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> taken) {
            commit();
            note("-", words(taken));
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> lost) {
            uncommitted = false;
            note("-", words(lost));
        }

        private static String words(Collection<TopicPartition> partitions) {
            return partitions.stream().map(one -> one.topic() + ":" + one.partition())
                .collect(Collectors.joining(" "));
        }
    }
}
