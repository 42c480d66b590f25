package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/classwaves/rekey/internal/fleet"
	"github.com/classwaves/rekey/plan"
)

// errClustered refuses a cluster.
func errClustered() error {
	return failed("--redis URL of a single server or a Sentinel group", "a cluster is not supported yet: name a single server or a Sentinel group")
}

// saysClustered reports whether an error is one that nodes of clusters alone answer.
func saysClustered(err error) bool {
	var answered redis.Error
	if !errors.As(err, &answered) {
		return false
	}
	word, _, _ := strings.Cut(answered.Error(), " ")
	return slices.Contains([]string{"CROSSSLOT", "CLUSTERDOWN", "MOVED"}, word)
}

// clustered reports whether the server of a plan says that it is a node of a cluster. One that says nothing to the
// plan's user, who need not be one of the applications', is not.
func clustered(ctx context.Context, server plan.Server) bool {
	options, err := fleet.Options(server)
	if err != nil {
		return false
	}
	c := fleet.Client(options, 0)
	defer func() { _ = c.Close() }() // it was asked
	info, err := c.Info(ctx, "cluster").Result()
	return err == nil && strings.Contains(info, "cluster_enabled:1")
}

// soonClustered is [clustered] for who does not wait for a server that is away: the proxy serves when it is back.
func soonClustered(ctx context.Context, server plan.Server) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return clustered(ctx, server)
}
