package scheduler

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// segment is a file of spilled messages: records are written at its end and read from its beginning, each once. The file has no name from the
// moment after it was made (where the system allows that), so that nobody else finds it and nothing is left of it when the process ends,
// however it ends. Only the spiller touches it.
type segment struct {
	file *os.File
	size int64 // written
	read int64 // where the next record begins
	left int   // records that were not read yet
}

// segmentSize is where a segment is full, in bytes; the last record may go beyond it. What was read is given back segment by segment.
const segmentSize = 4 << 20

// A record is, in little-endian:
//
//	0  length of the body
//	4  CRC-32C of the length
//	8  CRC-32C of the body
//	12 body: message id, when it was received, length of the channel, channel, payload
//
// The length has a checksum of its own, so that a body that does not hold its checksum costs one message and not all that follow it.
const (
	recordHead = 12
	bodyHead   = 16 + 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errTorn    = errors.New("a record's length does not hold its checksum")
	errCorrupt = errors.New("a record does not hold its checksum")
)

// recordSize is what a message takes on disk.
func recordSize(m *Message) int64 { return recordHead + bodyHead + int64(len(m.buf)) }

// appendRecord appends a message. Times are kept relative to began, whose monotonic clock they share.
func appendRecord(to []byte, m *Message, began time.Time) []byte {
	at := len(to)
	to = append(to, make([]byte, recordHead)...)
	to = append(to, m.ID[:]...)
	to = binary.LittleEndian.AppendUint64(to, uint64(m.Received.Sub(began)))
	to = binary.LittleEndian.AppendUint32(to, uint32(m.at))
	to = append(to, m.buf...)
	head, body := to[at:at+recordHead], to[at+recordHead:]
	binary.LittleEndian.PutUint32(head, uint32(len(body)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(head[:4], castagnoli))
	binary.LittleEndian.PutUint32(head[8:], crc32.Checksum(body, castagnoli))
	return to
}

// recordLength reads how long the record at the beginning of b is, head included.
func recordLength(b []byte) (int64, error) {
	n := binary.LittleEndian.Uint32(b)
	if crc32.Checksum(b[:4], castagnoli) != binary.LittleEndian.Uint32(b[4:]) || n < bodyHead {
		return 0, errTorn
	}
	return recordHead + int64(n), nil
}

// readRecord makes the message of one whole record. Its pattern and channel are those of the target of its trigger.
func (s *stock) readRecord(b []byte, target tenants.Target, began time.Time) (*Message, error) {
	body := b[recordHead:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, errCorrupt
	}
	received := began.Add(time.Duration(binary.LittleEndian.Uint64(body[16:])))
	at := int(binary.LittleEndian.Uint32(body[24:]))
	if at > len(body)-bodyHead {
		return nil, errCorrupt
	}
	m := s.restored(target, body[bodyHead:bodyHead+at], body[bodyHead+at:], received)
	m.ID = tenants.MessageID(body[:16])
	return m, nil
}

// restored makes a message of a trigger with this target again.
func (s *stock) restored(target tenants.Target, channel, payload []byte, received time.Time) *Message {
	f := frame{channel: channel, payload: payload}
	if target.Kind == tenants.Pattern {
		f.kind = 'p'
	}
	return s.newMessage(&f, target.Name, received, 1)
}

// openSegment makes an empty segment.
func openSegment(dir string) (*segment, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(dir, "*"+spillSuffix)
	if err != nil {
		return nil, err
	}
	os.Remove(file.Name()) // where an open file cannot be removed, close does
	return &segment{file: file}, nil
}

const spillSuffix = ".spill"

// cleanSpill removes what another system's process that died has left. Files that are in use have no name, or cannot be removed.
func cleanSpill(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "*"+spillSuffix))
	for _, name := range left {
		os.Remove(name)
	}
}

// write appends records. After an error nothing of them counts, and the next write takes their place.
func (s *segment) write(records []byte, count int) error {
	if _, err := s.file.WriteAt(records, s.size); err != nil {
		return err
	}
	s.size += int64(len(records))
	s.left += count
	return nil
}

// fill reads from the next record on into buf, or into a larger one where it does not hold that record.
func (s *segment) fill(buf []byte) ([]byte, error) {
	buf = buf[:min(int64(len(buf)), s.size-s.read)]
	if len(buf) < recordHead {
		return nil, errTorn
	}
	if _, err := s.file.ReadAt(buf, s.read); err != nil {
		return nil, fmt.Errorf("read at %d: %w", s.read, err)
	}
	n, err := recordLength(buf)
	switch {
	case err != nil:
		return nil, err
	case n > s.size-s.read:
		return nil, errTorn
	case n > int64(len(buf)):
		buf = make([]byte, n)
		if _, err := s.file.ReadAt(buf, s.read); err != nil {
			return nil, fmt.Errorf("read at %d: %w", s.read, err)
		}
	}
	return buf, nil
}

// reuse makes an empty segment out of one that was read to its end.
func (s *segment) reuse() { s.size, s.read, s.left = 0, 0, 0 }

// close gives the disk its room back.
func (s *segment) close() {
	s.file.Close()
	os.Remove(s.file.Name())
}
