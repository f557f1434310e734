import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Consumers that are members of groups while other questions are answered. A member polls only while
 * somebody joins and waits for that; between questions its heartbeats alone keep it in its group, so
 * that what a tool is told does not depend on the moment.
 */
final class Members {
    private record Member(
        String group, boolean isClassic, KafkaConsumer<byte[], byte[]> consumer) {

        int generation() {
            return consumer.groupMetadata().generationId();
        }
    }

    private static final Map<String, Member> members = new TreeMap<>();
    private static final long PATIENCE_MS = 30_000;

    private Members() {}

    /** A member joins; unless it is not waited for, all of its group are in one generation then. */
    static Object join(JsonNode ask) throws Exception {
        var config = new Properties();
        config.put("bootstrap.servers", ask.get("bootstrap").asText());
        config.put("group.id", ask.get("group").asText());
        config.put("client.id", ask.get("name").asText());
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        ask.get("config").fields()
            .forEachRemaining(it -> config.put(it.getKey(), it.getValue().asText()));
        boolean isClassic = !config.containsKey("group.protocol");
        if (isClassic) {
            config.put("heartbeat.interval.ms", "100");
        }
        var topics = ask.get("topics").asText().split(",");
        var consumer = new KafkaConsumer<>(
            config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(topics));
        var member = new Member(ask.get("group").asText(), isClassic, consumer);
        members.put(ask.get("name").asText(), member);
        if (ask.get("waits").asBoolean()) {
            settle(member.group());
        } else {
            consumer.poll(Duration.ofMillis(1_000));
        }
        return true;
    }

    private static void settle(String group) {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        var all = members.values().stream().filter(it -> it.group().equals(group)).toList();
        // Members of the consumer protocol hear of the others by heartbeats of their own time.
        int needed = all.stream().allMatch(Member::isClassic) ? 3 : 12;
        int rounds = 0;
        var before = List.<Set<TopicPartition>>of();
        while (rounds < needed) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("the group " + group + " does not settle");
            }
            all.forEach(it -> it.consumer().poll(Duration.ofMillis(100)));
            var generations = all.stream().map(Member::generation).distinct().toList();
            var owned = all.stream().map(it -> it.consumer().assignment()).toList();
            boolean agree = generations.size() == 1 && generations.get(0) > 0;
            rounds = agree && owned.equals(before) ? rounds + 1 : 0;
            before = owned;
        }
    }

    /** A member commits an offset. */
    static Object commit(JsonNode ask) {
        var partition = new TopicPartition(ask.get("topic").asText(), ask.get("partition").asInt());
        var offset = new OffsetAndMetadata(ask.get("offset").asLong(), ask.get("metadata").asText());
        members.get(ask.get("name").asText()).consumer().commitSync(Map.of(partition, offset));
        return true;
    }

    /** A member leaves; those that are left settle. */
    static Object leave(JsonNode ask) {
        var member = members.remove(ask.get("name").asText());
        member.consumer().close();
        if (members.values().stream().anyMatch(it -> it.group().equals(member.group()))) {
            settle(member.group());
        }
        return true;
    }
}
