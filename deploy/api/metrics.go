package api

import "net/http"

// metrics answers Prometheus, in the form that it asks for.
func (s *server) metrics(c *call) error {
	if s.Meter == nil {
		return &problem{Status: http.StatusNotFound, Code: "not_found", Title: "No metrics", Detail: "this server has none"}
	}
	s.Meter.ServeHTTP(c.w, c.r)
	return nil
}
