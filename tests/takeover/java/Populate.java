import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateDelegationTokenOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What only Apache Kafka can make: all kinds of metadata, of topics, groups and transactions. */
final class Populate {
    private static final String OPEN = "open-transaction";

    private Populate() { }

    static Object populate(String bootstrap, String sasl, String[] dirs) throws Exception {
        Fill.fill(bootstrap, "k-");
        try (var admin = Admin.create(Fill.at(bootstrap))) {
            security(admin, sasl);
            configs(admin);
            topics(admin, bootstrap);
            compaction(admin, bootstrap, dirs);
            transactions(admin, bootstrap);
            groups(admin, bootstrap);
            admin.deleteTopics(List.of("deleted")).all().get();
        }
        return true;
    }

    private static AclBinding acl(
            ResourceType type, String name, PatternType pattern, String who,
            AclOperation operation, AclPermissionType permission) {
        return new AclBinding(new ResourcePattern(type, name, pattern),
            new AccessControlEntry(who, "*", operation, permission));
    }

    private static void scram(Admin admin, String user, ScramMechanism mechanism, int iterations)
            throws Exception {
        var info = new ScramCredentialInfo(mechanism, iterations);
        var upsertion = new UserScramCredentialUpsertion(user, info, "secret of " + user);
        admin.alterUserScramCredentials(List.of(upsertion)).all().get();
    }

    private static ClientQuotaAlteration quota(Map<String, String> entity, String key, double to) {
        return new ClientQuotaAlteration(
            new ClientQuotaEntity(entity), List.of(new ClientQuotaAlteration.Op(key, to)));
    }

    private static Map<String, String> entity(String... parts) {
        var entity = new TreeMap<String, String>();
        for (int i = 0; i < parts.length; i += 2) entity.put(parts[i], parts[i + 1]);
        return entity;
    }

    private static void security(Admin admin, String sasl) throws Exception {
        var allow = AclPermissionType.ALLOW;
        admin.createAcls(List.of(
            acl(ResourceType.TOPIC, "k-none", PatternType.LITERAL, "User:alice",
                AclOperation.READ, allow),
            acl(ResourceType.TOPIC, "k-", PatternType.PREFIXED, "User:*",
                AclOperation.WRITE, AclPermissionType.DENY),
            acl(ResourceType.GROUP, "*", PatternType.LITERAL, "User:bob", AclOperation.ALL, allow),
            acl(ResourceType.CLUSTER, "kafka-cluster", PatternType.LITERAL, "User:bob",
                AclOperation.ALTER, allow),
            acl(ResourceType.TRANSACTIONAL_ID, "tx", PatternType.PREFIXED, "User:alice",
                AclOperation.DESCRIBE, allow),
            acl(ResourceType.DELEGATION_TOKEN, "t", PatternType.LITERAL, "User:bob",
                AclOperation.DESCRIBE, allow),
            acl(ResourceType.USER, "User:bob", PatternType.LITERAL, "User:alice",
                AclOperation.DESCRIBE_TOKENS, allow))).all().get();
        scram(admin, "alice", ScramMechanism.SCRAM_SHA_256, 4096);
        scram(admin, "alice", ScramMechanism.SCRAM_SHA_512, 8192);
        scram(admin, "bob", ScramMechanism.SCRAM_SHA_512, 4096);
        admin.alterClientQuotas(List.of(
            quota(entity("user", "alice"), "producer_byte_rate", 1e6),
            quota(entity("user", null), "consumer_byte_rate", 2e9),
            quota(entity("user", "bob", "client-id", "c"), "request_percentage", 50.5),
            quota(entity("client-id", "d"), "controller_mutation_rate", 10),
            quota(entity("ip", "10.1.2.3"), "connection_creation_rate", 7))).all().get();
        try (var owner = Admin.create(Describe.asAdmin(sasl))) {
            for (String renewer : List.of("alice", "bob")) {
                owner.createDelegationToken(new CreateDelegationTokenOptions()
                    .renewers(List.of(new KafkaPrincipal("User", renewer)))).delegationToken()
                    .get();
            }
        }
    }

