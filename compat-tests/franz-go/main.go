// The adapter of franz-go (kgo and kadm), as the harness asks it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"ottla/compat/goserve"
)

var bootstrap string

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), goserve.Seconds)
}

func client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap))...)
}

func producerOptions(q goserve.Question) []kgo.Opt {
	acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}
	options := []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20 * time.Millisecond),
		kgo.ProducerBatchCompression(codecs[q.Codec]), kgo.RequiredAcks(acks[q.Acks]),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.ProducerBatchMaxBytes(q.MaxBytes),
	}
	if !q.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if q.AutoCreate {
		options = append(options, kgo.AllowAutoTopicCreation())
	}
	return options
}

func plain(topic string, partition int32, made goserve.Record) *kgo.Record {
	record := &kgo.Record{Topic: topic, Partition: partition, Key: made.Key, Value: made.Value,
		Timestamp: time.UnixMilli(made.Timestamp)}
	for _, header := range made.Headers {
		record.Headers = append(record.Headers,
			kgo.RecordHeader{Key: header.Name, Value: header.Value})
	}
	return record
}

func produce(q goserve.Question) (any, error) {
	producer, err := client(producerOptions(q)...)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	return send(producer, q.Topic, q.Partition, q.Records, q.Acks)
}

func send(producer *kgo.Client, topic string, partition int32, records []goserve.Record,
	acks string) (any, error) {
	ctx, cancel := limited()
	defer cancel()
	batch := make([]*kgo.Record, len(records))
	for at, made := range records {
		batch[at] = plain(topic, partition, made)
	}
	results := producer.ProduceSync(ctx, batch...)
	offsets := []int64{}
	for _, result := range results {
		if result.Err == nil && acks != "0" {
			offsets = append(offsets, result.Record.Offset)
		}
	}
	return offsets, results.FirstErr()
}

func consume(q goserve.Question) (any, error) {
	ctx, cancel := limited()
	defer cancel()
	offset := kgo.NewOffset().AtStart()
	switch q.Start {
	case "end":
		// Resolved now: the consumer alone would ask for it later.
		end, err := listed(q.Topic, q.Partition, "latest", 0)
		if err != nil {
			return nil, err
		}
		offset = kgo.NewOffset().At(end)
	case "offset":
		offset = kgo.NewOffset().At(q.Number())
	case "time":
		offset = kgo.NewOffset().AfterMilli(q.Number())
	}
	isolation := kgo.ReadUncommitted()
	if q.Committed {
		isolation = kgo.ReadCommitted()
	}
	consumer, err := client(kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchIsolationLevel(isolation), kgo.ConsumePartitions(
			map[string]map[int32]kgo.Offset{q.Topic: {q.Partition: offset}}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	if len(q.Then) > 0 {
		q.Records, q.Codec, q.Acks, q.MaxBytes = q.Then, "none", "all", 1_000_000
		if _, err := produce(q); err != nil {
			return nil, err
		}
	}
	found := []goserve.Record{}
	for len(found) < q.Count {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%d records came, not %d: %w", len(found), q.Count, err)
		}
		fetches.EachRecord(func(one *kgo.Record) { found = append(found, shown(one)) })
	}
	return found, nil
}

func shown(one *kgo.Record) goserve.Record {
	headers := []goserve.Header{}
	for _, header := range one.Headers {
		headers = append(headers, goserve.Header{Name: header.Key, Value: header.Value})
	}
	return goserve.Record{Offset: one.Offset, Timestamp: one.Timestamp.UnixMilli(), Key: one.Key,
		Value: one.Value, Headers: headers}
}

// admin calls with an admin client and a time limit.
func admin[T any](act func(context.Context, *kadm.Client) (T, error)) (T, error) {
	ctx, cancel := limited()
	defer cancel()
	kafka, err := client()
	if err != nil {
		var none T
		return none, err
	}
	defer kafka.Close()
	return act(ctx, kadm.NewClient(kafka))
}

func listed(topic string, partition int32, word string, millis int64) (int64, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (int64, error) {
		var offsets kadm.ListedOffsets
		var err error
		switch word {
		case "earliest":
			offsets, err = kafka.ListStartOffsets(ctx, topic)
		case "latest":
			offsets, err = kafka.ListEndOffsets(ctx, topic)
		default:
			offsets, err = kafka.ListOffsetsAfterMilli(ctx, millis, topic)
		}
		if err != nil {
			return 0, err
		}
		found, _ := offsets.Lookup(topic, partition)
		return found.Offset, found.Err
	})
}

func unknownTopic(q goserve.Question) (any, error) {
	producer, err := client(kgo.UnknownTopicRetries(1))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	ctx, cancel := limited()
	defer cancel()
	record := &kgo.Record{Topic: q.Topic, Value: []byte("x")}
	return "taken", producer.ProduceSync(ctx, record).FirstErr()
}

