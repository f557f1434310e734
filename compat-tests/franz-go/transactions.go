package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"ottla/compat/goserve"
)

var transactions = goserve.Transactions{New: func(id string) (goserve.Transactional, error) {
	producer, err := client(kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := limited()
	defer cancel()
	// Asked for now: the client alone would do it with its first record.
	if _, _, err := producer.ProducerID(ctx); err != nil {
		producer.Close()
		return nil, err
	}
	return transactional{producer}, nil
}}

type transactional struct{ *kgo.Client }

func (t transactional) Begin() error { return t.BeginTransaction() }

func (t transactional) Send(topic string, values []goserve.Value) error {
	ctx, cancel := limited()
	defer cancel()
	records := []*kgo.Record{}
	for _, one := range values {
		records = append(records,
			&kgo.Record{Topic: topic, Partition: one.Partition, Value: []byte(one.Text)})
	}
	return t.ProduceSync(ctx, records...).FirstErr()
}

func (t transactional) Commit() error { return t.end(kgo.TryCommit) }
func (t transactional) Abort() error  { return t.end(kgo.TryAbort) }

func (t transactional) end(try kgo.TransactionEndTry) error {
	ctx, cancel := limited()
	defer cancel()
	return t.EndTransaction(ctx, try)
}

func copying(q goserve.Question) (any, error) {
	return members.Copy(q, func(ctx context.Context, aborts func() bool) error {
		session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap),
			kgo.TransactionalID(q.ID), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ConsumerGroup(q.Group), kgo.ConsumeTopics(q.Source),
			kgo.SessionTimeout(goserve.Millis(q.Session)),
			kgo.HeartbeatInterval(goserve.Millis(q.Heartbeat)),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchMaxWait(goserve.Millis(100)), kgo.RequireStableFetchOffsets(),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		if err != nil {
			return err
		}
		defer session.Close()
		for ctx.Err() == nil {
			if err := transaction(ctx, session, q.Target, aborts); err != nil {
				return err
			}
		}
		return nil
	})
}

// transaction copies what comes; the session reads again what it had to abort.
func transaction(ctx context.Context, session *kgo.GroupTransactSession, target string,
	aborts func() bool) error {
	fetches := session.PollRecords(ctx, 5)
	if ctx.Err() != nil || len(fetches.Records()) == 0 {
		return nil
	}
	if err := fetches.Err(); err != nil {
		return err
	}
	if err := session.Begin(); err != nil {
		return err
	}
	records := []*kgo.Record{}
	for _, one := range fetches.Records() {
		records = append(records, &kgo.Record{Topic: target, Value: fmt.Append(nil, one.Offset)})
	}
	if err := session.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		return err
	}
	try := kgo.TryCommit
	if aborts() {
		try = kgo.TryAbort
	}
	_, err := session.End(context.Background(), try)
	return err
}