    private static void set(Admin admin, ConfigResource resource, Map<String, String> configs)
            throws Exception {
        Collection<AlterConfigOp> ops = new ArrayList<>();
        configs.forEach((name, value) -> ops.add(
            new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
    }

    private static ConfigResource resource(String type, String name) {
        return new ConfigResource(ConfigResource.Type.valueOf(type), name);
    }

    private static void configs(Admin admin) throws Exception {
        set(admin, resource("BROKER", "1"),
            Map.of("message.max.bytes", "2000000", "log.cleaner.threads", "2"));
        set(admin, resource("BROKER", ""), Map.of("background.threads", "9"));
        set(admin, resource("CLIENT_METRICS", "telemetry"),
            Map.of("metrics", "org.apache.kafka.producer.", "interval.ms", "60000"));
        // Configs of groups came with Kafka 4.0.
        boolean groups = List.of(ConfigResource.Type.values()).toString().contains("GROUP");
        if (groups) {
            set(admin, resource("GROUP", "new-group"), Map.of(
                "consumer.session.timeout.ms", "46000", "consumer.heartbeat.interval.ms", "6000"));
            set(admin, resource("GROUP", "share"), Map.of("share.auto.offset.reset", "earliest"));
        }
    }

    private static void topics(Admin admin, String bootstrap) throws Exception {
        var many = new TreeMap<>(Map.of(
            "retention.bytes", "123456789", "retention.ms", "-1", "max.message.bytes", "500000",
            "min.insync.replicas", "1", "flush.messages", "10", "flush.ms", "100000",
            "index.interval.bytes", "1000", "segment.jitter.ms", "10",
            "unclean.leader.election.enable", "false", "segment.index.bytes", "102400"));
        many.put("compression.type", "zstd");
        many.put("message.timestamp.before.max.ms", "1000000000000");
        many.put("message.timestamp.after.max.ms", "1000000000");
        many.put("leader.replication.throttled.replicas", "*");
        many.put("file.delete.delay.ms", "1000");
        many.put("delete.retention.ms", "100");
        Fill.create(admin, "configured", 1, many);
        Fill.create(admin, "preallocated", 1,
            Map.of("preallocate", "true", "segment.bytes", "1048576"));
        Fill.create(admin, "short-index", 1,
            Map.of("segment.index.bytes", "24", "index.interval.bytes", "0"));
        Fill.create(admin, "deleted-records", 1, Map.of("segment.ms", "1"));
        Fill.create(admin, "grown", 2, Map.of());
        Fill.create(admin, "deleted", 2, Map.of());
        admin.createPartitions(Map.of("grown", NewPartitions.increaseTo(4))).all().get();
        try (var producer = Fill.producer(bootstrap, Map.of("compression.type", "lz4"))) {
            for (int i = 0; i < 12; i++) {
                for (String topic : List.of("configured", "preallocated", "deleted")) {
                    Fill.send(producer, Fill.anyRecords(topic, 0, i));
                }
                for (String topic : List.of("deleted-records", "short-index")) {
                    Fill.send(producer, Fill.anyRecords(topic, 0, i));
                }
            }
        }
        // In the middle of a batch, with whole segments below it.
        admin.deleteRecords(Map.of(new TopicPartition("deleted-records", 0),
            RecordsToDelete.beforeOffset(50))).all().get();
    }

    /** Logs with gaps, and one whose first segments were compacted to nothing. */
    private static void compaction(Admin admin, String bootstrap, String[] dirs)
            throws Exception {
        var eager = Map.of("cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.001",
            "segment.ms", "1", "delete.retention.ms", "0");
        Fill.create(admin, "compacted", 1, eager);
        // So short an index keeps segments from being merged: the first is left without a record.
        var alone = new TreeMap<>(eager);
        alone.put("segment.index.bytes", "12");
        Fill.create(admin, "compacted-away", 1, alone);
        var both = new TreeMap<>(eager);
        both.put("cleanup.policy", "compact,delete");
        both.put("delete.retention.ms", "86400000");
        Fill.create(admin, "compacted-deleted", 1, both);
        try (var producer = Fill.producer(bootstrap, Map.of("compression.type", "gzip"))) {
            for (int i = 0; i < 30; i++) {
                var records = new ArrayList<ProducerRecord<byte[], byte[]>>();
                for (int j = 0; j < 10; j++) {
                    String value = j == 7 ? null : "value " + i + " of " + j;
                    for (String topic : List.of("compacted", "compacted-deleted")) {
                        records.add(Fill.record(
                            topic, 0, Fill.TIME + i * 50L, "key-" + i * j % 17, value));
                    }
                }
                Fill.send(producer, records);
            }
        }
        // The last batch of an idempotent producer would be kept, without its records.
        try (var producer = Fill.producer(bootstrap, Map.of("enable.idempotence", "false"))) {
            long time = Fill.TIME;
            long deadline = System.currentTimeMillis() + 40_000;
            while (!cleaned(dirs)) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("the cleaner did not do its work in time");
                }
                Fill.send(producer,
                    List.of(Fill.record("compacted-away", 0, time += 100, "k", "tick " + time)));
                Thread.sleep(300);
            }
        }
        // From here on nothing moves, so that what is seen before and after can be compared.
        for (String topic : List.of("compacted", "compacted-away", "compacted-deleted")) {
            set(admin, resource("TOPIC", topic),
                Map.of("min.compaction.lag.ms", "9223372036854775807"));
        }
        Thread.sleep(1000);
    }

