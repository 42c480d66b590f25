package resp

// OddRequests gives the requests of the table to the test against a real server.
func OddRequests() [][]byte {
	ins := make([][]byte, len(requests))
	for i, c := range requests {
		ins[i] = []byte(c.in)
	}
	return ins
}
