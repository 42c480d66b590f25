package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// newVersion is `rekey version`: what was built, from which commit.
func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			if a.json {
				return a.printJSON(v)
			}
			a.printf("rekey %s", v.Version)
			if v.Commit != "" {
				a.printf(" (%s)", v.Commit)
			}
			a.printf(" %s\n", v.Go)
			return nil
		},
	}
}

// version is what the toolchain wrote into the binary.
type version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func buildVersion() version {
	v := version{Version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		v.Commit = fmt.Sprintf("%.12s", revision)
		if settings["vcs.modified"] == "true" {
			v.Commit += ", changed"
		}
	}
	return v
}
