package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tenloom/tenloom/tenants"
)

// screen is where a command's results go.
type screen struct {
	w      io.Writer
	format string // "table" for people, "tsv", "json", "ndjson" or "name"
	colour bool
}

var formats = []string{"table", "tsv", "json", "ndjson", "name"}

// newScreen chooses the format: as asked, or a table on a terminal and tab-separated values elsewhere. Colour is for terminals that
// want it (https://no-color.org).
func newScreen(w io.Writer, format string) (screen, error) {
	terminal := isTerminal(w)
	switch {
	case format == "" && terminal:
		format = "table"
	case format == "":
		format = "tsv"
	case !slices.Contains(formats, format):
		return screen{}, fail(exitUsage, "unknown output format %q%s\n  --output takes %s", format, didYouMean(format, formats), strings.Join(formats, ", "))
	}
	colour := terminal && format == "table" && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return screen{w, format, colour}, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// rows prints lines of cells: joined by tabs, or for people indented, in columns two spaces apart.
func (s screen) rows(indent string, rows [][]string) error {
	var out strings.Builder
	widths := columnWidths(rows)
	for _, row := range rows {
		if s.format != "table" {
			out.WriteString(strings.Join(row, "\t") + "\n")
			continue
		}
		out.WriteString(indent)
		for i, cell := range row {
			if i == len(row)-1 {
				out.WriteString(cell)
				break
			}
			out.WriteString(cell + strings.Repeat(" ", widths[i]-cellWidth(cell)+2))
		}
		out.WriteByte('\n')
	}
	_, err := io.WriteString(s.w, out.String())
	return err
}

func columnWidths(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], cellWidth(cell))
		}
	}
	return widths
}

const (
	red   = "\x1b[31m"
	green = "\x1b[32m"
	reset = "\x1b[0m"
)

// paint colours a cell where colour is wanted.
func (s screen) paint(colour, cell string) string {
	if !s.colour {
		return cell
	}
	return colour + cell + reset
}

// cellWidth counts characters, without colour.
func cellWidth(cell string) int {
	for _, code := range []string{red, green, reset} {
		cell = strings.ReplaceAll(cell, code, "")
	}
	return utf8.RuneCountInString(cell)
}

// isJSON tells whether results are for programs.
func (s screen) isJSON() bool { return s.format == "json" || s.format == "ndjson" }

// json prints a document that the API answered with: on many lines, or on one for ndjson.
func (s screen) json(doc []byte) error {
	var out bytes.Buffer
	var err error
	if s.format == "ndjson" {
		err = json.Compact(&out, doc)
	} else {
		err = json.Indent(&out, bytes.TrimSpace(doc), "", "  ")
	}
	if err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	out.WriteByte('\n')
	_, err = s.w.Write(out.Bytes())
	return err
}

// plain makes text from elsewhere safe for a terminal and for a line of tab-separated values: control and format characters and broken
// UTF-8 appear as Go escapes.
func plain(s string) string {
	var out strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, s[0])
		case unicode.IsGraphic(r):
			out.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return out.String()
}

// lastLine quotes the last line of a handler's output that is not blank, cut to 60 characters.
func lastLine(output string) string {
	output = strings.TrimRightFunc(output, unicode.IsSpace)
	if output == "" {
		return ""
	}
	return strconv.Quote(cut(strings.TrimRight(output[strings.LastIndexByte(output, '\n')+1:], "\r"), 60))
}

func cut(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-3]) + "..."
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// size prints bytes: whole below 1 KiB, with one decimal above.
func size(bytes int64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/(1<<10), 0
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// millis prints milliseconds with two digits that matter.
func millis(ms float64) string {
	switch {
	case ms == 0:
		return "0 ms"
	case ms < 1:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}

// didYouMean is ", did you mean "x"?" for the nearest known name, or nothing.
func didYouMean(name string, known []string) string {
	if near, ok := tenants.Nearest(name, known); ok {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
