package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier tells systemd how the service stands (sd_notify(3)). The nil notifier tells nobody.
type notifier struct {
	address  *net.UnixAddr
	watchdog time.Duration // how often systemd wants to hear from us; 0 not at all
}

// newNotifier reads NOTIFY_SOCKET and, where they are for this process, WATCHDOG_USEC and WATCHDOG_PID.
func newNotifier() *notifier {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" || path[0] != '/' && path[0] != '@' {
		return nil
	}
	if path[0] == '@' { // an abstract socket (unix(7))
		path = "\x00" + path[1:]
	}
	n := &notifier{address: &net.UnixAddr{Name: path, Net: "unixgram"}}
	pid := os.Getenv("WATCHDOG_PID")
	if pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n
	}
	if micros, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && micros > 0 {
		n.watchdog = time.Duration(micros) * time.Microsecond
	}
	return n
}

// send tells systemd some variables. An error says only that nobody was told.
func (n *notifier) send(state ...string) error {
	if n == nil {
		return nil
	}
	c, err := net.DialUnix(n.address.Net, nil, n.address)
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(strings.Join(state, "\n"))); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}

// watch sends a sign of life twice in each interval, after alive has returned, until ctx ends: what stands still is started again.
func (n *notifier) watch(ctx context.Context, alive func()) {
	if n == nil || n.watchdog == 0 {
		return
	}
	tick := time.NewTicker(n.watchdog / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			alive()
			n.send("WATCHDOG=1") // unheard, it is sent again; systemd acts on silence alone
		}
	}
}