    private static boolean cleaned(String[] dirs) throws Exception {
        long emptied = 0;
        var cleaned = new StringBuilder();
        for (String dir : dirs) {
            var first = Path.of(dir, "compacted-away-0/00000000000000000000.log");
            if (Files.exists(first) && Files.size(first) == 0) emptied++;
            var file = Path.of(dir, "cleaner-offset-checkpoint");
            if (Files.exists(file)) cleaned.append(Files.readString(file));
        }
        return emptied == 1 && cleaned.indexOf("compacted 0 290") >= 0
            && cleaned.indexOf("compacted-deleted 0 290") >= 0;
    }

    private static KafkaProducer<byte[], byte[]> transactional(String bootstrap, String id) {
        var producer = Fill.producer(bootstrap, Map.of(
            "transactional.id", id, "transaction.timeout.ms", "900000",
            "compression.type", "snappy"));
        producer.initTransactions();
        return producer;
    }

    /** Committed, aborted and open ones, over several partitions and segments. */
    private static void transactions(Admin admin, String bootstrap) throws Exception {
        Fill.create(admin, "transactions", 2, Map.of());
        Fill.create(admin, "transactions-rolled", 1, Map.of("segment.ms", "1"));
        Fill.create(admin, "open", 2, Map.of());
        try (var first = transactional(bootstrap, "tx-first");
                var second = transactional(bootstrap, "tx-second")) {
            for (int i = 0; i < 8; i++) {
                first.beginTransaction();
                second.beginTransaction();
                for (int partition = 0; partition < 2; partition++) {
                    Fill.send(first, Fill.anyRecords("transactions", partition, i));
                    Fill.send(second, Fill.anyRecords("transactions", partition, i + 50));
                }
                Fill.send(first, Fill.anyRecords("transactions-rolled", 0, i));
                Fill.send(first, Fill.anyRecords("open", 0, i));
                if (i % 2 == 0) first.abortTransaction(); else first.commitTransaction();
                if (i % 3 == 0) second.abortTransaction(); else second.commitTransaction();
            }
            first.beginTransaction();
            Fill.send(first, Fill.anyRecords("transactions-rolled", 0, 20));
            first.sendOffsetsToTransaction(
                Map.of(new TopicPartition("k-none", 0), new OffsetAndMetadata(11, "in a tx")),
                new ConsumerGroupMetadata("group-of-tx"));
            first.commitTransaction();
        }
        var open = transactional(bootstrap, OPEN);
        open.beginTransaction();
        Fill.send(open, Fill.anyRecords("open", 0, 30));
        Fill.send(open, Fill.anyRecords("open", 1, 31));
        open.sendOffsetsToTransaction(
            Map.of(new TopicPartition("k-none", 1), new OffsetAndMetadata(5)),
            new ConsumerGroupMetadata("group-of-tx"));
        try (var producer = Fill.producer(bootstrap, Map.of())) {
            Fill.send(producer, Fill.anyRecords("open", 0, 32));
        }
        open.close(Duration.ZERO); // does not abort
    }

    private static void groups(Admin admin, String bootstrap) throws Exception {
        admin.alterConsumerGroupOffsets("written-by-admin", Map.of(
            new TopicPartition("k-gzip", 0), new OffsetAndMetadata(3, "said so"),
            new TopicPartition("k-zstd", 1), new OffsetAndMetadata(4))).all().get();
        consume(bootstrap, "classic-group", "classic");
        boolean newProtocol = admin.describeFeatures().featureMetadata().get()
            .finalizedFeatures().containsKey("group.version");
        if (newProtocol) consume(bootstrap, "new-group", "consumer");
    }

    private static void consume(String bootstrap, String group, String protocol) {
        var config = Fill.at(bootstrap);
        config.put("group.id", group);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        if (protocol.equals("consumer")) config.put("group.protocol", protocol);
        try (var consumer = new KafkaConsumer<>(
                config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of("k-none", "k-lz4"));
            long deadline = System.currentTimeMillis() + 20_000;
            int records = 0;
            while (records < 400) {
                records += consumer.poll(Duration.ofMillis(100)).count();
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(group + " got " + records + " records");
                }
            }
            consumer.commitSync();
        }
    }

    /** Goes on where everything was left: the open transaction ends, groups read on. */
    static Object goOn(String bootstrap) throws Exception {
        try (var open = transactional(bootstrap, OPEN)) {
            open.beginTransaction();
            Fill.send(open, Fill.anyRecords("open", 1, 40));
            open.commitTransaction();
        }
        var config = Fill.at(bootstrap);
        config.put("group.id", "classic-group");
        config.put("auto.offset.reset", "none");
        try (var consumer = new KafkaConsumer<>(
                config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of("k-none", "k-lz4"));
            long deadline = System.currentTimeMillis() + 20_000;
            while (consumer.assignment().isEmpty()) {
                consumer.poll(Duration.ofMillis(100));
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("classic-group got no partitions");
                }
            }
        }
        return View.view(bootstrap, null);
    }
}
