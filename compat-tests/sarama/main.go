// The adapter of sarama, as the harness asks it.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/IBM/sarama"
	"ottla/compat/goserve"
)

var bootstrap []string

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4,
	"zstd": sarama.CompressionZSTD,
}

var acks = map[string]sarama.RequiredAcks{
	"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll,
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.ClientID = "compat"
	config.Metadata.AllowAutoTopicCreation = false
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Return.Errors = true
	return config
}

func idempotent(config *sarama.Config) {
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
}

func encoder(bytes []byte) sarama.Encoder {
	if bytes == nil {
		return nil
	}
	return sarama.ByteEncoder(bytes)
}

func message(topic string, partition int32, made goserve.Record) *sarama.ProducerMessage {
	message := &sarama.ProducerMessage{Topic: topic, Partition: partition, Key: encoder(made.Key),
		Value: encoder(made.Value), Timestamp: time.UnixMilli(made.Timestamp)}
	for _, header := range made.Headers {
		message.Headers = append(message.Headers,
			sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
	}
	return message
}

func produce(q goserve.Question) (any, error) {
	config := config()
	config.Producer.Compression = codecs[q.Codec]
	config.Producer.RequiredAcks = acks[q.Acks]
	config.Producer.MaxMessageBytes = int(q.MaxBytes)
	config.Metadata.AllowAutoTopicCreation = q.AutoCreate
	if q.Idempotent {
		idempotent(config)
	}
	producer, err := sarama.NewSyncProducer(bootstrap, config)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	messages := []*sarama.ProducerMessage{}
	for _, made := range q.Records {
		messages = append(messages, message(q.Topic, q.Partition, made))
	}
	if err := producer.SendMessages(messages); err != nil {
		return nil, first(err)
	}
	offsets := []int64{}
	for _, one := range messages {
		if q.Acks != "0" {
			offsets = append(offsets, one.Offset)
		}
	}
	return offsets, nil
}

// first names the cause of the first record that failed.
func first(err error) error {
	var several sarama.ProducerErrors
	if errors.As(err, &several) {
		return several[0].Err
	}
	return err
}

func consume(q goserve.Question) (any, error) {
	config := config()
	if q.Committed {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	client, err := sarama.NewClient(bootstrap, config)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	offset := sarama.OffsetOldest
	switch q.Start {
	case "end":
		offset = sarama.OffsetNewest
	case "offset":
		offset = q.Number()
	case "time":
		if offset, err = client.GetOffset(q.Topic, q.Partition, q.Number()); err != nil {
			return nil, err
		}
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(q.Topic, q.Partition, offset)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	if len(q.Then) > 0 {
		q.Records, q.Codec, q.Acks, q.MaxBytes = q.Then, "none", "all", 1_000_000
		if _, err := produce(q); err != nil {
			return nil, err
		}
	}
	return take(partition, q.Count)
}

func take(partition sarama.PartitionConsumer, count int) (any, error) {
	found := []goserve.Record{}
	deadline := time.After(goserve.Seconds)
	for len(found) < count {
		select {
		case one := <-partition.Messages():
			found = append(found, shown(one))
		case err := <-partition.Errors():
			return nil, err
		case <-deadline:
			return nil, fmt.Errorf("%d records came, not %d", len(found), count)
		}
	}
	return found, nil
}

func shown(one *sarama.ConsumerMessage) goserve.Record {
	headers := []goserve.Header{}
	for _, header := range one.Headers {
		headers = append(headers, goserve.Header{Name: string(header.Key), Value: header.Value})
	}
	return goserve.Record{Offset: one.Offset, Timestamp: one.Timestamp.UnixMilli(), Key: one.Key,
		Value: one.Value, Headers: headers}
}

// admin calls with an admin client.
func admin(act func(sarama.ClusterAdmin, goserve.Question) (any, error)) func(
	goserve.Question) (any, error) {
	return func(q goserve.Question) (any, error) {
		kafka, err := sarama.NewClusterAdmin(bootstrap, config())
		if err != nil {
			return nil, err
		}
		defer kafka.Close()
		return act(kafka, q)
	}
}

func listOffsets(q goserve.Question) (any, error) {
	client, err := sarama.NewClient(bootstrap, config())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	at := q.Number()
	switch q.Word() {
	case "earliest":
		at = sarama.OffsetOldest
	case "latest":
		at = sarama.OffsetNewest
	}
	return client.GetOffset(q.Topic, q.Partition, at)
}

func unknownTopic(q goserve.Question) (any, error) {
	q.Records = []goserve.Record{{Value: []byte("x"), Timestamp: 1}}
	q.Codec, q.Acks, q.MaxBytes = "none", "all", 1_000_000
	return produce(q)
}

// listTopics asks the client: the admin's call of that name needs every topic's configs as well.
func listTopics(goserve.Question) (any, error) {
	client, err := sarama.NewClient(bootstrap, config())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Topics()
}

func describeTopic(kafka sarama.ClusterAdmin, q goserve.Question) (any, error) {
	topics, err := kafka.DescribeTopics([]string{q.Topic})
	if err != nil {
		return nil, err
	}
	if topics[0].Err != sarama.ErrNoError {
		return nil, topics[0].Err
	}
	return len(topics[0].Partitions), nil
}

func createTopic(kafka sarama.ClusterAdmin, q goserve.Question) (any, error) {
	detail := &sarama.TopicDetail{NumPartitions: q.Partitions, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{}}
	for name, value := range q.Configs {
		detail.ConfigEntries[name] = &value
	}
	return nil, kafka.CreateTopic(q.Topic, detail, false)
}

func deleteTopic(kafka sarama.ClusterAdmin, q goserve.Question) (any, error) {
	return nil, kafka.DeleteTopic(q.Topic)
}

func describeCluster(kafka sarama.ClusterAdmin, _ goserve.Question) (any, error) {
	brokers, controller, err := kafka.DescribeCluster()
	cluster := map[string]any{"controller": controller}
	nodes := []goserve.Node{}
	for _, one := range brokers {
		host, port, _ := net.SplitHostPort(one.Addr())
		number, _ := strconv.Atoi(port)
		nodes = append(nodes, goserve.Node{ID: one.ID(), Host: host, Port: int32(number)})
	}
	cluster["brokers"] = nodes
	return cluster, err
}

func deleteRecords(kafka sarama.ClusterAdmin, q goserve.Question) (any, error) {
	return nil, kafka.DeleteRecords(q.Topic, map[int32]int64{q.Partition: q.Offset})
}

func createPartitions(kafka sarama.ClusterAdmin, q goserve.Question) (any, error) {
	return nil, kafka.CreatePartitions(q.Topic, int32(q.Count), nil, false)
}

func describeConfigs(kafka sarama.ClusterAdmin, q goserve.Question) (any, error) {
	entries, err := kafka.DescribeConfig(
		sarama.ConfigResource{Type: sarama.TopicResource, Name: q.Topic})
	values := map[string]string{}
	for _, entry := range entries {
		values[entry.Name] = entry.Value
	}
	return values, err
}

func alterConfigs(kafka sarama.ClusterAdmin, q goserve.Question) (any, error) {
	changes := map[string]sarama.IncrementalAlterConfigsEntry{}
	for name, value := range q.Configs {
		changes[name] = sarama.IncrementalAlterConfigsEntry{
			Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	}
	return nil, kafka.IncrementalAlterConfig(sarama.TopicResource, q.Topic, changes, false)
}

var endurance *goserve.Endurance

func endure(q goserve.Question) (any, error) {
	config := config()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Retry.Max = 100
	config.Producer.Flush.Frequency = 2 * time.Millisecond
	idempotent(config)
	producer, err := sarama.NewSyncProducer(bootstrap, config)
	if err != nil {
		return nil, err
	}
	endurance = goserve.Endure(func(numbers []int) ([]int, error) {
		messages := []*sarama.ProducerMessage{}
		for _, number := range numbers {
			messages = append(messages, &sarama.ProducerMessage{Topic: q.Topic, Metadata: number,
				Value: sarama.StringEncoder(strconv.Itoa(number))})
		}
		err := producer.SendMessages(messages)
		failed := map[int]bool{}
		var several sarama.ProducerErrors
		if errors.As(err, &several) {
			for _, one := range several {
				failed[one.Msg.Metadata.(int)] = true
			}
		}
		acked := []int{}
		for _, number := range numbers {
			if !failed[number] {
				acked = append(acked, number)
			}
		}
		return acked, err
	})
	return nil, nil
}

func main() {
	bootstrap = []string{os.Args[1]}
	goserve.Serve(goserve.Ops{
		"hello": func(goserve.Question) (any, error) {
			return map[string]any{"version": goserve.Version("github.com/IBM/sarama")}, nil
		},
		"produce": produce, "consume": consume, "join": join, "leave": members.Leave, "unknown_topic": unknownTopic,
		"txn_open": transactions.Open, "transact": transactions.Transact,
		"txn_close": transactions.Close, "copy": copying,
		"list_offsets": listOffsets, "list_topics": listTopics,
		"describe_topic": admin(describeTopic), "create_topic": admin(createTopic),
		"delete_topic": admin(deleteTopic), "describe_cluster": admin(describeCluster),
		"delete_records": admin(deleteRecords), "create_partitions": admin(createPartitions),
		"describe_configs": admin(describeConfigs), "alter_configs": admin(alterConfigs),
		"endure":  endure,
		"endured": func(goserve.Question) (any, error) { return endurance.Count(), nil },
		"calm":    func(goserve.Question) (any, error) { return endurance.Calm(), nil },
	})
}
