package ratelimit

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

//go:embed take.lua
var takeText string

// take is safe for concurrent use and never changes.
var take = redis.NewScript(takeText)
