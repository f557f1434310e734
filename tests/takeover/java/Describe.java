import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeDelegationTokenOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaFilter;

/** What an Admin client of Kafka's is told by Kafka, as texts under names. */
final class Describe {
    private Describe() { }

    static Properties asAdmin(String sasl) {
        var config = Fill.at(sasl);
        config.put("security.protocol", "SASL_PLAINTEXT");
        config.put("sasl.mechanism", "PLAIN");
        config.put("sasl.jaas.config",
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            + "username=\"admin\" password=\"secret\";");
        return config;
    }

    static Object describe(String bootstrap, String sasl) throws Exception {
        var told = new TreeMap<String, Object>();
        try (var admin = Admin.create(Fill.at(bootstrap))) {
            topics(admin, told);
            configs(admin, told);
            groups(admin, told);
            transactions(admin, told);
            for (var acl : admin.describeAcls(AclBindingFilter.ANY).values().get()) {
                told.put("acl " + acl, true);
            }
            admin.describeUserScramCredentials().all().get().forEach((user, description) ->
                told.put("scram " + user, description.credentialInfos().stream()
                    .map(Object::toString).sorted().toList()));
            admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().forEach(
                (entity, quotas) -> told.put(
                    "quota " + new TreeMap<>(entity.entries()), new TreeMap<>(quotas).toString()));
            admin.describeFeatures().featureMetadata().get().finalizedFeatures().forEach(
                (name, range) -> told.put("feature " + name, range.toString()));
            told.put("cluster", admin.describeCluster().clusterId().get());
        }
        try (var owner = Admin.create(asAdmin(sasl))) {
            var options = new DescribeDelegationTokenOptions();
            for (var token : owner.describeDelegationToken(options).delegationTokens().get()) {
                var info = token.tokenInfo();
                told.put("token " + info.tokenId(), info.ownerAsString() + " "
                    + info.renewersAsString() + " " + info.issueTimestamp() + " "
                    + info.maxTimestamp() + " " + View.hex(token.hmac()));
            }
        }
        return told;
    }

    private static TreeSet<String> names(Admin admin) throws Exception {
        return new TreeSet<>(
            admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get());
    }

    private static void topics(Admin admin, Map<String, Object> told) throws Exception {
        var descriptions = admin.describeTopics(names(admin)).allTopicNames().get();
        var partitions = new ArrayList<TopicPartition>();
        descriptions.forEach((name, topic) -> {
            told.put("topic " + name, topic.topicId() + " internal " + topic.isInternal() + " "
                + topic.partitions().stream().map(p -> p.partition() + " leader " + p.leader().id()
                    + " replicas " + p.replicas().size() + " isr " + p.isr().size()).toList());
            topic.partitions().forEach(
                info -> partitions.add(new TopicPartition(name, info.partition())));
        });
        for (var spec : Map.of("earliest", OffsetSpec.earliest(), "latest", OffsetSpec.latest(),
                "largest", OffsetSpec.maxTimestamp()).entrySet()) {
            var asked = partitions.stream().collect(
                Collectors.toMap(partition -> partition, partition -> spec.getValue()));
            admin.listOffsets(asked).all().get().forEach((partition, offset) ->
                told.put("offset " + partition + " " + spec.getKey(),
                    offset.offset() + " at " + offset.timestamp()));
        }
        admin.describeProducers(partitions).all().get().forEach((partition, state) ->
            told.put("producers " + partition, state.activeProducers().stream()
                .map(producer -> producer.toString()).sorted().toList()));
    }

    private static void configs(Admin admin, Map<String, Object> told) throws Exception {
        var resources = new ArrayList<ConfigResource>();
        for (String topic : names(admin)) {
            resources.add(new ConfigResource(ConfigResource.Type.TOPIC, topic));
        }
        resources.add(new ConfigResource(ConfigResource.Type.BROKER, "1"));
        resources.add(new ConfigResource(ConfigResource.Type.BROKER, ""));
        for (var type : ConfigResource.Type.values()) {
            if (type.name().equals("CLIENT_METRICS")) {
                resources.add(new ConfigResource(type, "telemetry"));
            } else if (type.name().equals("GROUP")) {
                resources.add(new ConfigResource(type, "new-group"));
                resources.add(new ConfigResource(type, "share"));
            }
        }
        var options = new DescribeConfigsOptions().includeSynonyms(false);
        admin.describeConfigs(resources, options).all().get().forEach((resource, config) ->
            told.put("configs " + resource, config.entries().stream()
                .filter(entry -> entry.source().name().startsWith("DYNAMIC"))
                .map(Describe::text).sorted().toList()));
    }

    private static String text(ConfigEntry entry) {
        return entry.name() + "=" + entry.value();
    }

    private static void groups(Admin admin, Map<String, Object> told) throws Exception {
        for (var group : admin.listConsumerGroups().all().get()) {
            var state = admin.describeConsumerGroups(List.of(group.groupId())).all().get()
                .get(group.groupId());
            var offsets = new TreeMap<String, String>();
            admin.listConsumerGroupOffsets(group.groupId()).partitionsToOffsetAndMetadata().get()
                .forEach((partition, offset) ->
                    offsets.put(partition.toString(), String.valueOf(offset)));
            told.put("group " + group.groupId(), state.members().size() + " members, "
                + state.isSimpleConsumerGroup() + " " + offsets);
        }
    }

    private static void transactions(Admin admin, Map<String, Object> told) throws Exception {
        for (var listing : admin.listTransactions().all().get()) {
            var state = admin.describeTransactions(List.of(listing.transactionalId())).all().get()
                .get(listing.transactionalId());
            told.put("transaction " + listing.transactionalId(), state.state() + " "
                + state.producerId() + " " + state.producerEpoch() + " "
                + new TreeSet<>(state.topicPartitions().stream().map(Object::toString).toList()));
        }
    }
}
