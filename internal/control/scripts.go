package control

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// Scripts of a controller: each begins with the fence.
var (
	//go:embed lua/bury.lua
	buryText string
	//go:embed lua/closed.lua
	closedText string
	//go:embed lua/condemn.lua
	condemnText string
	//go:embed lua/enter.lua
	enterText string
	//go:embed lua/put.lua
	putText string
	//go:embed lua/target.lua
	targetText string

	buryScript    = redis.NewScript(fenceText + buryText)
	closedScript  = redis.NewScript(fenceText + closedText)
	condemnScript = redis.NewScript(fenceText + condemnText)
	enterScript   = redis.NewScript(fenceText + enterText)
	putScript     = redis.NewScript(fenceText + putText)
	targetScript  = redis.NewScript(fenceText + targetText)
)
