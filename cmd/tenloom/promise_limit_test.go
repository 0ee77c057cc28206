package main

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"testing"
)

// The machine's limit for the path is a loop with nothing in it that could be left out: one goroutine reads the socket into a buffer of 256
// KiB, parses the frames in place, copies each payload of 64 bytes into a warm guest and calls it. There is no queue, no second goroutine, no
// account, no clock, no allocator call and no reset, so nobody else could get a word in, and the next message finds what this one left. The
// feed, the guest, the machine and the minute are those of the path beside it.
//
// What is printed is the path's share of it: 1 would be a path that costs nothing beyond. It does not count the tenants' isolation as a good.

// limitRate is the path's rate over the limit's. The path has two goroutines for its work, the limit one.
func limitRate(b *testing.B) float64 {
	return limit(b, func(limit, ours speed) float64 { return ours.rate / limit.rate })
}

// limitCPU is the limit's CPU time for each message over the path's.
func limitCPU(b *testing.B) float64 {
	return limit(b, func(limit, ours speed) float64 { return float64(limit.cpu) / float64(ours.cpu) })
}

func limit(b *testing.B, share func(limit, ours speed) float64) float64 {
	wasm := readGuest(b, "sum")
	feed := startBlaster(b)
	return median(b, 5, func() float64 {
		limit := limitSpeed(b, feed, wasm)
		ours := tenloomSpeed(b, feed, wasm)
		b.Logf("limit %.0f/s %v, tenloom %.0f/s %v", limit.rate, limit.cpu, ours.rate, ours.cpu)
		return share(limit, ours)
	})
}

func limitSpeed(b *testing.B, feed *blaster, wasm []byte) speed {
	guest, end := newWarmGuest(b, wasm)
	defer end()
	socket, err := net.Dial("tcp", feed.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer socket.Close()
	if _, err := fmt.Fprintf(socket, "*2\r\n$9\r\nSUBSCRIBE\r\n$7\r\nfree:64\r\n"); err != nil {
		b.Fatal(err)
	}
	var w warmed
	buf, unread := make([]byte, 256<<10), 0
	for {
		n, err := socket.Read(buf[unread:])
		if err != nil {
			b.Fatal(err)
		}
		left := buf[:unread+n]
		for {
			payload, frame := payloadOf(left)
			if frame == 0 {
				break
			}
			left = left[frame:]
			if payload == nil { // the acknowledgement
				continue
			}
			guest.memory.Write(1024, payload)
			guest.call(b, len(payload))
			if reached, done := w.count(); done {
				return reached
			}
		}
		unread = copy(buf, left)
	}
}

// payloadOf finds the payload of the message at the front of b, and where its frame ends; 0 where it is not whole yet. It believes what it
// reads, since the blaster is ours.
func payloadOf(b []byte) (payload []byte, end int) {
	const head, acknowledged = "*3\r\n$7\r\nmessage\r\n", "*3\r\n$9\r\nsubscribe\r\n$7\r\nfree:64\r\n:1\r\n"
	if bytes.HasPrefix(b, []byte(acknowledged)) {
		return nil, len(acknowledged)
	}
	if len(b) < len(head) {
		return nil, 0
	}
	channel, at := bulkAt(b, len(head))
	if channel == nil {
		return nil, 0
	}
	payload, end = bulkAt(b, at)
	return payload, end
}

// bulkAt reads "$<length>\r\n<bytes>\r\n"; nil where it is not whole yet.
func bulkAt(b []byte, at int) (text []byte, end int) {
	size := 0
	for at++; at < len(b) && b[at] != '\r'; at++ {
		size = 10*size + int(b[at]-'0')
	}
	begin := at + 2
	if end = begin + size + 2; end > len(b) {
		return nil, 0
	}
	return b[begin : begin+size], end
}

// TestPayloadOf cuts the stream at each place.
func TestPayloadOf(t *testing.T) {
	var stream []byte
	stream = append(stream, "*3\r\n$9\r\nsubscribe\r\n$7\r\nfree:64\r\n:1\r\n"...)
	for i := range 3 {
		stream = fmt.Appendf(stream, "*3\r\n$7\r\nmessage\r\n$7\r\nfree:64\r\n$2\r\n%d%d\r\n", i, i)
	}
	for cut := range stream {
		var found []string
		from := 0
		for _, to := range []int{cut, len(stream)} {
			for {
				payload, n := payloadOf(stream[from:to])
				if n == 0 {
					break
				}
				if from += n; payload != nil {
					found = append(found, strconv.Quote(string(payload)))
				}
			}
		}
		if fmt.Sprint(found) != `["00" "11" "22"]` {
			t.Fatalf("cut at %d: %v", cut, found)
		}
	}
}
