package goserve

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Log is what happens to a member of a group, in a file that a kill does not take (groups.py).
type Log struct {
	file *os.File
}

func (l Log) line(mark, text string) {
	fmt.Fprintf(l.file, "%s %s\n", mark, strings.Join(strings.Fields(text), " "))
}

func (l Log) partitions(mark string, topics map[string][]int32) {
	words := []string{}
	for topic, partitions := range topics {
		for _, partition := range partitions {
			words = append(words, fmt.Sprintf("%s:%d", topic, partition))
		}
	}
	slices.Sort(words)
	l.line(mark, strings.Join(words, " "))
}

// Given notes partitions that a member has from now on, beside others.
func (l Log) Given(topics map[string][]int32) { l.partitions("+", topics) }

// Taken notes partitions that it has no more.
func (l Log) Taken(topics map[string][]int32) { l.partitions("-", topics) }

// Record notes that a record was processed.
func (l Log) Record(topic string, partition int32, offset int64) {
	l.line(".", fmt.Sprintf("%s:%d %d", topic, partition, offset))
}

// Error notes what the client told as an error.
func (l Log) Error(err error) { l.line("!", err.Error()) }

// Members of groups, each with goroutines of its own.
type Members struct {
	lock   sync.Mutex
	leaves map[string]func() error
}

// Join lets `run` be a member until its context ends; the member has left when `run` returns.
func (m *Members) Join(q Question, run func(context.Context, Log) error) (any, error) {
	file, err := os.OpenFile(q.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, Log{file})
		if err != nil {
			Log{file}.Error(err)
		}
		ended <- err
	}()
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.leaves == nil {
		m.leaves = map[string]func() error{}
	}
	m.leaves[q.Member] = func() error {
		cancel()
		select {
		case <-ended:
			return nil
		case <-time.After(20 * time.Second):
			return fmt.Errorf("a member does not leave within 20 s")
		}
	}
	return nil, nil
}

// Leave ends a member.
func (m *Members) Leave(q Question) (any, error) {
	m.lock.Lock()
	leave := m.leaves[q.Member]
	delete(m.leaves, q.Member)
	m.lock.Unlock()
	return nil, leave()
}

// Millis is a number of the question as a duration.
func Millis(number int) time.Duration { return time.Duration(number) * time.Millisecond }
