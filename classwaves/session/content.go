package session

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"
)

// content is what is sealed in Redis. Times are Unix milliseconds.
type content struct {
	Teacher  string `json:"teacher"`
	Order    int64  `json:"order"`
	Created  int64  `json:"created"`
	Last     int64  `json:"last"`
	Deadline int64  `json:"deadline"`
	Agent    string `json:"agent"`
	Network  string `json:"network"`
}

func (c content) session(id string) Session {
	return Session{ID: id, TeacherID: c.Teacher, CreatedAt: time.UnixMilli(c.Created), LastActivity: time.UnixMilli(c.Last)}
}

// contentOf is the content that belongs to a record.
func contentOf(r Record) content {
	return content{
		Teacher: r.TeacherID, Order: r.Order, Created: r.CreatedAt.UnixMilli(), Last: r.LastActivity.UnixMilli(),
		Deadline: r.Deadline.UnixMilli(), Agent: r.Agent, Network: r.Network,
	}
}

// ended says why a session is over by the clock; "" means that it is not.
func (c content) ended(now time.Time, idle time.Duration) string {
	switch at := now.UnixMilli(); {
	case at >= c.Deadline:
		return "absolute"
	case at-c.Last >= idle.Milliseconds():
		return "idle"
	default:
		return ""
	}
}

func (c content) encode() ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("session: encode: %w", err)
	}
	return b, nil
}

func decodeContent(b []byte) (content, error) {
	var c content
	if err := json.Unmarshal(b, &c); err != nil || c.Teacher == "" || c.Deadline == 0 {
		return content{}, errContent
	}
	return c, nil
}

// contentKey is the one value of a session of scs.
const contentKey = "content"

// codec is how scs and the store hand sessions to each other.
type codec struct{}

var _ scs.Codec = codec{}

// Encode implements scs.Codec.
func (codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	c, ok := values[contentKey].(content)
	if !ok {
		return nil, errContent
	}
	c.Deadline = deadline.UnixMilli()
	return c.encode()
}

// Decode implements scs.Codec.
func (codec) Decode(b []byte) (time.Time, map[string]any, error) {
	c, err := decodeContent(b)
	if err != nil {
		return time.Time{}, nil, err
	}
	return time.UnixMilli(c.Deadline), map[string]any{contentKey: c}, nil
}
