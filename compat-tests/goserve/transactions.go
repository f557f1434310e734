package goserve

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"
)

// Value is a partition, and what is written to it.
type Value struct {
	Partition int32
	Text      string
}

// UnmarshalJSON reads it from a pair.
func (v *Value) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&v.Partition, &v.Text})
}

// Transactional is a producer with a transactional id.
type Transactional interface {
	Begin() error
	// Send waits for acknowledgements.
	Send(topic string, values []Value) error
	Commit() error
	Abort() error
	Close()
}

// Transactions holds the producers that are open, by name, and whether a transaction of each is.
type Transactions struct {
	// New opens a producer, and fences others of its id.
	New  func(id string) (Transactional, error)
	open map[string]*opened
}

type opened struct {
	Transactional
	isBegun bool
}

// Open answers txn_open.
func (t *Transactions) Open(q Question) (any, error) {
	producer, err := t.New(q.ID)
	if err != nil {
		return nil, err
	}
	if t.open == nil {
		t.open = map[string]*opened{}
	}
	t.open[q.Handle] = &opened{Transactional: producer}
	return nil, nil
}

// Transact makes one transaction, or as much of it as is asked for.
func (t *Transactions) Transact(q Question) (any, error) {
	one := t.open[q.Handle]
	if !one.isBegun {
		if err := one.Begin(); err != nil {
			return nil, err
		}
	}
	one.isBegun = q.End == "none"
	if err := one.Send(q.Topic, q.Values); err != nil {
		return nil, err
	}
	switch q.End {
	case "commit":
		return nil, one.Commit()
	case "abort":
		return nil, one.Abort()
	}
	return nil, nil
}

// Close answers txn_close.
func (t *Transactions) Close(q Question) (any, error) {
	t.open[q.Handle].Close()
	delete(t.open, q.Handle)
	return nil, nil
}

// Copy lets `job` copy until its context ends, or until something goes wrong: then it is called anew.
// `aborts` is true until it was asked: a transaction of the job is to be aborted then.
func (m *Members) Copy(q Question, job func(ctx context.Context, aborts func() bool) error) (
	any, error) {
	abort := atomic.Bool{}
	abort.Store(q.Abort)
	return m.Join(q, func(ctx context.Context, log Log) error {
		for ctx.Err() == nil {
			if err := job(ctx, func() bool { return abort.Swap(false) }); err != nil {
				log.Error(err)
				time.Sleep(Millis(100))
			}
		}
		return nil
	})
}
