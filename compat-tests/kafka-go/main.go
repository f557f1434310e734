// The adapter of segmentio/kafka-go, as the harness asks it. It has no idempotent producer, and no
// call to delete records.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"ottla/compat/goserve"
)

var bootstrap string

var codecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

var acks = map[string]kafka.RequiredAcks{
	"0": kafka.RequireNone, "1": kafka.RequireOne, "all": kafka.RequireAll,
}

// call asks with a client of its own: topics come into being behind its back, and a transport goes
// on to tell what it knew.
func call[Q, A any](method func(*kafka.Client, context.Context, *Q) (*A, error),
	request *Q) (*A, error) {
	ctx, cancel := limited()
	defer cancel()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	return method(&kafka.Client{Addr: kafka.TCP(bootstrap), Transport: transport}, ctx, request)
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), goserve.Seconds)
}

// produce tries again while a topic comes into being, as the client's documentation says one must.
func produce(q goserve.Question) (any, error) {
	if q.Idempotent {
		return nil, goserve.Unoffered("client: no idempotent producer")
	}
	for {
		offsets, err := produceOnce(q)
		if q.AutoCreate && errors.Is(err, kafka.UnknownTopicOrPartition) {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		return offsets, err
	}
}

func produceOnce(q goserve.Question) (any, error) {
	ctx, cancel := limited()
	defer cancel()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	var lock sync.Mutex
	offsets := []int64{}
	writer := &kafka.Writer{
		Addr: kafka.TCP(bootstrap), Topic: q.Topic, RequiredAcks: acks[q.Acks],
		Transport: transport,
		Balancer: kafka.BalancerFunc(func(kafka.Message, ...int) int {
			return int(q.Partition)
		}),
		Compression: codecs[q.Codec], BatchBytes: int64(q.MaxBytes),
		BatchTimeout: 20 * time.Millisecond, AllowAutoTopicCreation: q.AutoCreate,
		Completion: func(messages []kafka.Message, err error) {
			lock.Lock()
			defer lock.Unlock()
			for _, one := range messages {
				offsets = append(offsets, one.Offset)
			}
		},
	}
	messages := []kafka.Message{}
	for _, made := range q.Records {
		messages = append(messages, message(made))
	}
	err := writer.WriteMessages(ctx, messages...)
	// Closing waits for the completions.
	err = errors.Join(first(err), writer.Close())
	if q.Acks == "0" {
		offsets = []int64{}
	}
	return offsets, err
}

// first names the cause of the first record that failed.
func first(err error) error {
	var several kafka.WriteErrors
	if errors.As(err, &several) {
		for _, one := range several {
			if one != nil {
				return one
			}
		}
	}
	return err
}

func message(made goserve.Record) kafka.Message {
	message := kafka.Message{Key: made.Key, Value: made.Value,
		Time: time.UnixMilli(made.Timestamp)}
	for _, header := range made.Headers {
		message.Headers = append(message.Headers,
			kafka.Header{Key: header.Name, Value: header.Value})
	}
	return message
}

func consume(q goserve.Question) (any, error) {
	ctx, cancel := limited()
	defer cancel()
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, Topic: q.Topic, Partition: int(q.Partition), MinBytes: 1,
		MaxBytes: 10_000_000, MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset})
	defer reader.Close()
	var err error
	switch q.Start {
	case "end":
		// Resolved now: the reader alone would ask for it later.
		var end int64
		if end, err = listed(q.Topic, q.Partition, kafka.LastOffset); err == nil {
			err = reader.SetOffset(end)
		}
	case "offset":
		err = reader.SetOffset(q.Number())
	case "time":
		err = reader.SetOffsetAt(ctx, time.UnixMilli(q.Number()))
	}
	if err == nil && len(q.Then) > 0 {
		q.Records, q.Codec, q.Acks, q.MaxBytes = q.Then, "none", "all", 1_000_000
		_, err = produce(q)
	}
	found := []goserve.Record{}
	for err == nil && len(found) < q.Count {
		var one kafka.Message
		if one, err = reader.ReadMessage(ctx); err == nil {
			found = append(found, shown(one))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%d records came, not %d: %w", len(found), q.Count, err)
	}
	return found, nil
}

func shown(one kafka.Message) goserve.Record {
	headers := []goserve.Header{}
	for _, header := range one.Headers {
		headers = append(headers, goserve.Header{Name: header.Key, Value: header.Value})
	}
	return goserve.Record{Offset: one.Offset, Timestamp: one.Time.UnixMilli(), Key: one.Key,
		Value: one.Value, Headers: headers}
}

func listed(topic string, partition int32, at int64) (int64, error) {
	request := kafka.OffsetRequest{Partition: int(partition), Timestamp: at}
	answer, err := call((*kafka.Client).ListOffsets,
		&kafka.ListOffsetsRequest{
			Topics: map[string][]kafka.OffsetRequest{topic: {request}}})
	if err != nil {
		return 0, err
	}
	found := answer.Topics[topic][0]
	switch at {
	case kafka.FirstOffset:
		return found.FirstOffset, found.Error
	case kafka.LastOffset:
		return found.LastOffset, found.Error
	}
	for offset := range found.Offsets {
		return offset, found.Error
	}
	return -1, found.Error
}

func listOffsets(q goserve.Question) (any, error) {
	at := q.Number()
	switch q.Word() {
	case "earliest":
		at = kafka.FirstOffset
	case "latest":
		at = kafka.LastOffset
	}
	return listed(q.Topic, q.Partition, at)
}

