package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/phase"
)

// logLength is about how many entries the audit log keeps.
const logLength = 10_000

// Entry is one line of the audit log.
type Entry struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"` // by the server's clock
	What     string    `json:"what"`
	By       string    `json:"by"`
	Gen      int64     `json:"gen,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	From     string    `json:"from,omitempty"`
	To       string    `json:"to,omitempty"`
	Instance string    `json:"instance,omitempty"`
	// Evidence is what the step was made on: the verdicts of its gates, the instances, what the operator
	// said.
	Evidence json.RawMessage `json:"evidence,omitempty"`
}

// entry is what is written.
type entry struct {
	What, By, Rule string
	Gen            int64
	From, To       phase.Phase
	Instance       string
	Evidence       any
}

// entryArgs are the log's length, the entry's fields and their values.
func entryArgs(e entry) []any {
	out := []any{logLength, "what", e.What, "by", e.By}
	add := func(name, value string) {
		if value != "" {
			out = append(out, name, value)
		}
	}
	add("rule", e.Rule)
	if e.Gen != 0 {
		add("gen", strconv.FormatInt(e.Gen, 10))
	}
	if e.From != 0 {
		add("from", e.From.String())
	}
	if e.To != 0 {
		add("to", e.To.String())
	}
	add("instance", e.Instance)
	if e.Evidence != nil {
		text, err := json.Marshal(e.Evidence)
		if err != nil {
			text, _ = json.Marshal(err.Error()) // a string can be encoded
		}
		add("evidence", string(text))
	}
	return out
}

// Log gives the last n entries of the audit log, the oldest first.
func Log(ctx context.Context, store *fleet.Store, n int) ([]Entry, error) {
	messages, err := store.Client().XRevRangeN(ctx, store.Keys().Audit(), "+", "-", int64(n)).Result()
	if err != nil {
		return nil, fmt.Errorf("rekey: read the audit log: %w", err)
	}
	out := make([]Entry, 0, len(messages))
	for _, m := range slices.Backward(messages) {
		out = append(out, parseEntry(m))
	}
	return out, nil
}

func parseEntry(m redis.XMessage) Entry {
	field := func(name string) string {
		text, _ := m.Values[name].(string)
		return text
	}
	e := Entry{
		ID: m.ID, What: field("what"), By: field("by"), Rule: field("rule"), From: field("from"), To: field("to"),
		Instance: field("instance"),
	}
	ms, _, _ := strings.Cut(m.ID, "-")
	if n, err := strconv.ParseInt(ms, 10, 64); err == nil {
		e.At = time.UnixMilli(n).UTC()
	}
	e.Gen, _ = strconv.ParseInt(field("gen"), 10, 64) // 0: it was made without the lock
	if text := field("evidence"); json.Valid([]byte(text)) {
		e.Evidence = json.RawMessage(text)
	}
	return e
}
