package telemetry

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Level is how urgent a line of output is.
type Level uint8

// Levels, the least urgent first.
const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

var levelNames = []string{"trace", "debug", "info", "warn", "error"}

func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// ParseLevel reads a level's name.
func ParseLevel(name string) (Level, error) {
	if i := slices.Index(levelNames, name); i >= 0 {
		return Level(i), nil
	}
	return 0, fmt.Errorf("level %.40q is not one of %s", name, strings.Join(levelNames, ", "))
}

// MarshalText gives the name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the name.
func (l *Level) UnmarshalText(b []byte) (err error) {
	*l, err = ParseLevel(string(b))
	return err
}

// Guests print lines and no levels. Where a line's beginning says one, in the forms that loggers have, that is it:
//
//	{"level":"warn", ...   {"severity":"ERROR", ...   level=debug   WARN ...   2026-01-02T15:04:05Z  INFO ...   [error] ...
const levelWithin = 200 // bytes that are looked at

// levelWords are what loggers call their levels, in lower case.
var levelWords = map[string]Level{
	"trace": LevelTrace, "debug": LevelDebug, "info": LevelInfo, "information": LevelInfo, "notice": LevelInfo, "warn": LevelWarn, "warning": LevelWarn,
	"error": LevelError, "err": LevelError, "fatal": LevelError, "critical": LevelError, "panic": LevelError,
}

// levelKeys stand before a level in JSON and in logfmt.
var levelKeys = []string{"level", "severity", "lvl", "log.level"}

// levelOf reads a line's level; one that says none is LevelInfo on stdout and LevelError on stderr.
func levelOf(s Stream, text []byte) Level {
	head := text[:min(len(text), levelWithin)]
	if l, ok := keyedLevel(head); ok {
		return l
	}
	if l, ok := leadingLevel(head); ok {
		return l
	}
	if s == Stderr {
		return LevelError
	}
	return LevelInfo
}

// keyedLevel finds "level":"warn" in an object and level=warn anywhere.
func keyedLevel(head []byte) (Level, bool) {
	object := len(head) > 0 && head[0] == '{'
	for _, key := range levelKeys {
		for rest := head; ; {
			i := bytes.Index(rest, []byte(key))
			if i < 0 {
				break
			}
			before, value := rest[:i], rest[i+len(key):]
			rest = value
			var ok bool
			if object {
				ok = bytes.HasSuffix(before, []byte{'"'}) && bytes.HasPrefix(value, []byte{'"'})
				value = bytes.TrimLeft(bytes.TrimPrefix(value, []byte{'"'}), ": ")
			} else {
				value, ok = bytes.CutPrefix(value, []byte{'='})
				ok = ok && (len(before) == 0 || before[len(before)-1] == ' ')
			}
			if l, known := levelWord(word(bytes.TrimLeft(value, `"`))); ok && known {
				return l, true
			}
		}
	}
	return 0, false
}

// leadingLevel finds a level among the first three words, in capitals, in brackets or with a colon behind it, so that no plain prose is meant.
func leadingLevel(head []byte) (Level, bool) {
	for range 3 {
		head = bytes.TrimLeft(head, " \t")
		end := bytes.IndexAny(head, " \t")
		if end < 0 {
			end = len(head)
		}
		one := head[:end]
		head = head[end:]
		bare := bytes.Trim(one, "[]()<>|:")
		marked := len(bare) < len(one) || bytes.Equal(bare, bytes.ToUpper(bare))
		if l, ok := levelWord(bare); ok && marked {
			return l, true
		}
	}
	return 0, false
}

// word is the letters at the beginning.
func word(b []byte) []byte {
	end := 0
	for end < len(b) && (b[end]|0x20 >= 'a' && b[end]|0x20 <= 'z') {
		end++
	}
	return b[:end]
}

func levelWord(b []byte) (Level, bool) {
	var lower [12]byte
	if len(b) == 0 || len(b) > len(lower) {
		return 0, false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	l, ok := levelWords[string(lower[:len(b)])]
	return l, ok
}