func metadata(topics ...string) (*kafka.MetadataResponse, error) {
	return call((*kafka.Client).Metadata,
		&kafka.MetadataRequest{Topics: topics})
}

func unknownTopic(q goserve.Question) (any, error) {
	q.Records = []goserve.Record{{Value: []byte("x"), Timestamp: 1}}
	q.Codec, q.Acks, q.MaxBytes = "none", "all", 1_000_000
	return produce(q)
}

func listTopics(goserve.Question) (any, error) {
	found, err := metadata()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, topic := range found.Topics {
		names = append(names, topic.Name)
	}
	return names, nil
}

func describeTopic(q goserve.Question) (any, error) {
	found, err := metadata(q.Topic)
	if err != nil {
		return nil, err
	}
	return len(found.Topics[0].Partitions), found.Topics[0].Error
}

func createTopic(q goserve.Question) (any, error) {
	topic := kafka.TopicConfig{Topic: q.Topic, NumPartitions: int(q.Partitions),
		ReplicationFactor: 1}
	for name, value := range q.Configs {
		topic.ConfigEntries = append(topic.ConfigEntries,
			kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	done, err := call((*kafka.Client).CreateTopics,
		&kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	if err != nil {
		return nil, err
	}
	return nil, done.Errors[q.Topic]
}

func deleteTopic(q goserve.Question) (any, error) {
	done, err := call((*kafka.Client).DeleteTopics,
		&kafka.DeleteTopicsRequest{Topics: []string{q.Topic}})
	if err != nil {
		return nil, err
	}
	return nil, done.Errors[q.Topic]
}

func describeCluster(goserve.Question) (any, error) {
	found, err := metadata()
	if err != nil {
		return nil, err
	}
	cluster := goserve.Cluster{Controller: int32(found.Controller.ID), ClusterID: found.ClusterID}
	for _, one := range found.Brokers {
		cluster.Brokers = append(cluster.Brokers,
			goserve.Node{ID: int32(one.ID), Host: one.Host, Port: int32(one.Port)})
	}
	return cluster, nil
}

func createPartitions(q goserve.Question) (any, error) {
	done, err := call((*kafka.Client).CreatePartitions,
		&kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: q.Topic, Count: int32(q.Count)}}})
	if err != nil {
		return nil, err
	}
	return nil, done.Errors[q.Topic]
}

func describeConfigs(q goserve.Question) (any, error) {
	found, err := call((*kafka.Client).DescribeConfigs,
		&kafka.DescribeConfigsRequest{
			Resources: []kafka.DescribeConfigRequestResource{
				{ResourceType: kafka.ResourceTypeTopic, ResourceName: q.Topic}}})
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, entry := range found.Resources[0].ConfigEntries {
		values[entry.ConfigName] = entry.ConfigValue
	}
	return values, found.Resources[0].Error
}

func alterConfigs(q goserve.Question) (any, error) {
	changes := []kafka.IncrementalAlterConfigsRequestConfig{}
	for name, value := range q.Configs {
		changes = append(changes, kafka.IncrementalAlterConfigsRequestConfig{
			Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet})
	}
	done, err := call((*kafka.Client).IncrementalAlterConfigs,
		&kafka.IncrementalAlterConfigsRequest{
			Resources: []kafka.IncrementalAlterConfigsRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: q.Topic, Configs: changes}}})
	if err != nil {
		return nil, err
	}
	return nil, done.Resources[0].Error
}

var endurance *goserve.Endurance

func endure(q goserve.Question) (any, error) {
	writer := &kafka.Writer{Addr: kafka.TCP(bootstrap), Topic: q.Topic, MaxAttempts: 100,
		RequiredAcks: kafka.RequireAll, BatchTimeout: 2 * time.Millisecond,
		WriteBackoffMax: 200 * time.Millisecond, Transport: &kafka.Transport{}}
	endurance = goserve.Endure(func(numbers []int) ([]int, error) {
		messages := []kafka.Message{}
		for _, number := range numbers {
			messages = append(messages, kafka.Message{Value: []byte(strconv.Itoa(number))})
		}
		// What failed in part counts as failed: its errors name no record.
		if err := writer.WriteMessages(context.Background(), messages...); err != nil {
			return nil, err
		}
		return numbers, nil
	})
	return nil, nil
}

func main() {
	bootstrap = os.Args[1]
	goserve.Serve(goserve.Ops{
		"hello": func(goserve.Question) (any, error) {
			version := goserve.Version("github.com/segmentio/kafka-go")
			return map[string]any{"version": version, "idempotent": false,
				"empty_is_null": true, "tells_partitions": false,
				"own": map[string]string{
					"group-rolling-once": "it hears of a rebalance when others have its partitions",
					"group-mixed":        "its subscription says version 1 and lacks what that has",
				}}, nil
		},
		"produce": produce, "consume": consume, "join": join, "leave": members.Leave, "unknown_topic": unknownTopic,
		"list_offsets": listOffsets, "list_topics": listTopics, "describe_topic": describeTopic,
		"create_topic": createTopic, "delete_topic": deleteTopic,
		"describe_cluster": describeCluster, "create_partitions": createPartitions,
		"describe_configs": describeConfigs, "alter_configs": alterConfigs, "endure": endure,
		"endured": func(goserve.Question) (any, error) { return endurance.Count(), nil },
		"calm":    func(goserve.Question) (any, error) { return endurance.Calm(), nil },
	})
}
