package main

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
	"ottla/compat/goserve"
)

var members goserve.Members

func join(q goserve.Question) (any, error) {
	if q.Pattern != "" {
		return nil, goserve.Unoffered("client: no patterns")
	}
	return members.Join(q, func(ctx context.Context, log goserve.Log) error {
		return poll(ctx, q, log)
	})
}

// poll consumes, session for session; a member that is fenced ends.
func poll(ctx context.Context, q goserve.Question, log goserve.Log) error {
	config := config()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = goserve.Millis(q.Session)
	config.Consumer.Group.Heartbeat.Interval = goserve.Millis(q.Heartbeat)
	config.Consumer.Group.InstanceId = q.Instance
	config.Metadata.RefreshFrequency = time.Second
	strategy := sarama.NewBalanceStrategyRange()
	if q.Cooperative {
		strategy = sarama.NewBalanceStrategyCooperativeSticky()
	}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	consumer, err := sarama.NewConsumerGroup(bootstrap, q.Group, config)
	if err != nil {
		return err
	}
	go func() {
		for err := range consumer.Errors() {
			log.Error(err)
		}
	}()
	for ctx.Err() == nil {
		err := consumer.Consume(ctx, q.Topics, handler{log})
		if errors.Is(err, sarama.ErrFencedInstancedId) {
			log.Error(err)
			break
		}
		if err != nil && ctx.Err() == nil {
			log.Error(err)
			time.Sleep(goserve.Millis(100))
		}
	}
	return consumer.Close()
}

// handler processes each partition in a goroutine of its own, as sarama does it.
type handler struct {
	log goserve.Log
}

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession,
	claim sarama.ConsumerGroupClaim) error {
	one := map[string][]int32{claim.Topic(): {claim.Partition()}}
	h.log.Given(one)
	defer h.log.Taken(one)
	for {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			h.log.Record(message.Topic, message.Partition, message.Offset)
			session.MarkMessage(message, "")
			session.Commit()
		case <-session.Context().Done():
			return nil
		}
	}
}
