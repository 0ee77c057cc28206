package main

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	rows := []struct {
		info debug.BuildInfo
		want versionInfo
	}{
		{debug.BuildInfo{}, versionInfo{"unknown", "unknown", "unknown", "unknown"}},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.1.0"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "9f2c1ab"}, {Key: "vcs.time", Value: "2026-11-21T01:00:00Z"}, {Key: "vcs.modified", Value: "false"},
		}}, versionInfo{"v0.1.0", "9f2c1ab", "2026-11-21T01:00:00Z", "go1.26.8"}},
		{debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "9f2c1ab"}, {Key: "vcs.modified", Value: "true"}}},
			versionInfo{"unknown", "9f2c1ab+dirty", "unknown", "unknown"}},
	}
	for _, row := range rows {
		if got := versionOf(&row.info); got != row.want {
			t.Errorf("%+v, want %+v", got, row.want)
		}
	}
}

func TestPrintVersion(t *testing.T) {
	v := versionInfo{"v0.1.0", "9f2c1ab", "2026-11-21T01:00:00Z", "go1.26.8"}
	for format, want := range map[string]string{
		"table":  "version  v0.1.0\ncommit   9f2c1ab\ndate     2026-11-21T01:00:00Z\ngo       go1.26.8\n",
		"tsv":    "version\tv0.1.0\ncommit\t9f2c1ab\ndate\t2026-11-21T01:00:00Z\ngo\tgo1.26.8\n",
		"ndjson": `{"version":"v0.1.0","commit":"9f2c1ab","date":"2026-11-21T01:00:00Z","go":"go1.26.8"}` + "\n",
	} {
		var out bytes.Buffer
		if err := printVersion(screen{w: &out, format: format}, v); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v, want %q", format, out.String(), err, want)
		}
	}
	code, stdout, stderr := run(t.Context(), "version", "--json")
	var got versionInfo
	if err := json.Unmarshal([]byte(stdout), &got); code != 0 || err != nil || got != buildVersion() || got.Go == "unknown" {
		t.Errorf("ended with %d, %q, %q: %v", code, stdout, stderr, err)
	}
}
