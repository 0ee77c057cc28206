package wasi

import (
	"time"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

const datetime = "record<seconds: u64, nanoseconds: u32>"

// clockInterfaces are wasi:clocks. The time zone is UTC.
func clockInterfaces() []host.Interface {
	return []host.Interface{
		{Name: "wasi:clocks/monotonic-clock" + version, Resources: drops("pollable"), Funcs: map[string]host.Func{
			"now":                {Type: "func() -> u64", Call: func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.U64(monotonic()) }},
			"resolution":         {Type: "func() -> u64", Call: func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.U64(1) }},
			"subscribe-instant":  {Type: "func(when: u64) -> own<pollable>", Call: subscribeInstant},
			"subscribe-duration": {Type: "func(when: u64) -> own<pollable>", Call: subscribeDuration},
		}},
		{Name: "wasi:clocks/wall-clock" + version, Types: map[string]string{"datetime": datetime}, Funcs: map[string]host.Func{
			"now":        {Type: "func() -> datetime", Call: func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { writeTime(out, time.Now()) }},
			"resolution": {Type: "func() -> datetime", Call: func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { writeTime(out, time.Unix(0, 1)) }},
		}},
		{Name: "wasi:clocks/timezone" + version, Types: map[string]string{
			"datetime":         datetime,
			"timezone-display": "record<utc-offset: s32, name: string, in-daylight-saving-time: bool>",
		}, Funcs: map[string]host.Func{
			"display":    {Type: "func(when: datetime) -> timezone-display", Call: displayZone},
			"utc-offset": {Type: "func(when: datetime) -> s32", Call: zoneOffset},
		}},
	}
}

// started is the zero of the guests' monotonic clock: how long the machine runs is not theirs to know.
var started = time.Now()

// monotonic is in nanoseconds.
func monotonic() uint64 { return uint64(time.Since(started)) }

// longest is a wait that nobody sees the end of, and that added to the present still is a time.
const longest = uint64(1 << 60)

func subscribeInstant(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.Own(&pollable{at: started.Add(time.Duration(min(in.U64(), longest)))})
}

func subscribeDuration(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	out.Own(&pollable{at: time.Now().Add(time.Duration(min(in.U64(), longest)))})
}

// writeTime writes a datetime. Times before 1970 cannot be told and are its beginning.
func writeTime(out *canon.Writer, t time.Time) {
	if t.Unix() < 0 {
		t = time.Unix(0, 0)
	}
	out.U64(uint64(t.Unix()))
	out.U32(uint32(t.Nanosecond()))
}

func displayZone(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	in.Skip()
	out.S32(0)
	out.String("UTC")
	out.Bool(false)
}

func zoneOffset(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	in.Skip()
	out.S32(0)
}
