package main

import (
	"encoding/json"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"
)

// versionInfo is what this program was built from, as GET /version answers it. What the build did not record is "unknown".
type versionInfo struct {
	Version string `json:"version"` // module version, "(devel)" for a build from a checkout
	Commit  string `json:"commit"`  // with "+dirty" if files were changed
	Date    string `json:"date"`    // of the commit, RFC 3339
	Go      string `json:"go"`
}

// buildVersion reads what the Go tool chain recorded.
var buildVersion = sync.OnceValue(func() versionInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info)
})

func versionOf(info *debug.BuildInfo) versionInfo {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	known := func(s string) string {
		if s == "" {
			return "unknown"
		}
		return s
	}
	v := versionInfo{
		Version: known(info.Main.Version), Commit: known(settings["vcs.revision"]), Date: known(settings["vcs.time"]), Go: known(info.GoVersion),
	}
	if settings["vcs.modified"] == "true" {
		v.Commit += "+dirty"
	}
	return v
}

func versionCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this program was built from",
		Args:  wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := g.screen(cmd)
			if err != nil {
				return err
			}
			return printVersion(s, buildVersion())
		},
	}
}

func printVersion(s screen, v versionInfo) error {
	if s.isJSON() {
		doc, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return s.json(doc)
	}
	return s.rows("", [][]string{{"version", v.Version}, {"commit", v.Commit}, {"date", v.Date}, {"go", v.Go}})
}
