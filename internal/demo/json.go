package demo

import (
	"encoding/json"
	"io"
	"math"
	"time"
)

// JSON writes JSON Lines: each has a type, setup, step, sweep, check or tick, and the time in seconds.
// [JSON.Report] writes the last line, the report, which has no type.
type JSON struct {
	encoder *json.Encoder
	ticked  time.Duration
}

// NewJSON returns an observer that writes to w. What cannot be written is dropped.
func NewJSON(w io.Writer) *JSON {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return &JSON{encoder: e}
}

// head is what all lines but the last begin with.
type head struct {
	Type string  `json:"type"`
	At   float64 `json:"at"`
}

func newHead(kind string, at time.Duration) head {
	return head{kind, math.Round(at.Seconds()*1000) / 1000}
}

// line writes a line. A reader that went away ends no demo: the keys must go home all the same.
func (j *JSON) line(v any) { _ = j.encoder.Encode(v) }

// Started implements [Observer].
func (j *JSON) Started(s Setup) {
	j.line(struct {
		head
		Setup
	}{newHead("setup", 0), s})
}

// Stepped implements [Observer].
func (j *JSON) Stepped(s Step) {
	j.line(struct {
		head
		Step
	}{newHead("step", s.At), s})
}

// Swept implements [Observer]. Only what has ended is a line.
func (j *JSON) Swept(s Sweep) {
	if !s.Done {
		return
	}
	j.line(struct {
		head
		Sweep
	}{newHead("sweep", s.At), s})
}

// Checked implements [Observer].
func (j *JSON) Checked(c Check) {
	j.line(struct {
		head
		Check
	}{newHead("check", c.At), c})
}

// jsonTick is how often the counts are a line.
const jsonTick = time.Second

// Ticked implements [Observer].
func (j *JSON) Ticked(t Tick) {
	if t.At-j.ticked < jsonTick {
		return
	}
	j.ticked = t.At
	j.line(struct {
		head
		Tick
	}{newHead("tick", t.At), t})
}

// Report writes the last line.
func (j *JSON) Report(r Report) error { return j.encoder.Encode(r) }

var _ Observer = (*JSON)(nil)
