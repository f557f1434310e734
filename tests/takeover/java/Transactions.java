import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Producers with transactions that go on whoever serves them. Some take one step at a time, as they
 * are asked to; others, each on a thread of its own, commit one transaction after another through every
 * stop of their broker.
 */
final class Transactions {
    private static final Map<String, Opened> opened = new ConcurrentHashMap<>();
    private static final Map<String, Loop> loops = new ConcurrentHashMap<>();
    /** Also of those that were replaced: none is to ask the broker of the next case for its topics. */
    private static final List<KafkaProducer<byte[], byte[]>> all = new ArrayList<>();

    private Transactions() { }

    private static final class Opened {
        final KafkaProducer<byte[], byte[]> producer;
        boolean begun;

        Opened(KafkaProducer<byte[], byte[]> producer) {
            this.producer = producer;
        }

        void begin() {
            if (!begun) producer.beginTransaction();
            begun = true;
        }

        void end(boolean commits) {
            if (commits) producer.commitTransaction(); else producer.abortTransaction();
            begun = false;
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(JsonNode ask) {
        var config = new TreeMap<>(Map.of(
            "transactional.id", ask.get("id").asText(), "linger.ms", "0",
            "reconnect.backoff.max.ms", "200", "max.block.ms", "20000",
            "transaction.timeout.ms", "600000"));
        ask.path("config").fields()
            .forEachRemaining(it -> config.put(it.getKey(), it.getValue().asText()));
        var producer = Fill.producer(ask.get("bootstrap").asText(), config);
        all.add(producer);
        producer.initTransactions();
        return producer;
    }

    /** One step of a producer. */
    static Object step(JsonNode ask) throws Exception {
        String name = ask.get("name").asText();
        if (ask.get("verb").asText().equals("open")) {
            opened.put(name, new Opened(producer(ask)));
            return true;
        }
        var one = opened.get(name);
        switch (ask.get("verb").asText()) {
            case "send" -> {
                one.begin();
                Fill.send(one.producer, List.of(Fill.record(ask.get("topic").asText(),
                    ask.get("partition").asInt(), null, name, ask.get("value").asText())));
            }
            case "offset" -> {
                one.begin();
                var partition = new TopicPartition(ask.get("topic").asText(), 0);
                one.producer.sendOffsetsToTransaction(
                    Map.of(partition, new OffsetAndMetadata(ask.get("offset").asLong())),
                    new ConsumerGroupMetadata(ask.get("group").asText()));
            }
            case "commit" -> one.end(true);
            case "abort" -> one.end(false);
            default -> throw new IllegalArgumentException(ask.toString());
        }
        return true;
    }

    private static final class Loop extends Thread {
        final KafkaProducer<byte[], byte[]> producer;
        final String name;
        final String topic;
        final int partition;
        volatile int committed;
        volatile String error = "";
        volatile boolean ends;
        volatile boolean rests;
        volatile boolean isResting;

        Loop(JsonNode ask) {
            producer = producer(ask);
            name = ask.get("id").asText();
            topic = ask.get("topic").asText();
            partition = ask.get("partition").asInt();
            setDaemon(true);
        }

        @Override public void run() {
            try {
                while (!ends) {
                    isResting = rests;
                    if (rests) {
                        Thread.sleep(5);
                        continue;
                    }
                    producer.beginTransaction();
                    Fill.send(producer, List.of(Fill.record(
                        topic, partition, null, name, String.valueOf(committed))));
                    commit();
                    committed++;
                }
            } catch (Exception fatal) {
                error = fatal.toString();
            }
            producer.close(Duration.ofSeconds(5));
        }

        /** The broker may be away for longer than one call waits. */
        private void commit() {
            while (true) {
                try {
                    producer.commitTransaction();
                    return;
                } catch (TimeoutException away) {
                    // The same call goes on with the same commit.
                    if (ends) throw away;
                }
            }
        }
    }

    static Object loop(JsonNode ask) {
        var loop = new Loop(ask);
        loops.put(loop.name, loop);
        loop.start();
        return true;
    }

    /** How many transactions each loop has committed, and errors, if there are any. */
    static Object loops() {
        var all = new TreeMap<String, Object>();
        loops.forEach((name, loop) ->
            all.put(name, Map.of("committed", loop.committed, "error", loop.error)));
        return all;
    }

    /** Lets all loops begin nothing new, until they are told to go on. */
    static Object rest(boolean rests) throws Exception {
        for (var loop : loops.values()) loop.rests = rests;
        long deadline = System.currentTimeMillis() + 60_000;
        while (loops.values().stream()
                .anyMatch(loop -> loop.isResting != rests && loop.isAlive())) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("a loop does not end its transaction");
            }
            Thread.sleep(5);
        }
        return true;
    }

