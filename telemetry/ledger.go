package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of a Ledger.
const (
	DefaultUsageDays = 400             // days that are kept; older ones are removed when a day begins and at the start
	FlushUsage       = 5 * time.Second // between writes: what a crash loses at most
	MaxUsageApps     = 100             // applications of a tenant with rows of their own in a day; the others are OtherApps together
)

// Day is a day in UTC, as 2006-01-02.
type Day string

// DayOf is the day of an instant.
func DayOf(t time.Time) Day { return Day(t.UTC().Format(time.DateOnly)) }

// ParseDay reads one.
func ParseDay(text string) (Day, error) {
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return "", fmt.Errorf("%.40q is not a day such as 2026-01-31", text)
	}
	return Day(text), nil
}

// Add is the day so many days later.
func (d Day) Add(days int) Day { return DayOf(d.begins().AddDate(0, 0, days)) }

func (d Day) begins() time.Time {
	t, _ := time.Parse(time.DateOnly, string(d))
	return t
}

// LedgerConfig is what a Ledger writes down, and where.
type LedgerConfig struct {
	Recorder *Recorder
	Dir      string // a file for each day; one process at a time
	Days     int    // default DefaultUsageDays
	Log      *slog.Logger
}

// Ledger keeps what each tenant's applications used on each day, in a file for each day:
//
//	<CRC-32C of the rest, 8 hexadecimal digits> {"tenant":"acme","app":"shop","used":{...}}
//
// A line has the whole of the day so far and takes the place of the one before for the same application. So nothing is counted twice, whenever
// the process ends; a line that was cut off, or does not match its sum, leaves the one before it in force. What a crash loses is what came
// after the last write, at most FlushUsage. A day's file is written anew when it has grown to several times of what it says, and when the day
// is over: beside the old one, which it then replaces.
//
// What comes between two writes counts for the day on which the first was; a write at midnight keeps the days apart.
type Ledger struct {
	config LedgerConfig
	lock   *os.File

	mu     sync.Mutex
	day    Day
	rows   map[account]*row // of the day; MaxUsageApps+1 for each tenant that had deliveries
	apps   map[tenants.ID]int
	seen   map[account]Used // what the Recorder said last; as many as it has
	file   *dayFile
	failed error // of the last write; nil where it was good
}

// account names an application's account.
type account struct {
	tenant tenants.ID
	app    tenants.AppName
}

type row struct {
	used  Used
	dirty bool // not written yet
}

// OpenLedger takes up the day's file where there is one. Run writes; Close ends it.
func OpenLedger(c LedgerConfig) (*Ledger, error) {
	if c.Days <= 0 {
		c.Days = DefaultUsageDays
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open usage: %w", err)
	}
	l := &Ledger{config: c, lock: lock, seen: map[account]Used{}}
	if err := l.begin(DayOf(time.Now())); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open usage: %w", err)
	}
	return l, nil
}

// Run writes until ctx ends, and once more then.
func (l *Ledger) Run(ctx context.Context) {
	for {
		wait := time.NewTimer(l.pause(time.Now()))
		select {
		case <-ctx.Done():
			wait.Stop()
			l.write()
			return
		case <-wait.C:
			l.write()
		}
	}
}

// pause is how long until the next write: at midnight at the latest.
func (l *Ledger) pause(now time.Time) time.Duration {
	l.mu.Lock()
	midnight := l.day.Add(1).begins()
	l.mu.Unlock()
	return max(min(FlushUsage, midnight.Sub(now)), time.Millisecond)
}

// write flushes, and tells of the first failure and of the end of failing.
func (l *Ledger) write() {
	l.mu.Lock()
	before := l.failed
	l.mu.Unlock()
	err := l.Flush()
	switch {
	case err != nil && before == nil:
		l.config.Log.Error("usage is not written down; it is tried again", "cause", err)
	case err == nil && before != nil:
		l.config.Log.Info("usage is written down again")
	}
}

// Flush writes down what came since the last time. After an error it is kept for the next.
func (l *Ledger) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = l.flush(DayOf(time.Now()))
	return l.failed
}

func (l *Ledger) flush(today Day) error {
	l.collect()
	if err := l.file.append(l.dirty()); err != nil {
		return fmt.Errorf("write usage: %w", err)
	}
	for _, r := range l.rows {
		r.dirty = false
	}
	if today > l.day { // where the clock was set back, the day goes on
		if err := l.file.rewrite(l.rows); err != nil {
			return fmt.Errorf("close the day's usage: %w", err)
		}
		if err := l.begin(today); err != nil {
			return fmt.Errorf("begin a day of usage: %w", err)
		}
		return nil
	}
	if l.file.wasteful() {
		if err := l.file.rewrite(l.rows); err != nil {
			return fmt.Errorf("write usage anew: %w", err)
		}
	}
	return nil
}

