package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal gives a terminal of its own: what a program writes to tty is read from screen.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// On a terminal: a table, in colour unless it is not wanted.
func TestTerminal(t *testing.T) {
	const body = `{"id":"msg_1","channel":"greetings","bytes":14,"matched":1,"deliveries":[{"app":"hello","component":"greet",
		"version":"sha256:9f2c1ab07d5e","outcome":"handled","duration_ms":3.14,"output":"Hello, Ada\n","invocation":"inv_1"}]}`
	server := httptest.NewServer(&platformAPI{answers: []answer{{200, "application/json", body}}})
	defer server.Close()
	const table = "msg_1  greetings  14 B  1 handler\n  %s  demo/hello greet 9f2c1ab  3.1 ms   \"Hello, Ada\"\nTrace  SERVER/v1/tenants/demo/invocations/inv_1\n"
	rows := []struct{ name, noColor, term, ok string }{
		{"colour", "", "xterm", green + "ok" + reset}, {"NO_COLOR", "1", "xterm", "ok"}, {"dumb", "", "dumb", "ok"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", row.noColor)
			t.Setenv("TERM", row.term)
			screen, tty := openTerminal(t)
			root := clientRoot()
			root.SetArgs([]string{"publish", "greetings", "x", "--server", server.URL})
			root.SetOut(tty)
			if code := execute(t.Context(), root); code != 0 {
				t.Errorf("ended with %d", code)
			}
			fmt.Fprintln(tty, "END")
			got := readUntil(t, screen, "END")
			want := strings.ReplaceAll(fmt.Sprintf(table, row.ok), "SERVER", server.URL)
			if got != want {
				t.Errorf("got\n%q\nwant\n%q", got, want)
			}
		})
	}
}

// readUntil reads what the terminal shows before end; the terminal ends lines with \r\n.
func readUntil(t *testing.T, screen *os.File, end string) string {
	var shown bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(shown.String(), end) {
		n, err := screen.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(buf[:n])
	}
	text, _, _ := strings.Cut(strings.ReplaceAll(shown.String(), "\r\n", "\n"), end)
	return text
}
