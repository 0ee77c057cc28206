package api

import (
	"fmt"
	"net/http"

	"github.com/tenloom/tenloom/tenants"
)

// health says that the process answers; it depends on nothing.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

// ready answers 200 when everything that messages need is there, and 503 with the reasons otherwise. One line for each check: all of them
// with ?verbose, else those that fail.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	checks := s.Checks()
	_, verbose := r.URL.Query()["verbose"]
	status := http.StatusOK
	for _, c := range checks {
		if !c.OK {
			status = http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	for _, c := range checks {
		switch {
		case !c.OK:
			fmt.Fprintf(w, "[-]%s %s\n", c.Name, c.Detail)
		case verbose:
			fmt.Fprintf(w, "[+]%s %s\n", c.Name, c.Detail)
		}
	}
	if status == http.StatusOK && !verbose {
		fmt.Fprintln(w, "ready")
	}
}

func (s *server) version(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Build) }

// usage is what a tenant's deliveries came to since the process began.
func (s *server) usage(w http.ResponseWriter, _ *http.Request, id tenants.ID) {
	writeJSON(w, map[string]any{"counts": s.Recorder.Account(id).Counts(), "load": s.Scheduler.Load(id)})
}
