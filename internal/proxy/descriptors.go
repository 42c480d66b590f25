package proxy

import "golang.org/x/sys/unix"

// A client is a descriptor, and another one where it has a connection to the server of its own. When there is none
// left the kernel lets the next client wait without a word, and the proxy cannot reach the server for those that
// are there. So not more clients are taken than there are descriptors for.

// ownDescriptors are for what is not a client's: listeners, the fleet's records, the admin port, shared connections.
const ownDescriptors = 128

// affordable is how many clients of those that are wanted may be taken with so many descriptors.
func affordable(wanted int, descriptors uint64) int {
	spare := int64(min(descriptors, 1<<40)) - ownDescriptors
	return int(min(int64(wanted), max(1, spare/2)))
}

// descriptors is how many the process may have open; where the system does not say it, as many as it likes.
func descriptors() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1 << 40
	}
	return uint64(limit.Cur)
}
