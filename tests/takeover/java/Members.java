import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Members of groups that go on whoever serves them: each reads and commits on a thread of its own,
 * through every stop of its broker. A member without a committed offset begins at the beginning;
 * one that has had an offset and finds none would read everything again, which the records tell.
 */
final class Members {
    private static final Map<String, Member> members = new ConcurrentHashMap<>();

    private Members() { }

    private static final class Member extends Thread {
        final KafkaConsumer<byte[], byte[]> consumer;
        final ConcurrentLinkedQueue<String> read = new ConcurrentLinkedQueue<>();
        final ConcurrentLinkedQueue<String> errors = new ConcurrentLinkedQueue<>();
        volatile List<String> assigned = List.of();
        volatile String id = "";
        volatile int generation = -1;
        volatile boolean ends;
        private boolean owes;

        Member(JsonNode ask) {
            var config = Fill.at(ask.get("bootstrap").asText());
            config.put("group.id", ask.get("group").asText());
            config.put("client.id", ask.get("name").asText());
            config.put("enable.auto.commit", "false");
            config.put("auto.offset.reset", "earliest");
            config.put("reconnect.backoff.max.ms", "200");
            config.put("default.api.timeout.ms", "2000");
            // A client that begins anew with its metadata while the broker is away has a reason of its
            // own to join again, whoever comes back.
            config.put("metadata.recovery.strategy", "none");
            config.put("allow.auto.create.topics", "false");
            ask.get("config").fields()
                .forEachRemaining(it -> config.put(it.getKey(), it.getValue().asText()));
            if (!config.containsKey("group.protocol")) {
                config.put("heartbeat.interval.ms", "300");
                config.put("session.timeout.ms", "45000");
            }
            consumer = new KafkaConsumer<>(
                config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            consumer.subscribe(List.of(ask.get("topic").asText()));
            setDaemon(true);
        }

        @Override public void run() {
            while (!ends) {
                try {
                    step();
                } catch (TimeoutException | RebalanceInProgressException error) {
                    // The broker is away, or everybody joins again.
                } catch (RetriableException error) {
                    errors.add(error.toString());
                } catch (RuntimeException error) {
                    errors.add(error.toString());
                    return;
                }
            }
            consumer.close(Duration.ofSeconds(5));
        }

        private void step() {
            for (var record : consumer.poll(Duration.ofMillis(50))) {
                read.add(record.partition() + ":" + record.offset());
                owes = true;
            }
            if (owes) {
                consumer.commitSync();
                owes = false;
            }
            var now = new ArrayList<String>();
            consumer.assignment().forEach(one -> now.add(one.toString()));
            now.sort(null);
            assigned = now;
            id = consumer.groupMetadata().memberId();
            generation = consumer.groupMetadata().generationId();
        }
    }

    static Object begin(JsonNode ask) throws Exception {
        try (var admin = Admin.create(Fill.at(ask.get("bootstrap").asText()))) {
            Fill.create(admin, ask.get("topic").asText(), ask.get("partitions").asInt(), Map.of());
        }
        return true;
    }

    /** So many records for each partition. */
    static Object send(JsonNode ask) throws Exception {
        try (var producer = Fill.producer(ask.get("bootstrap").asText(), Map.of())) {
            for (int partition = 0; partition < ask.get("partitions").asInt(); partition++) {
                for (int i = 0; i < ask.get("count").asInt(); i++) {
                    String topic = ask.get("topic").asText();
                    Fill.send(producer, List.of(Fill.record(topic, partition, null, "k", "v" + i)));
                }
            }
        }
        return true;
    }

    static Object join(JsonNode ask) {
        var member = new Member(ask);
        members.put(ask.get("name").asText(), member);
        member.start();
        return true;
    }

    static Object leave(JsonNode ask) throws Exception {
        var member = members.remove(ask.get("name").asText());
        member.ends = true;
        member.join(30_000);
        return List.copyOf(member.read);
    }

    /** All are gone, without a word to their groups if nobody is there to hear it. */
    static Object end() throws Exception {
        for (var member : members.values()) member.ends = true;
        for (var member : members.values()) member.join(30_000);
        members.clear();
        return true;
    }

    /** What each member has, and what it has read. */
    static Object look() {
        var all = new TreeMap<String, Object>();
        members.forEach((name, member) -> all.put(name, Map.of(
            "id", member.id, "generation", member.generation, "assigned", member.assigned,
            "read", List.copyOf(member.read), "errors", List.copyOf(member.errors))));
        return all;
    }
}
