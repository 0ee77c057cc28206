package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tenloom/tenloom/tenants/store"
)

// listing is a page of a list.
type listing[T any] struct {
	Data    []T    `json:"data"`
	HasMore bool   `json:"has_more"`
	Next    string `json:"next_cursor"`
}

// paging are the parameters of every list.
var paging = []string{"limit", "cursor"}

// page reads which page of a list is asked for.
func (c *call) page() (store.Query, error) {
	n, err := readLimit(c.q, store.DefaultPage, store.MaxPage)
	return store.Query{Limit: n, Cursor: c.q.Get("cursor")}, err
}

// pageOf answers with a page of records, each as show makes it.
func pageOf[T, V any](c *call, p store.Page[T], err error, show func(T) V) error {
	if err != nil {
		return err
	}
	out := listing[V]{Data: make([]V, len(p.Items)), HasMore: p.Next != "", Next: p.Next}
	for i := range p.Items {
		out.Data[i] = show(p.Items[i].Value)
	}
	c.link(p.Next)
	return c.json(http.StatusOK, out)
}

// link names the next page in the header, too (RFC 8288).
func (c *call) link(cursor string) {
	if cursor == "" {
		return
	}
	q := url.Values{}
	for name, values := range c.q {
		q[name] = values
	}
	q.Set("cursor", cursor)
	next := url.URL{Path: c.r.URL.Path, RawPath: c.r.URL.RawPath, RawQuery: q.Encode()}
	c.w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
}

func readLimit(q url.Values, otherwise, most int) (int, error) {
	if !q.Has("limit") {
		return otherwise, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > most {
		return 0, badRequest("invalid_limit", fmt.Sprintf("limit is a number from 1 to %d", most), "Use ?limit=100.")
	}
	return n, nil
}

func same[T any](v T) T { return v }
