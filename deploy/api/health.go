package api

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"
)

// health says that the process answers; it depends on nothing.
func (s *server) health(c *call) error {
	plainText(c.w, http.StatusOK)
	fmt.Fprintln(c.w, "ok")
	return nil
}

// ready answers 200 when everything that messages need is there, and 503 with the reasons otherwise. One line for each check: all of them
// with ?verbose, else those that fail.
func (s *server) ready(c *call) error {
	w, checks := c.w, s.Checks()
	_, verbose := c.r.URL.Query()["verbose"]
	status := http.StatusOK
	for _, c := range checks {
		if !c.OK {
			status = http.StatusServiceUnavailable
		}
	}
	plainText(w, status)
	for _, c := range checks {
		switch {
		case !c.OK:
			fmt.Fprintln(w, line("[-]", c))
		case verbose:
			fmt.Fprintln(w, line("[+]", c))
		}
	}
	if status == http.StatusOK && !verbose {
		fmt.Fprintln(w, "ready")
	}
	return nil
}

func plainText(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
}

// line is a check on one line, whatever a channel's name or a server's error holds.
func line(mark string, c Check) string {
	text := strings.ToValidUTF8(mark+strings.TrimSpace(c.Name+" "+c.Detail), "\uFFFD")
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return ' '
	}, text)
}

func (s *server) version(c *call) error { return c.json(http.StatusOK, s.Build) }
