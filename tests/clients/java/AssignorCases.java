// Random tasks for the assignors of Apache Kafka's group coordinator, and what they answer: one
// case a line, which src/coordinator/group/consumer/assignor/tests.rs reads.
//
//   java -cp 'KAFKA/libs/*' AssignorCases.java COUNT SEED > cases.txt
//
//   ASSIGNOR;TOPIC:COUNT ...;MEMBER|INSTANCE|TOPIC,...|TOPIC:PARTITION.../...;...=>MEMBER|...;...
//
// Tables are filled in the order of names, so that ties inside a slot are decided as by us.

import java.util.*;
import java.util.function.Function;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.*;
import org.apache.kafka.coordinator.group.assignor.*;
import org.apache.kafka.coordinator.group.modern.*;

public class AssignorCases {
    record Member(
        String id, Optional<String> instance, Set<Uuid> topics, Map<Uuid, Set<Integer>> had) {}

    static Random random;

    public static void main(String[] args) {
        int count = Integer.parseInt(args[0]);
        random = new Random(Long.parseLong(args[1]));
        for (int i = 0; i < count; i++) {
            System.out.println(oneCase());
        }
    }

    static <T> String join(String by, Collection<T> all, Function<T, String> text) {
        StringJoiner joiner = new StringJoiner(by);
        all.forEach(it -> joiner.add(text.apply(it)));
        return joiner.toString();
    }

    static String partitions(Map<Uuid, Set<Integer>> all) {
        TreeMap<String, String> topics = new TreeMap<>();
        all.forEach((id, set) -> {
            String ids = join(".", new TreeSet<>(set), Object::toString);
            if (!set.isEmpty()) topics.put(id.toString(), ids);
        });
        return join("/", topics.entrySet(), it -> it.getKey() + ":" + it.getValue());
    }

    static int order(Uuid a, Uuid b) {
        int high = Long.compareUnsigned(a.getMostSignificantBits(), b.getMostSignificantBits());
        if (high != 0) return high;
        return Long.compareUnsigned(a.getLeastSignificantBits(), b.getLeastSignificantBits());
    }

    static Uuid uuid() {
        return new Uuid(random.nextLong(), random.nextLong());
    }

    static String oneCase() {
        TreeMap<Uuid, Integer> counts = new TreeMap<>(AssignorCases::order);
        int topics = 1 + random.nextInt(random.nextInt(4) == 0 ? 20 : 4);
        for (int i = 0; i < topics; i++) {
            counts.put(uuid(), 1 + random.nextInt(random.nextInt(3) == 0 ? 60 : 8));
        }
        boolean homogeneous = random.nextBoolean();
        TreeMap<String, Member> members = new TreeMap<>();
        int size = 1 + random.nextInt(random.nextInt(4) == 0 ? 40 : 6);
        TreeSet<Uuid> all = new TreeSet<>(AssignorCases::order);
        for (Uuid id : counts.keySet()) if (random.nextInt(5) > 0) all.add(id);
        for (int i = 0; i < size; i++) {
            String id = uuid().toString();
            LinkedHashSet<Uuid> wants = new LinkedHashSet<>();
            for (Uuid topic : homogeneous ? all : counts.keySet()) {
                if (homogeneous || random.nextBoolean()) wants.add(topic);
            }
            String name = "static-" + random.nextInt(1000) + "-" + i;
            Optional<String> instance =
                random.nextInt(4) == 0 ? Optional.of(name) : Optional.empty();
            members.put(id, new Member(id, instance, wants, new TreeMap<>(AssignorCases::order)));
        }
        // What they had before: some of the partitions, of topics that they may not want any more.
        List<Member> list = new ArrayList<>(members.values());
        int share = random.nextInt(3) * 50;
        for (Uuid topic : counts.keySet()) {
            for (int p = 0; p < counts.get(topic); p++) {
                if (random.nextInt(100) < share) {
                    int some = random.nextBoolean() ? list.size() : (list.size() + 1) / 2;
                    Member owner = list.get(random.nextInt(some));
                    owner.had.computeIfAbsent(topic, __ -> new TreeSet<>()).add(p);
                }
            }
        }
        Map<String, MemberSubscriptionAndAssignmentImpl> specs = new HashMap<>();
        Map<Uuid, Map<Integer, String>> inverted = new HashMap<>();
        for (Member member : members.values()) {
            Map<Uuid, Set<Integer>> had = new HashMap<>();
            member.had.forEach((topic, set) -> {
                had.put(topic, new HashSet<>(new ArrayList<>(set)));
                Map<Integer, String> owners =
                    inverted.computeIfAbsent(topic, __ -> new HashMap<>());
                set.forEach(p -> owners.put(p, member.id));
            });
            specs.put(member.id, new MemberSubscriptionAndAssignmentImpl(
                Optional.empty(), member.instance, member.topics, new Assignment(had)));
        }
        boolean same = list.stream().allMatch(it -> it.topics.equals(list.get(0).topics));
        SubscriptionType type =
            same ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        ConsumerGroupPartitionAssignor assignor =
            random.nextInt(4) == 0 ? new RangeAssignor() : new UniformAssignor();
        SubscribedTopicDescriber describer = new SubscribedTopicDescriber() {
            public int numPartitions(Uuid id) { return counts.getOrDefault(id, -1); }
            public Set<String> racksForPartition(Uuid id, int partition) { return Set.of(); }
            public Set<Integer> assignablePartitions(Uuid id) { return Set.of(); }
        };
        GroupAssignment result =
            assignor.assign(new GroupSpecImpl(specs, type, inverted), describer);
        String asked = join(";", members.values(), it -> it.id + "|" + it.instance.orElse("") + "|"
            + join(",", it.topics, Uuid::toString) + "|" + partitions(it.had));
        String told = join(";", members.keySet(), id -> {
            MemberAssignment own = result.members().get(id);
            return id + "|" + (own == null ? "" : partitions(own.partitions()));
        });
        String sizes = join(" ", counts.entrySet(), it -> it.getKey() + ":" + it.getValue());
        return assignor.name() + ";" + sizes + ";" + asked + "=>" + told;
    }
}
