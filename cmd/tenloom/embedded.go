package main

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/alicebob/miniredis/v2"
	resp "github.com/alicebob/miniredis/v2/server"
)

// embeddedAddress is where the Redis inside the process listens, if nobody else does.
const embeddedAddress = "127.0.0.1:6390"

// embedded is a Redis inside the process, for a machine that has none. It keeps everything in memory and forgets it at the end.
type embedded struct {
	*miniredis.Miniredis
	ended chan struct{}
}

// startEmbedded listens on the usual address, or on a free port of loopback where that is taken.
func startEmbedded(address string) (*embedded, error) {
	m := miniredis.NewMiniRedis()
	err := m.StartAddr(address)
	if err != nil && address == embeddedAddress {
		m = miniredis.NewMiniRedis()
		err = m.StartAddr("127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("start embedded Redis: %w", err)
	}
	m.Server().SetPreHook(refusePattern)
	e := &embedded{Miniredis: m, ended: make(chan struct{})}
	go e.age() // ends with Close
	return e, nil
}

// age lets keys expire: miniredis counts time to live down only when it is told that time has passed.
func (e *embedded) age() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-e.ended:
			return
		case now := <-tick.C:
			e.FastForward(now.Sub(last))
			last = now
		}
	}
}

// withPatterns are the commands whose arguments miniredis turns into regular expressions. One that does not compile would end the process,
// or leave the server locked for ever.
var withPatterns = map[string]bool{"PSUBSCRIBE": true, "PUNSUBSCRIBE": true, "KEYS": true, "SCAN": true, "SSCAN": true, "HSCAN": true, "ZSCAN": true, "PUBSUB": true}

// refusePattern answers a command whose pattern only a real Redis can take, and then says that it is done.
func refusePattern(c *resp.Peer, command string, args ...string) bool {
	if !withPatterns[strings.ToUpper(command)] {
		return false
	}
	for _, a := range args {
		if !compiles(a) {
			c.WriteError("ERR the embedded Redis does not take the pattern " + strconv.QuoteToASCII(a) + "; use --redis with a real one")
			return true
		}
	}
	return false
}

// compiles tells whether a glob can be written as a regular expression: it is UTF-8, and so are its classes, with ranges that ascend.
func compiles(glob string) bool {
	if !utf8.ValidString(glob) {
		return false
	}
	for {
		open := strings.IndexAny(glob, `[\`)
		if open < 0 {
			return true
		}
		if glob[open] == '\\' {
			glob = glob[min(open+2, len(glob)):]
			continue
		}
		class := glob[open+1:]
		end := 0
		for end < len(class) && class[end] != ']' {
			if class[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(class))
		if end > 0 {
			if _, err := regexp.Compile("[" + class[:end] + "]"); err != nil {
				return false
			}
		}
		glob = class[min(end+1, len(class)):]
	}
}

func (e *embedded) Close() {
	close(e.ended)
	e.Miniredis.Close()
}

func (e *embedded) URL() string { return "redis://" + e.Addr() }

// loopback tells whether a host name means this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
