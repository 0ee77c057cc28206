package telemetry_test

import (
	"testing"

	"github.com/tenloom/tenloom/telemetry"
)

func TestLevelOfLines(t *testing.T) {
	tail := telemetry.NewTail(0, 0)
	for _, row := range []struct {
		text       string
		out, onErr telemetry.Level
	}{
		{"", telemetry.LevelInfo, telemetry.LevelError},
		{"Hello, Ada", telemetry.LevelInfo, telemetry.LevelError},
		{"error handling is nice", telemetry.LevelInfo, telemetry.LevelError},
		{"error: no such host", telemetry.LevelError, telemetry.LevelError},
		{"WARN disk", telemetry.LevelWarn, telemetry.LevelWarn},
		{"2026-01-02T15:04:05Z  INFO started", telemetry.LevelInfo, telemetry.LevelInfo},
		{"2026/01/02 15:04:05 DEBUG x", telemetry.LevelDebug, telemetry.LevelDebug},
		{"[2026-01-02T15:04:05Z WARN  mailer] slow", telemetry.LevelWarn, telemetry.LevelWarn},
		{"[error] x", telemetry.LevelError, telemetry.LevelError},
		{`{"time":"x","level":"warn","msg":"error"}`, telemetry.LevelWarn, telemetry.LevelWarn},
		{`{"severity": "CRITICAL"}`, telemetry.LevelError, telemetry.LevelError},
		{`{"msg":"level","level":30}`, telemetry.LevelInfo, telemetry.LevelError},
		{`time=1 level=debug msg="x"`, telemetry.LevelDebug, telemetry.LevelDebug},
		{`toplevel=error x`, telemetry.LevelInfo, telemetry.LevelError},
		{`level="trace" x`, telemetry.LevelTrace, telemetry.LevelTrace},
		{"INFORMATIONAL x", telemetry.LevelInfo, telemetry.LevelError},
		{"\xff\xfe{", telemetry.LevelInfo, telemetry.LevelError},
	} {
		for stream, want := range map[telemetry.Stream]telemetry.Level{telemetry.Stdout: row.out, telemetry.Stderr: row.onErr} {
			tail.Write(telemetry.Line{Tenant: "acme", Stream: stream, Text: []byte(row.text)})
			kept, _ := tail.Last("acme", 1, func(*telemetry.Kept) bool { return true })
			if kept[0].Level != want {
				t.Errorf("%s on %s is %s, want %s", row.text, stream, kept[0].Level, want)
			}
		}
	}
}
