package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"ottla/compat/goserve"
)

var members goserve.Members

func join(q goserve.Question) (any, error) {
	return members.Join(q, func(ctx context.Context, log goserve.Log) error {
		return poll(ctx, q, log)
	})
}

// poll holds up rebalances while it processes records and commits them.
func poll(ctx context.Context, q goserve.Question, log goserve.Log) error {
	taken := func(_ context.Context, _ *kgo.Client, topics map[string][]int32) { log.Taken(topics) }
	options := []kgo.Opt{
		kgo.ConsumerGroup(q.Group), kgo.SessionTimeout(goserve.Millis(q.Session)),
		kgo.HeartbeatInterval(goserve.Millis(q.Heartbeat)), kgo.FetchMaxWait(goserve.Millis(100)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsRevoked(taken), kgo.OnPartitionsLost(taken),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client,
			topics map[string][]int32) {
			log.Given(topics)
		}),
		kgo.MetadataMinAge(goserve.Millis(100)), kgo.MetadataMaxAge(time.Second),
	}
	if q.Pattern != "" {
		options = append(options, kgo.ConsumeRegex(), kgo.ConsumeTopics(q.Pattern))
	} else {
		options = append(options, kgo.ConsumeTopics(q.Topics...))
	}
	if q.Instance != "" {
		options = append(options, kgo.InstanceID(q.Instance))
	}
	if q.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	if q.Cooperative {
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	} else {
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	}
	consumer, err := client(options...)
	if err != nil {
		return err
	}
	defer consumer.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := consumer.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.Canceled) {
				log.Error(err)
			}
		})
		fetches.EachRecord(func(one *kgo.Record) {
			log.Record(one.Topic, one.Partition, one.Offset)
		})
		err := consumer.CommitRecords(context.Background(), fetches.Records()...)
		if err != nil && !errors.Is(err, kerr.RebalanceInProgress) {
			log.Error(err)
		}
		consumer.AllowRebalance()
	}
	return nil
}