    static Object endLoops() throws Exception {
        for (var loop : loops.values()) loop.ends = true;
        for (var loop : loops.values()) loop.join(60_000);
        var told = loops();
        loops.clear();
        return told;
    }

    static Object end() throws Exception {
        for (var loop : loops.values()) loop.ends = true;
        all.forEach(producer -> producer.close(Duration.ZERO)); // there may be no broker any more
        all.clear();
        endLoops();
        opened.clear();
        return true;
    }

    /** Committed records as KEY VALUE, by partition, and the producers that something is open of. */
    @SuppressWarnings("unchecked")
    static Object read(JsonNode ask) throws Exception {
        String topic = ask.get("topic").asText();
        var config = Fill.at(ask.get("bootstrap").asText());
        config.put("isolation.level", "read_committed");
        var found = new TreeMap<String, Object>();
        try (var consumer = new KafkaConsumer<>(
                config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            for (var info : consumer.partitionsFor(topic)) {
                var partition = new TopicPartition(topic, info.partition());
                consumer.assign(List.of(partition));
                consumer.seekToBeginning(List.of(partition));
                long end = consumer.endOffsets(List.of(partition)).get(partition);
                var values = new ArrayList<String>();
                long deadline = System.currentTimeMillis() + 30_000;
                while (consumer.position(partition) < end) {
                    for (var one : consumer.poll(Duration.ofMillis(100))) {
                        values.add(new String(one.key()) + " " + new String(one.value()));
                    }
                    if (System.currentTimeMillis() > deadline) {
                        throw new IllegalStateException("records are missing");
                    }
                }
                found.put(String.valueOf(info.partition()),
                    Map.of("values", values, "stable", end));
            }
        }
        try (var admin = Admin.create(Fill.at(ask.get("bootstrap").asText()))) {
            for (var entry : found.entrySet()) {
                var partition = new TopicPartition(topic, Integer.parseInt(entry.getKey()));
                var open = new ArrayList<String>();
                for (var producer : admin.describeProducers(List.of(partition))
                        .partitionResult(partition).get().activeProducers()) {
                    if (producer.currentTransactionStartOffset().isPresent()) {
                        open.add(producer.toString());
                    }
                }
                var told = new TreeMap<>((Map<String, Object>) entry.getValue());
                told.put("open", open);
                entry.setValue(told);
            }
        }
        return found;
    }

    /** What the coordinator says of each transactional id, and the committed offsets of groups. */
    static Object states(JsonNode ask) throws Exception {
        var told = new TreeMap<String, Object>();
        try (var admin = Admin.create(Fill.at(ask.get("bootstrap").asText()))) {
            for (var listing : admin.listTransactions().all().get()) {
                told.put(listing.transactionalId(), listing.state().toString());
            }
            for (JsonNode group : ask.get("groups")) {
                admin.listConsumerGroupOffsets(group.asText()).partitionsToOffsetAndMetadata().get()
                    .forEach((partition, offset) -> told.put(
                        "group " + group.asText(), offset == null ? -1 : offset.offset()));
            }
        }
        return told;
    }

    static Object begin(JsonNode ask) throws Exception {
        try (var admin = Admin.create(Fill.at(ask.get("bootstrap").asText()))) {
            Fill.create(admin, ask.get("topic").asText(), ask.get("partitions").asInt(), Map.of());
            Fill.create(admin, ask.get("source").asText(), 1, Map.of());
        }
        return true;
    }
}
