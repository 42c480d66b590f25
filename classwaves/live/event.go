package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/classwaves/rekey/classwaves/keys"
	"github.com/classwaves/rekey/classwaves/unavailable"
)

// Kinds of events that the hub sends of itself.
const (
	kindReply  = "reply"
	kindError  = "error"
	kindResync = "resync" // something may have been missed
)

const codeInternal = "INTERNAL"

// envelope is an event as it travels.
type envelope struct {
	Kind    string `json:"kind"`
	Payload any    `json:"payload,omitempty"`
}

// Error is an error that a client is told of.
type Error struct {
	Code    string `json:"code"`              // for programs: NO_SUCH_GROUP
	Message string `json:"message,omitempty"` // for people
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// EndError says why a connection was ended by the hub.
type EndError struct {
	Status int // of the WebSocket protocol
	Reason string
}

func (e *EndError) Error() string {
	return fmt.Sprintf("live: ended with status %d: %s", e.Status, e.Reason)
}

// ErrTooLong says that an event is longer than Config.MaxEvent.
var ErrTooLong = errors.New("live: the event is too long")

func encode(kind string, payload any, limit int) ([]byte, error) {
	data, err := json.Marshal(envelope{kind, payload})
	if err != nil {
		return nil, fmt.Errorf("live: encode an event: %w", err)
	}
	if len(data) > limit {
		return nil, ErrTooLong
	}
	return data, nil
}

// explain makes of an error what may be told to a client.
func (h *Hub) explain(err error) *Error {
	var told *Error
	switch {
	case errors.As(err, &told):
		return told
	case unavailable.Is(err):
		return &Error{Code: "UNAVAILABLE", Message: "try again later"}
	}
	h.Logger.Error("live: a message could not be handled", "error", err)
	return &Error{Code: codeInternal}
}

// Publish tells everybody who is connected to a session, in every process, of an event. Payload is what JSON
// can hold. An *unavailable.Error says that other processes may not hear of it; the connections of this
// one do, then perhaps twice.
func (h *Hub) Publish(ctx context.Context, sessionID, kind string, payload any) error {
	channel, err := keys.Events(h.Environment, sessionID)
	if err != nil {
		return err
	}
	data, err := encode(kind, payload, h.MaxEvent)
	if err != nil {
		return err
	}
	if err := h.Redis.Publish(ctx, channel, data).Err(); err != nil {
		h.counters.unpublished.Add(1)
		h.deliver(channel, data)
		return unavailable.Wrap("publish an event", err)
	}
	h.counters.published.Add(1)
	return nil
}

// deliver queues an event for the connections of a session.
func (h *Hub) deliver(channel string, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.rooms[channel] {
		h.give(c, data)
	}
}

// resync tells every connection that events may have been missed.
func (h *Hub) resync() {
	data, err := encode(kindResync, nil, h.MaxEvent)
	if err != nil {
		return // a constant
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, room := range h.rooms {
		for c := range room {
			h.give(c, data)
		}
	}
}
