package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/tenloom/tenloom/tenants/store/kv"
)

// A backup is lines of JSON: a header, a line for each record in the order of keys, and a trailer with their number and the SHA-256 of all
// bytes before it.
type (
	backupHeader struct {
		Backup int       `json:"tenloom_backup"` // the form of the file
		Schema int       `json:"schema"`
		Made   time.Time `json:"made"`
	}
	backupRecord struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	}
	backupTrailer struct {
		Records *int   `json:"records"`
		SHA256  string `json:"sha256"`
	}
)

const (
	backupForm    = 1
	maxBackupLine = kv.MaxValue + 8*kv.MaxKey
)

// Errors of Restore.
var (
	ErrBackupDamaged = errors.New("the backup is damaged or cut short")
	ErrNotEmpty      = errors.New("the store to restore into is not empty")
)

// Summary says what a backup holds.
type Summary struct {
	Records  int
	Schema   int
	Revision Revision // of the store that it was made of; Backup only
	Made     time.Time
}

// Backup writes everything that the store holds, as of one moment, while others go on using it. Sealed values stay sealed, so the key to open
// them has to be kept as well; artifacts are kept elsewhere.
func (s *Store) Backup(ctx context.Context, to io.Writer) (Summary, error) {
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(to, sum))
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	out := Summary{Schema: schema, Made: time.Now().UTC().Truncate(time.Second)}
	if err := enc.Encode(backupHeader{Backup: backupForm, Schema: schema, Made: out.Made}); err != nil {
		return out, fmt.Errorf("write backup: %w", err)
	}
	rev, err := s.kv.Snapshot(ctx, func(r kv.Record) error {
		if r.Key == keySchema {
			return nil // a restored store has a name of its own
		}
		out.Records++
		return enc.Encode(backupRecord{r.Key, r.Value})
	})
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		return out, fmt.Errorf("write backup: %w", err)
	}
	out.Revision = rev
	trailer, err := json.Marshal(backupTrailer{&out.Records, hex.EncodeToString(sum.Sum(nil))})
	if err == nil {
		_, err = to.Write(append(trailer, '\n'))
	}
	if err != nil {
		return out, fmt.Errorf("write backup: %w", err)
	}
	return out, nil
}

// CheckBackup reads a whole backup and says what it holds. An error wraps ErrBackupDamaged, or ErrNewer.
func CheckBackup(from io.Reader) (Summary, error) { return readBackup(from, nil) }

// Restore writes a backup into an empty store (ErrNotEmpty) once it has read all of it and found it sound. Cut short, it leaves a store that
// Open refuses. It does not close k; Open it afterwards, which brings records of an older schema forward.
func Restore(ctx context.Context, k kv.Store, from io.ReadSeeker) (Summary, error) {
	found, err := k.List(ctx, kv.Range{Limit: 2, KeysOnly: true})
	if err != nil {
		return Summary{}, fmt.Errorf("restore: %w", err)
	}
	if len(found) > 0 && (len(found) > 1 || found[0].Key != keySchema) { // one that was opened and not used is empty
		return Summary{}, fmt.Errorf("restore: %w: it holds %s", ErrNotEmpty, found[0].Key)
	}
	sum, err := CheckBackup(from)
	if err != nil {
		return sum, fmt.Errorf("restore: %w", err)
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return sum, fmt.Errorf("restore: %w", err)
	}
	writes := []kv.Write{{Key: keyRestoring, Value: []byte(`{}`)}}
	for _, r := range found {
		writes = append(writes, kv.Write{Key: r.Key})
	}
	if _, err := k.Commit(ctx, []kv.Condition{{Key: keyRestoring}}, writes); err != nil {
		return sum, fmt.Errorf("restore: %w", err)
	}
	c := chunk{ctx: ctx, kv: k}
	if _, err := readBackup(from, c.add); err != nil {
		return sum, fmt.Errorf("restore: %w", err)
	}
	about, err := json.Marshal(about{sum.Schema, newName()})
	if err == nil {
		err = c.flush()
	}
	if err == nil {
		_, err = k.Commit(ctx, nil, []kv.Write{{Key: keyRestoring}, {Key: keySchema, Value: about}})
	}
	if err != nil {
		return sum, fmt.Errorf("restore: %w", err)
	}
	return sum, nil
}

// chunk writes records in commits as large as they may be.
type chunk struct {
	ctx    context.Context
	kv     kv.Store
	writes []kv.Write
	size   int
}

func (c *chunk) add(r backupRecord) error {
	n := len(r.Key) + len(r.Value)
	if len(c.writes) == kv.MaxOperations || c.size+n > kv.MaxCommit {
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.writes = append(c.writes, kv.Write{Key: r.Key, Value: r.Value})
	c.size += n
	return nil
}

func (c *chunk) flush() error {
	if len(c.writes) == 0 {
		return nil
	}
	_, err := c.kv.Commit(c.ctx, nil, c.writes)
	c.writes, c.size = nil, 0
	return err
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBackupDamaged, fmt.Sprintf(format, args...))
}

// readBackup reads a backup to its end and calls f, where there is one, for each record.
func readBackup(from io.Reader, f func(backupRecord) error) (Summary, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxBackupLine)
	sum := sha256.New()
	out, err := readHeader(lines, sum)
	if err != nil {
		return out, err
	}
	last := ""
	for lines.Scan() {
		line := lines.Bytes()
		if bytes.HasPrefix(line, []byte(`{"records":`)) {
			return out, readTrailer(lines, out, sum)
		}
		var r backupRecord
		if err := json.Unmarshal(line, &r); err != nil || r.Key <= last || len(r.Value) == 0 {
			return out, damaged("line %d cannot be read", out.Records+2)
		}
		last = r.Key
		out.Records++
		addLine(sum, line)
		if f != nil {
			if err := f(r); err != nil {
				return out, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return out, damaged("line %d: %v", out.Records+2, err)
	}
	return out, damaged("it ends after %d records", out.Records)
}

func readHeader(lines *bufio.Scanner, sum hash.Hash) (Summary, error) {
	var h backupHeader
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &h) != nil || h.Backup < 1 || h.Schema < 1 {
		return Summary{}, damaged("it does not begin as one")
	}
	if h.Backup > backupForm || h.Schema > schema {
		return Summary{}, fmt.Errorf("%w: the backup has form %d and schema %d, this one knows up to %d and %d", ErrNewer, h.Backup, h.Schema, backupForm, schema)
	}
	addLine(sum, lines.Bytes())
	return Summary{Schema: h.Schema, Made: h.Made}, nil
}

func readTrailer(lines *bufio.Scanner, out Summary, sum hash.Hash) error {
	var t backupTrailer
	if err := json.Unmarshal(lines.Bytes(), &t); err != nil || t.Records == nil {
		return damaged("its last line cannot be read")
	}
	if *t.Records != out.Records {
		return damaged("it has %d records, and says %d", out.Records, *t.Records)
	}
	if t.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		return damaged("its checksum is not that of its content")
	}
	if lines.Scan() {
		return damaged("something follows its end")
	}
	return nil
}

func addLine(sum hash.Hash, line []byte) {
	sum.Write(line)
	sum.Write([]byte("\n"))
}
