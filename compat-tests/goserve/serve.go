// Package goserve is what the adapters in Go share: the loop over questions, one line of JSON
// each, and a producer that endures restarts of the broker.
package goserve

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Burst is how many records are sent before acknowledgements are waited for.
const Burst = 20

// Seconds is how long an adapter waits for anything.
const Seconds = 15 * time.Second

// Header of a record; a nil value is null.
type Header struct {
	Name  string
	Value []byte
}

// Record as it travels: bytes are base64, null is nil.
type Record struct {
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
}

// MarshalJSON writes a header as a pair.
func (h Header) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{h.Name, h.Value})
}

// UnmarshalJSON reads a header from a pair.
func (h *Header) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&h.Name, &h.Value})
}

// Question of the harness; each uses some of the fields.
type Question struct {
	Op         string            `json:"op"`
	Topic      string            `json:"topic"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions"`
	Codec      string            `json:"codec"`
	Acks       string            `json:"acks"`
	Idempotent bool              `json:"idempotent"`
	MaxBytes   int32             `json:"max_bytes"`
	AutoCreate bool              `json:"auto_create"`
	Records    []Record          `json:"records"`
	Count      int               `json:"count"`
	Start      string            `json:"start"`
	Offset     int64             `json:"offset"`
	Then       []Record          `json:"then"`
	At         json.RawMessage   `json:"at"`
	Configs    map[string]string `json:"configs"`

	// Of members of groups; times in ms.
	Member      string   `json:"member"`
	Group       string   `json:"group"`
	Topics      []string `json:"topics"`
	Pattern     string   `json:"pattern"`
	Instance    string   `json:"instance"`
	Cooperative bool     `json:"cooperative"`
	Session     int      `json:"session"`
	Heartbeat   int      `json:"heartbeat"`
	Protocol    string   `json:"protocol"`
	Log         string   `json:"log"`

	// Of transactions, and of copy jobs.
	Handle    string  `json:"handle"`
	ID        string  `json:"id"`
	Values    []Value `json:"values"`
	End       string  `json:"end"`
	Source    string  `json:"source"`
	Target    string  `json:"target"`
	Abort     bool    `json:"abort"`
	Committed bool    `json:"committed"`
}

// Number is `at` as a number, and Word is `at` as a word; the other is -1 or empty.
func (q Question) Number() int64 {
	number := int64(-1)
	_ = json.Unmarshal(q.At, &number)
	return number
}

// Word is `at` where it is a word.
func (q Question) Word() string {
	word := ""
	_ = json.Unmarshal(q.At, &word)
	return word
}

// Unoffered is an error that says that the client has no call for something.
type Unoffered string

func (u Unoffered) Error() string { return string(u) }

// Node of a cluster.
type Node struct {
	ID   int32  `json:"id"`
	Host string `json:"host"`
	Port int32  `json:"port"`
}

// Cluster as describe_cluster tells it.
type Cluster struct {
	Brokers    []Node `json:"brokers"`
	Controller int32  `json:"controller"`
	ClusterID  string `json:"cluster_id,omitempty"`
}

// Ops answers questions by name.
type Ops map[string]func(Question) (any, error)

// Serve reads questions until there are no more. What a library prints goes to standard error.
func Serve(ops Ops) {
	answers := bufio.NewWriter(os.Stdout)
	os.Stdout = os.Stderr
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		data, err := json.Marshal(answer(ops, line))
		if err != nil {
			panic(err)
		}
		answers.Write(append(data, '\n'))
		answers.Flush()
	}
}

func answer(ops Ops, line []byte) map[string]any {
	var question Question
	if err := json.Unmarshal(line, &question); err != nil {
		return map[string]any{"error": err.Error()}
	}
	op, known := ops[question.Op]
	if !known {
		return map[string]any{"unoffered": "client: no such call"}
	}
	told, err := op(question)
	var unoffered Unoffered
	if errors.As(err, &unoffered) {
		return map[string]any{"unoffered": unoffered.Error()}
	}
	if err != nil {
		return map[string]any{"error": fmt.Sprintf("%T: %v", err, err)}
	}
	if hello, yes := told.(map[string]any); yes && question.Op == "hello" {
		hello["calls"] = slices.Collect(maps.Keys(ops))
	}
	return map[string]any{"ok": told}
}

// Endurance sends bursts of numbered records in a goroutine of its own, and notes each ack.
type Endurance struct {
	lock   sync.Mutex
	acked  []int
	errs   []string
	over   chan struct{}
	ending sync.WaitGroup
}

// Endure starts; send gives the numbers that were acknowledged, also beside an error.
func Endure(send func(numbers []int) ([]int, error)) *Endurance {
	e := &Endurance{acked: []int{}, errs: []string{}, over: make(chan struct{})}
	e.ending.Go(func() {
		for first := 0; ; first += Burst {
			numbers := make([]int, Burst)
			for at := range numbers {
				numbers[at] = first + at
			}
			acked, err := send(numbers)
			e.note(acked, err)
			select {
			case <-e.over:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return e
}

func (e *Endurance) note(acked []int, err error) {
	e.lock.Lock()
	defer e.lock.Unlock()
	e.acked = append(e.acked, acked...)
	if err != nil {
		e.errs = append(e.errs, err.Error())
	}
}

// Count of the acknowledgements so far.
func (e *Endurance) Count() int {
	e.lock.Lock()
	defer e.lock.Unlock()
	return len(e.acked)
}

// Calm ends the producer and tells what was acknowledged.
func (e *Endurance) Calm() map[string]any {
	close(e.over)
	e.ending.Wait()
	return map[string]any{"acked": e.acked, "errors": e.errs}
}

// Version of a module that this program is built with.
func Version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return strings.TrimPrefix(dependency.Version, "v")
		}
	}
	return "?"
}
