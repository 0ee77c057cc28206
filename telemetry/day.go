package telemetry

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tenloom/tenloom/tenants"
)

// dayFile is a day of a Ledger on disk.
type dayFile struct {
	path string
	file *os.File
	size int64 // good bytes
	live int64 // bytes after the last time it was written anew
}

// dayLine is one line of it.
type dayLine struct {
	Tenant tenants.ID      `json:"tenant"`
	App    tenants.AppName `json:"app"`
	Used   Used            `json:"used"`
}

const (
	sumDigits = 8
	spareDay  = 1 << 20 // bytes that a file may have beyond twice of what it says
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openDay writes a day's rows anew, so that nothing stands behind a line that was cut off, and appends from there.
func openDay(path string, rows map[account]*row) (*dayFile, error) {
	d := &dayFile{path: path}
	if err := d.rewrite(rows); err != nil {
		return nil, err
	}
	return d, nil
}

func encodeRows(rows map[account]*row) ([]byte, error) {
	var out bytes.Buffer
	for of, r := range rows {
		line, err := json.Marshal(dayLine{of.tenant, of.app, r.used})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%08x %s\n", crc32.Checksum(line, castagnoli), line)
	}
	return out.Bytes(), nil
}

// append writes rows behind the others. After an error nothing of them counts.
func (d *dayFile) append(rows map[account]*row) error {
	if len(rows) == 0 {
		return nil
	}
	text, err := encodeRows(rows)
	if err != nil {
		return err
	}
	if _, err := d.file.WriteAt(text, d.size); err != nil {
		return errors.Join(err, d.file.Truncate(d.size))
	}
	if err := d.file.Sync(); err != nil {
		return err
	}
	d.size += int64(len(text))
	return nil
}

// wasteful tells whether most of the file is lines that others have taken the place of.
func (d *dayFile) wasteful() bool { return d.size > 2*d.live+spareDay }

// rewrite replaces the file by one of these rows alone. A crash leaves the one or the other.
func (d *dayFile) rewrite(rows map[account]*row) error {
	text, err := encodeRows(rows)
	if err != nil {
		return err
	}
	fresh, err := os.OpenFile(d.path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = fresh.Write(text)
	if err == nil {
		err = fresh.Sync()
	}
	if err == nil {
		err = os.Rename(d.path+".new", d.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(d.path))
	}
	if err != nil {
		return errors.Join(err, fresh.Close())
	}
	d.close()
	d.file, d.size, d.live = fresh, int64(len(text)), int64(len(text))
	return nil
}

// syncDir makes a rename last.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *dayFile) close() {
	if d != nil && d.file != nil {
		d.file.Close() // synced with each write
	}
}

// readDay reads a day's rows; none where there is no file.
func readDay(path string) (map[account]*row, error) { return readDayOf(path, "") }

// readDayOf reads the rows of one tenant; "" of all. Lines that are not whole count as not written.
func readDayOf(path string, tenant tenants.ID) (map[account]*row, error) {
	rows := map[account]*row{}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return rows, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	wanted := fmt.Appendf(nil, ` {"tenant":%q,`, tenant)
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if tenant != "" && (len(line) < sumDigits || !bytes.HasPrefix(line[sumDigits:], wanted)) {
			continue
		}
		if l, ok := readDayLine(line); ok {
			rows[account{l.Tenant, l.App}] = &row{used: l.Used}
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return nil, err
	}
	return rows, nil
}

func readDayLine(line []byte) (l dayLine, ok bool) {
	if len(line) <= sumDigits || line[sumDigits] != ' ' {
		return l, false
	}
	sum, err := strconv.ParseUint(string(line[:sumDigits]), 16, 32)
	doc := line[sumDigits+1:]
	if err != nil || crc32.Checksum(doc, castagnoli) != uint32(sum) || json.Unmarshal(doc, &l) != nil {
		return l, false
	}
	return l, true
}
