package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// A blaster is a child process that speaks just enough RESP for a client to subscribe, and then writes pre-built frames as fast as it is
// let. It costs less for each message than any reader, so the reader is what is measured; being another process, its CPU time does not count.
//
// On channel "free:64" it writes payloads of 64 bytes until the client goes away, so that the socket's own back-pressure paces it. On
// "paced:64" it writes as many frames as it is told to: tenloom's reader never blocks, so somebody else has to keep it from drowning.
type blaster struct {
	addr    string
	credits io.Writer
}

const blasterRole = "TENLOOM_TEST_BLASTER"

func init() {
	if os.Getenv(blasterRole) != "" {
		serveBlaster()
		os.Exit(0)
	}
}

func startBlaster(tb testing.TB) *blaster {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), blasterRole+"=1", "GOMAXPROCS=2", "GOGC=off")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // closed when this process ends, however it ends, and the child with it
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { in.Close(); cmd.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return &blaster{addr: strings.TrimSpace(addr), credits: in}
}

// allow lets n more frames out on paced channels.
func (b *blaster) allow(n int) error {
	_, err := fmt.Fprintf(b.credits, "%d\n", n)
	return err
}

func serveBlaster() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(l.Addr())
	var allowed atomic.Int64
	more := make(chan struct{}, 1)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			n, _ := strconv.ParseInt(lines.Text(), 10, 64)
			allowed.Add(n)
			select {
			case more <- struct{}{}:
			default:
			}
		}
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			blast(c, &allowed, more)
		}()
	}
}

// blast answers commands until the client subscribes. It reads commands by their lines, which is sound for the few that clients send here.
func blast(c net.Conn, allowed *atomic.Int64, more <-chan struct{}) {
	in := bufio.NewScanner(c)
	argument := func() string { in.Scan(); in.Scan(); return in.Text() } // past "$<len>"
	push := "*"
	for in.Scan() {
		switch strings.ToUpper(in.Text()) {
		case "HELLO":
			kind := "*4"
			if argument() == "3" {
				kind, push = "%2", ">"
			}
			io.WriteString(c, kind+"\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n")
		case "CLIENT":
			io.WriteString(c, "+OK\r\n")
		case "PING":
			io.WriteString(c, "+PONG\r\n")
		case "SUBSCRIBE":
			name := argument()
			fmt.Fprintf(c, "%s3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", push, len(name), name)
			kind, text, _ := strings.Cut(name, ":")
			size, _ := strconv.Atoi(text)
			frame := fmt.Appendf(nil, "%s3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", push, len(name), name, size, strings.Repeat("x", size))
			if kind == "free" {
				blastFree(c, frame)
			} else {
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					answerPings(in, c, push)
				}()
				blastPaced(c, frame, allowed, more, gone)
			}
			return
		}
	}
}

func blastFree(c net.Conn, frame []byte) {
	chunk := bytes.Repeat(frame, 1+256<<10/len(frame))
	for {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

func blastPaced(c net.Conn, frame []byte, allowed *atomic.Int64, more, gone <-chan struct{}) {
	const most = 4096
	chunk := bytes.Repeat(frame, most)
	for {
		n := min(allowed.Load(), most)
		if n == 0 {
			select {
			case <-more:
			case <-gone: // credits are for the next client
				return
			}
			continue
		}
		allowed.Add(-n)
		if _, err := c.Write(chunk[:int(n)*len(frame)]); err != nil {
			return
		}
	}
}

// answerPings keeps a hub that heard nothing for a while content.
func answerPings(in *bufio.Scanner, c net.Conn, push string) {
	for in.Scan() {
		if strings.ToUpper(in.Text()) == "PING" {
			answer := "+PONG\r\n"
			if push == "*" {
				answer = "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
			}
			io.WriteString(c, answer)
		}
	}
}
