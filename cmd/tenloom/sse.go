package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxEvent bounds one line of an event stream, in bytes. A longer one ends the stream: what follows cannot be told from its rest.
const maxEvent = 32 << 20

var errEventTooLarge = fmt.Errorf("an event is larger than %s", size(maxEvent))

// event is one server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type event struct {
	name string // "message" where the stream names none
	id   string // "" where it has none
	data []byte
}

// events reads server-sent events.
type events struct {
	lines *bufio.Scanner
	alive func() // called for each line, comments too
}

func newEvents(r io.Reader, alive func()) *events {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxEvent)
	return &events{lines, alive}
}

// next returns the next event that has a name or data, io.EOF at the end of the stream, or what broke it. An event that the end cuts off is not
// returned.
func (e *events) next() (event, error) {
	ev := event{name: "message"}
	var data [][]byte
	for e.lines.Scan() {
		e.alive()
		line := e.lines.Bytes()
		if len(line) == 0 {
			if data != nil || ev.name != "message" {
				ev.data = bytes.Join(data, []byte("\n"))
				return ev, nil
			}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			ev.name = string(value)
		case "id":
			ev.id = string(value)
		case "data":
			data = append(data, bytes.Clone(value))
		}
	}
	switch err := e.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return event{}, errEventTooLarge
	case err != nil:
		return event{}, err
	}
	return event{}, io.EOF
}