// begin takes up a day, and removes those that are too old.
func (l *Ledger) begin(day Day) error {
	rows, err := readDay(l.path(day))
	if err != nil {
		return err
	}
	file, err := openDay(l.path(day), rows)
	if err != nil {
		return err
	}
	l.file.close()
	l.day, l.file, l.rows, l.apps = day, file, rows, map[tenants.ID]int{}
	for of := range rows {
		l.apps[of.tenant]++
	}
	return l.prune()
}

func (l *Ledger) path(day Day) string { return filepath.Join(l.config.Dir, string(day)+".log") }

// collect adds to the day what the accounts have more than the last time.
func (l *Ledger) collect() {
	for id, a := range l.config.Recorder.all() {
		for app, now := range a.Apps() {
			of := account{id, app}
			more := now.since(l.seen[of])
			if more == (Used{}) {
				continue
			}
			l.seen[of] = now
			r := l.row(of)
			r.used.Plus(more)
			r.dirty = true
		}
	}
}

func (l *Ledger) row(of account) *row {
	if l.rows[of] == nil && of.app != OtherApps {
		if l.apps[of.tenant] >= MaxUsageApps {
			return l.row(account{of.tenant, OtherApps})
		}
		l.apps[of.tenant]++
	}
	r := l.rows[of]
	if r == nil {
		r = &row{}
		l.rows[of] = r
	}
	return r
}

func (l *Ledger) dirty() map[account]*row {
	some := map[account]*row{}
	for of, r := range l.rows {
		if r.dirty {
			some[of] = r
		}
	}
	return some
}

// prune removes the files of days that are too old.
func (l *Ledger) prune() error {
	days, err := l.days()
	for _, d := range days {
		if d <= l.day.Add(-l.config.Days) {
			err = errors.Join(err, os.Remove(l.path(d)))
		}
	}
	return err
}

// days lists those that have a file, the oldest first.
func (l *Ledger) days() (all []Day, err error) {
	entries, err := os.ReadDir(l.config.Dir) // sorted by name
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".log")
		if d, err := ParseDay(name); ok && err == nil {
			all = append(all, d)
		}
	}
	return all, err
}

// Usage is what one application used on one day.
type Usage struct {
	Day Day             `json:"day,omitempty"` // "" of several days together
	App tenants.AppName `json:"app"`
	Used
}

// Usage tells what a tenant's applications used from one day to another, both included, by day and application. What came since the last write
// is in it. Days that have no file had no deliveries, or are no longer kept.
func (l *Ledger) Usage(tenant tenants.ID, from, to Day) ([]Usage, error) {
	l.mu.Lock()
	l.collect()
	today, rows := l.day, usageOf(l.rows, tenant, l.day)
	l.mu.Unlock()
	days, err := l.days()
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	var all []Usage
	for _, d := range days {
		if d < from || d > to || d == today {
			continue
		}
		past, err := readDayOf(l.path(d), tenant)
		if err != nil {
			return nil, fmt.Errorf("read usage: %w", err)
		}
		all = append(all, usageOf(past, tenant, d)...)
	}
	if from <= today && today <= to {
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(a, b Usage) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.App, b.App)) })
	return all, nil
}

func usageOf(rows map[account]*row, tenant tenants.ID, day Day) (all []Usage) {
	for of, r := range rows {
		if of.tenant == tenant {
			all = append(all, Usage{Day: day, App: of.app, Used: r.used})
		}
	}
	return all
}

// SumUsage adds up all days of each application.
func SumUsage(days []Usage) (all []Usage) {
	sums := map[tenants.AppName]*Used{}
	for _, d := range days {
		if sums[d.App] == nil {
			sums[d.App] = &Used{}
		}
		sums[d.App].Plus(d.Used)
	}
	for _, app := range slices.Sorted(maps.Keys(sums)) {
		all = append(all, Usage{App: app, Used: *sums[app]})
	}
	return all
}

// Close writes what is left and gives the directory free. Nothing else may be called any more.
func (l *Ledger) Close() error {
	err := l.Flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file.close()
	return errors.Join(err, l.lock.Close())
}
