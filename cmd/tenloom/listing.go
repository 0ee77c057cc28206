package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// column is a column of a list: its title on a terminal, and where its value stands in a row, with dots between the names of objects.
type column struct{ title, path string }

// listing is a list of objects as a server gives them, or as they are here.
type listing struct {
	columns []column
	key     string // what "-o name" prints
	rows    []map[string]any
	docs    []json.RawMessage // the same, as they came
}

func (l *listing) add(row map[string]any) {
	doc, err := json.Marshal(row)
	if err != nil {
		panic("listing: a row that is ours does not encode: " + err.Error())
	}
	l.rows, l.docs = append(l.rows, row), append(l.docs, doc)
}

func (l *listing) addDocument(doc json.RawMessage) error {
	var row map[string]any
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if err := d.Decode(&row); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	l.rows, l.docs = append(l.rows, row), append(l.docs, doc)
	return nil
}

// print shows the list: titles on a terminal alone, so that programs get rows and nothing else.
func (l *listing) print(s screen) error {
	switch s.format {
	case "json":
		if l.docs == nil {
			l.docs = []json.RawMessage{}
		}
		doc, err := json.Marshal(map[string]any{"data": l.docs})
		if err != nil {
			return err
		}
		return s.json(doc)
	case "ndjson":
		for _, doc := range l.docs {
			if err := s.json(doc); err != nil {
				return err
			}
		}
		return nil
	case "name":
		var names [][]string
		for _, row := range l.rows {
			names = append(names, []string{cell(valueAt(row, l.key))})
		}
		return s.rows("", names)
	}
	var table [][]string
	if s.format == "table" && len(l.rows) > 0 {
		table = append(table, l.titles())
	}
	for _, row := range l.rows {
		var cells []string
		for _, c := range l.columns {
			value := valueAt(row, c.path)
			if show := shows[c.path]; show != nil {
				cells = append(cells, plain(show(value)))
				continue
			}
			cells = append(cells, cell(value))
		}
		table = append(table, cells)
	}
	return s.rows("", table)
}

// shows are columns whose values are lists of objects.
var shows = map[string]func(any) string{
	"weights":  each(func(w map[string]any) string { return "v" + cell(w["version"]) + " " + cell(w["percent"]) + " %" }),
	"handlers": each(func(h map[string]any) string { return cell(h["app"]) + "/" + cell(h["component"]) }),
}

func each(one func(map[string]any) string) func(any) string {
	return func(v any) string {
		var parts []string
		list, _ := v.([]any)
		for _, item := range list {
			if object, ok := item.(map[string]any); ok {
				parts = append(parts, one(object))
			}
		}
		return strings.Join(parts, ", ")
	}
}

func (l *listing) titles() (all []string) {
	for _, c := range l.columns {
		all = append(all, c.title)
	}
	return all
}

// valueAt finds a value by its path.
func valueAt(row map[string]any, path string) any {
	first, rest, more := strings.Cut(path, ".")
	if !more {
		return row[first]
	}
	if inner, ok := row[first].(map[string]any); ok {
		return valueAt(inner, rest)
	}
	return nil
}

// cell is a value on one line.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.Local().Format("2006-01-02 15:04:05")
		}
		return plain(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case json.Number:
		return v.String()
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return plain(string(doc))
}

// maxPages bounds how much of a list is read where no --limit is given; what is left is said.
const maxPages = 200

// listFlags are those of a command that lists what a server has.
type listFlags struct{ limit int }

func (f *listFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.limit, "limit", 0, "at most so many (default: all)")
}

// list reads a list page by page and prints it.
func (g *globals) list(cmd *cobra.Command, s screen, c *client, path string, f listFlags, l listing) error {
	more, err := c.fetch(cmd.Context(), path, f.limit, &l)
	if err != nil {
		return err
	}
	if more && f.limit == 0 {
		g.hint(cmd, "There are more: these are the first %d.", len(l.rows))
	}
	return l.print(s)
}

// fetch reads a list, at most so many rows of it; 0 means all.
func (c *client) fetch(ctx context.Context, path string, limit int, l *listing) (more bool, err error) {
	cursor := ""
	for range maxPages {
		q := url.Values{}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		if limit > 0 {
			q.Set("limit", fmt.Sprint(min(limit-len(l.rows), 500)))
		}
		page := path
		if len(q) > 0 {
			sep := "?"
			if strings.Contains(path, "?") {
				sep = "&"
			}
			page += sep + q.Encode()
		}
		doc, _, err := c.call(ctx, http.MethodGet, page, nil)
		if err != nil {
			return false, err
		}
		var answer struct {
			Data []json.RawMessage `json:"data"`
			Next string            `json:"next_cursor"`
		}
		if err := json.Unmarshal(doc, &answer); err != nil {
			return false, fmt.Errorf("read the answer: %w", err)
		}
		for _, one := range answer.Data {
			if err := l.addDocument(one); err != nil {
				return false, err
			}
		}
		if cursor = answer.Next; cursor == "" || limit > 0 && len(l.rows) >= limit {
			return cursor != "", nil
		}
	}
	return true, nil
}

// object prints one object: as it came, or for people a line for each member in the order of the document.
func (s screen) object(doc []byte) error {
	if s.isJSON() {
		return s.json(doc)
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("read the answer: it is no object")
	}
	var rows [][]string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		rows = append(rows, flat(fmt.Sprint(name), value)...)
	}
	return s.rows("", rows)
}

// flat gives an object's members names with dots.
func flat(name string, value any) [][]string {
	inner, ok := value.(map[string]any)
	if !ok {
		return [][]string{{plain(name), cell(value)}}
	}
	var rows [][]string
	for _, key := range sortedKeys(inner) {
		rows = append(rows, flat(name+"."+key, inner[key])...)
	}
	return rows
}
