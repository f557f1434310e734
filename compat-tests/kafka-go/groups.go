package main

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"ottla/compat/goserve"
)

var members goserve.Members

// join lets a reader be a member; it does not tell which partitions it has.
func join(q goserve.Question) (any, error) {
	switch {
	case q.Pattern != "":
		return nil, goserve.Unoffered("client: no patterns")
	case q.Instance != "":
		return nil, goserve.Unoffered("client: no static members")
	case q.Cooperative:
		return nil, goserve.Unoffered("client: its rebalances are eager")
	}
	return members.Join(q, func(ctx context.Context, log goserve.Log) error {
		return poll(ctx, q, log)
	})
}

func poll(ctx context.Context, q goserve.Question, log goserve.Log) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, GroupID: q.Group, GroupTopics: q.Topics, MinBytes: 1,
		MaxBytes: 10_000_000, MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset,
		SessionTimeout:    goserve.Millis(q.Session),
		HeartbeatInterval: goserve.Millis(q.Heartbeat), JoinGroupBackoff: time.Second,
		GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}},
		ErrorLogger: kafka.LoggerFunc(func(text string, words ...any) {
			fmt.Printf(text+"\n", words...)
		}),
	})
	for ctx.Err() == nil {
		one, err := reader.FetchMessage(ctx)
		if err == nil {
			log.Record(one.Topic, int32(one.Partition), one.Offset)
			err = reader.CommitMessages(context.Background(), one)
		}
		if err != nil && ctx.Err() == nil {
			log.Error(err)
		}
	}
	return reader.Close()
}