func listTopics(goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		topics, err := kafka.ListTopics(ctx)
		return topics.Names(), err
	})
}

func describeTopic(q goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		topics, err := kafka.ListTopics(ctx, q.Topic)
		if err != nil {
			return nil, err
		}
		return len(topics[q.Topic].Partitions), topics[q.Topic].Err
	})
}

func createTopic(q goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		configs := map[string]*string{}
		for name, value := range q.Configs {
			configs[name] = &value
		}
		_, err := kafka.CreateTopic(ctx, q.Partitions, 1, configs, q.Topic)
		return nil, err
	})
}

func deleteTopic(q goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		_, err := kafka.DeleteTopic(ctx, q.Topic)
		return nil, err
	})
}

func describeCluster(goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		found, err := kafka.BrokerMetadata(ctx)
		cluster := goserve.Cluster{Controller: found.Controller, ClusterID: found.Cluster}
		for _, one := range found.Brokers {
			cluster.Brokers = append(cluster.Brokers,
				goserve.Node{ID: one.NodeID, Host: one.Host, Port: one.Port})
		}
		return cluster, err
	})
}

func deleteRecords(q goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		offsets := kadm.Offsets{}
		offsets.AddOffset(q.Topic, q.Partition, q.Offset, -1)
		done, err := kafka.DeleteRecords(ctx, offsets)
		if err != nil {
			return nil, err
		}
		found, _ := done.Lookup(q.Topic, q.Partition)
		return found.LowWatermark, found.Err
	})
}

func createPartitions(q goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		done, err := kafka.UpdatePartitions(ctx, q.Count, q.Topic)
		if err != nil {
			return nil, err
		}
		return nil, done.Error()
	})
}

func describeConfigs(q goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		found, err := kafka.DescribeTopicConfigs(ctx, q.Topic)
		if err != nil {
			return nil, err
		}
		one, err := found.On(q.Topic, nil)
		values := map[string]string{}
		for _, config := range one.Configs {
			values[config.Key] = config.MaybeValue()
		}
		return values, errors.Join(err, one.Err)
	})
}

func alterConfigs(q goserve.Question) (any, error) {
	return admin(func(ctx context.Context, kafka *kadm.Client) (any, error) {
		changes := []kadm.AlterConfig{}
		for name, value := range q.Configs {
			changes = append(changes,
				kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
		}
		done, err := kafka.AlterTopicConfigs(ctx, changes, q.Topic)
		if err != nil {
			return nil, err
		}
		one, err := done.On(q.Topic, nil)
		return nil, errors.Join(err, one.Err)
	})
}

var endurance *goserve.Endurance

func endure(q goserve.Question) (any, error) {
	producer, err := client(kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(time.Minute), kgo.ProducerLinger(2*time.Millisecond))
	if err != nil {
		return nil, err
	}
	endurance = goserve.Endure(func(numbers []int) ([]int, error) {
		batch := []*kgo.Record{}
		for _, number := range numbers {
			batch = append(batch, &kgo.Record{Topic: q.Topic, Value: fmt.Append(nil, number)})
		}
		acked := []int{}
		results := producer.ProduceSync(context.Background(), batch...)
		for _, result := range results {
			if result.Err == nil {
				number, _ := strconv.Atoi(string(result.Record.Value))
				acked = append(acked, number)
			}
		}
		return acked, results.FirstErr()
	})
	return nil, nil
}

// What it gets wrong by itself (README.md).
var own = map[string]string{
	"consumers-static":     "a static member that comes back makes its group rebalance",
	"consumers-unreleased": "follows from the same",
}

func main() {
	bootstrap = os.Args[1]
	goserve.Serve(goserve.Ops{
		"hello": func(goserve.Question) (any, error) {
			version := goserve.Version("github.com/twmb/franz-go")
			return map[string]any{"version": version, "no_offset_is_end": true,
				"consumer_protocol": true, "own": own}, nil
		},
		"produce": produce, "consume": consume, "join": join, "leave": members.Leave, "unknown_topic": unknownTopic,
		"txn_open": transactions.Open, "transact": transactions.Transact,
		"txn_close": transactions.Close, "copy": copying,
		"list_topics": listTopics, "describe_topic": describeTopic, "create_topic": createTopic,
		"delete_topic": deleteTopic, "describe_cluster": describeCluster,
		"list_offsets": func(q goserve.Question) (any, error) {
			return listed(q.Topic, q.Partition, q.Word(), q.Number())
		},
		"delete_records": deleteRecords, "create_partitions": createPartitions,
		"describe_configs": describeConfigs, "alter_configs": alterConfigs, "endure": endure,
		"endured": func(goserve.Question) (any, error) { return endurance.Count(), nil },
		"calm":    func(goserve.Question) (any, error) { return endurance.Calm(), nil },
	})
}
