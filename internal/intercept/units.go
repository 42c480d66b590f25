package intercept

// unit is what one session has sent at a time.
type unit struct {
	session  *Session
	replies  int    // that are still to come
	until    uint64 // the session's commands have gone when the last one has come
	followed bool   // by the session's sample
}

// units are in the order in which they were sent.
type units struct {
	ring       []unit
	head, size int
}

func (q *units) front() *unit {
	if q.size == 0 {
		return nil
	}
	return &q.ring[q.head]
}

func (q *units) push(u unit) {
	if q.size == len(q.ring) {
		grown := make([]unit, max(16, 2*len(q.ring)))
		for i := range q.size {
			grown[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.size)%len(q.ring)] = u
	q.size++
}

func (q *units) pop() {
	q.ring[q.head] = unit{}
	q.head = (q.head + 1) % len(q.ring)
	q.size--
}
