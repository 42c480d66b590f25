package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
)

// serverVariable names the server binary that tests start, when the one on the PATH is not wanted.
const serverVariable = "REKEY_TEST_SERVER"

// A Flavor is who made a server.
type Flavor string

// The flavors that can be told apart.
const (
	Redis  Flavor = "redis"
	Valkey Flavor = "valkey"
)

// A Version is a server's own version; Valkey's, not the Redis version that it claims to be
// compatible with.
type Version struct{ Major, Minor, Patch int }

// AtLeast tells whether the version is major.minor or later.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// binary is a server program and what it says it is.
type binary struct {
	path    string
	flavor  Flavor
	version Version
}

// findBinary looks for the server once in a process: tests start it hundreds of times.
var findBinary = sync.OnceValues(func() (binary, error) {
	path, err := binaryPath()
	if err != nil {
		return binary{}, err
	}
	out, err := exec.Command(path, "--version").CombinedOutput()
	if err != nil {
		return binary{}, fmt.Errorf("ask %s for its version: %w (%s)", path, err, out)
	}
	flavor, version, err := parseVersion(string(out))
	if err != nil {
		return binary{}, fmt.Errorf("%s: %w", path, err)
	}
	return binary{path, flavor, version}, nil
})

var errNoServer = errors.New("no redis-server and no valkey-server on the PATH: " +
	"install one (make servers, or apt-get install redis-server) or name one in " + serverVariable)

func binaryPath() (string, error) {
	if path := os.Getenv(serverVariable); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", serverVariable, err)
		}
		return found, nil
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoServer
}

var versionLine = regexp.MustCompile(`^(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)`)

func parseVersion(line string) (Flavor, Version, error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return "", Version{}, fmt.Errorf("no server version in %q", line)
	}
	var n [3]int
	for i, digits := range m[2:] {
		v, err := strconv.Atoi(digits)
		if err != nil {
			return "", Version{}, fmt.Errorf("server version in %q: %w", line, err)
		}
		n[i] = v
	}
	flavor := Redis
	if m[1] == "Valkey" {
		flavor = Valkey
	}
	return flavor, Version{n[0], n[1], n[2]}, nil
}
