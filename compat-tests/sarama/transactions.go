package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"ottla/compat/goserve"
)

var transactions = goserve.Transactions{New: func(id string) (goserve.Transactional, error) {
	producer, err := withTransactions(id)
	if err != nil {
		return nil, err
	}
	return transactional{producer}, nil
}}

func withTransactions(id string) (sarama.SyncProducer, error) {
	config := config()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Flush.Frequency = 0
	config.Producer.Transaction.ID = id
	idempotent(config)
	return sarama.NewSyncProducer(bootstrap, config)
}

type transactional struct{ sarama.SyncProducer }

func (t transactional) Begin() error  { return t.BeginTxn() }
func (t transactional) Commit() error { return t.CommitTxn() }
func (t transactional) Abort() error  { return t.AbortTxn() }
func (t transactional) Close()        { _ = t.SyncProducer.Close() }

func (t transactional) Send(topic string, values []goserve.Value) error {
	messages := []*sarama.ProducerMessage{}
	for _, one := range values {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Partition: one.Partition, Value: sarama.StringEncoder(one.Text)})
	}
	if len(messages) == 0 {
		return nil
	}
	return first(t.SendMessages(messages))
}

func copying(q goserve.Question) (any, error) {
	return members.Copy(q, func(ctx context.Context, aborts func() bool) error {
		producer, err := withTransactions(q.ID)
		if err != nil {
			return err
		}
		defer producer.Close()
		config := config()
		config.Consumer.Return.Errors = false
		config.Consumer.IsolationLevel = sarama.ReadCommitted
		config.Consumer.Offsets.Initial = sarama.OffsetOldest
		config.Consumer.Offsets.AutoCommit.Enable = false
		config.Consumer.Group.Session.Timeout = goserve.Millis(q.Session)
		config.Consumer.Group.Heartbeat.Interval = goserve.Millis(q.Heartbeat)
		consumer, err := sarama.NewConsumerGroup(bootstrap, q.Group, config)
		if err != nil {
			return err
		}
		defer consumer.Close()
		job := &copier{producer: producer, q: q, aborts: aborts}
		for ctx.Err() == nil && job.failed == nil {
			if err := consumer.Consume(ctx, []string{q.Source}, job); err != nil {
				return err
			}
		}
		return job.failed
	})
}

// copier copies the one partition of the source, and ends with what goes wrong.
type copier struct {
	producer sarama.SyncProducer
	q        goserve.Question
	aborts   func() bool
	failed   error
}

func (*copier) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*copier) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (c *copier) ConsumeClaim(session sarama.ConsumerGroupSession,
	claim sarama.ConsumerGroupClaim) error {
	group := sarama.NewConsumerGroupMetadata(c.q.Group)
	group.MemberID, group.GenerationID = session.MemberID(), session.GenerationID()
	for {
		select {
		case <-session.Context().Done():
			return nil
		case message, more := <-claim.Messages():
			if !more {
				return nil
			}
			if c.failed = c.transaction(group, atMost(5, message, claim)); c.failed != nil {
				return c.failed
			}
		}
	}
}

// atMost is a message with those that are there already.
func atMost(count int, message *sarama.ConsumerMessage,
	claim sarama.ConsumerGroupClaim) []*sarama.ConsumerMessage {
	found := []*sarama.ConsumerMessage{message}
	for len(found) < count {
		select {
		case message, more := <-claim.Messages():
			if !more {
				return found
			}
			found = append(found, message)
		default:
			return found
		}
	}
	return found
}

func (c *copier) transaction(group *sarama.ConsumerGroupMetadata,
	messages []*sarama.ConsumerMessage) error {
	if err := c.producer.BeginTxn(); err != nil {
		return err
	}
	values := []goserve.Value{}
	for _, one := range messages {
		values = append(values, goserve.Value{Text: fmt.Sprint(one.Offset)})
	}
	if err := (transactional{c.producer}).Send(c.q.Target, values); err != nil {
		return err
	}
	last := messages[len(messages)-1]
	if err := c.producer.AddMessageToTxnWithGroupMetadata(last, group, nil); err != nil {
		return err
	}
	if c.aborts() {
		return errors.Join(errors.New("aborted as it was asked to"), c.producer.AbortTxn())
	}
	return c.producer.CommitTxn()
}
