package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/tenloom/tenloom/sandbox/rewrite"
)

// codeCache keeps what compiling makes, in a directory that several processes may share:
//
//	programs/KEY               what this package knows of a module: its report and its outline (see rewrite.Outline), with a checksum
//	wazero-VERSION-.../NAME    its machine code, written by wazero; NAME stands for the outline and the processor's features
//	apart-.../                 the same for one module, while a process apart compiles it
//
// KEY stands for the module's digest and everything that the code depends on, so nothing is ever out of date. Files appear whole, by rename;
// one that is damaged, or made for something else, is not used and is written again. Without a directory wazero keeps the code in memory for as
// long as it is in use.
type codeCache struct {
	dir    string // "" keeps nothing
	code   string // the directory in it where wazero's files are; "" where nothing can be kept
	cpu    byte   // of the processor, as wazero counts them
	bound  bound
	engine wazero.CompilationCache
}

const (
	programsDir = "programs"
	apartPrefix = "apart-"
)

func openCache(dir string, most int64, log *slog.Logger) (_ *codeCache, err error) {
	c := &codeCache{bound: bound{most: most, log: log}}
	if dir == "" {
		c.engine = wazero.NewCompilationCache()
		return c, nil
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("open compilation cache: %w", err)
	}
	c.dir = dir
	if err := os.MkdirAll(filepath.Join(dir, programsDir), 0o700); err != nil {
		return nil, fmt.Errorf("create compilation cache: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open compilation cache: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("open compilation cache: others may write %s (mode %#o), and what it holds is run as machine code; chmod 700 it", dir, info.Mode().Perm())
	}
	if c.engine, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
		return nil, fmt.Errorf("open compilation cache: %w", err)
	}
	return c, nil
}

// probe is a module of one empty function.
var probe = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x0a\x04\x01\x02\x00\x0b")

// find learns how wazero names its files: the directory by asking for one elsewhere, the processor's features by the one name among the few
// possible ones under which the probe's code is found. Where there is none, the code is interpreted or wazero has changed, nothing is kept.
func (c *codeCache) find(ctx context.Context, w wazero.Runtime) error {
	if c.dir == "" {
		return nil
	}
	code, err := c.codeDir()
	if err != nil {
		return fmt.Errorf("open compilation cache: %w", err)
	}
	compiled, err := w.CompileModule(ctx, probe)
	if err != nil {
		return fmt.Errorf("open compilation cache: %w; %s may be emptied at any time", err, c.dir)
	}
	defer compiled.Close(ctx)
	for cpu := range 256 {
		c.code, c.cpu = code, byte(cpu)
		if _, err := os.Stat(filepath.Join(c.dir, c.codeFile(probe))); err == nil {
			c.bound.hold([]string{c.codeFile(probe)})
			return nil
		}
	}
	c.code = ""
	return nil
}

// codeDir is the name of wazero's directory, which stands for its version, the architecture and the system.
func (c *codeCache) codeDir() (string, error) {
	elsewhere, err := os.MkdirTemp(c.dir, apartPrefix+"*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(elsewhere)
	if _, err := wazero.NewCompilationCacheWithDir(elsewhere); err != nil {
		return "", err
	}
	all, err := os.ReadDir(elsewhere)
	if err != nil {
		return "", err
	}
	if len(all) != 1 {
		return "", fmt.Errorf("wazero made %d directories in an empty one", len(all))
	}
	return all[0].Name(), nil
}

// kept tells whether compiled code outlives its use.
func (c *codeCache) kept() bool { return c.code != "" }

// key names the entry of a module.
func (c *codeCache) key(digest [sha256.Size]byte) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s %x", c.code, c.cpu, rewriting.Fingerprint(), digest))
	return hex.EncodeToString(sum[:])
}

// codeFile is where wazero keeps a module's code: its internal/engine/wazevo (fileCacheKey) and internal/wasm (AssignModuleID), without
// listeners and without termination on a context's end.
func (c *codeCache) codeFile(wasm []byte) string {
	h := sha256.New()
	h.Write(wasm)
	h.Write([]byte{0})
	id := h.Sum(nil)
	h.Reset()
	h.Write(id)
	h.Write([]byte("WAZEVO"))
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(c.cpu)))
	return filepath.Join(c.code, hex.EncodeToString(h.Sum(nil)))
}

// entry is a module in the cache.
type entry struct {
	report  rewrite.Report
	outline []byte
	files   []string // relative to the cache's directory
}

// entryHead is the readable part of an entry's file.
type entryHead struct {
	Key    string
	Report rewrite.Report
	Code   codeSum
}

// codeSum tells damaged code from whole code. wazero checks the machine code itself; what stands before and behind it is checked here.
type codeSum struct {
	Size  int64  // bytes of the file
	Edges uint32 // CRC-32C of its first and last bytes
}

// entryMagic begins an entry's file. A SHA-256 of the rest follows, then the head's length, the head as JSON, and the outline.
const entryMagic = "tenloom program 1\n"

// read finds a module. A miss is nil without an error; the error says what is wrong with a file that is there.
func (c *codeCache) read(key string) (*entry, error) {
	if !c.kept() {
		return nil, nil
	}
	name := filepath.Join(programsDir, key)
	file, err := os.ReadFile(filepath.Join(c.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read entry: %w", err)
	}
	rest, ok := bytes.CutPrefix(file, []byte(entryMagic))
	if !ok || len(rest) < sha256.Size+4 {
		return nil, fmt.Errorf("read entry %s: it is not one", name)
	}
	sum, body := rest[:sha256.Size], rest[sha256.Size:]
	if is := sha256.Sum256(body); !bytes.Equal(sum, is[:]) {
		return nil, fmt.Errorf("read entry %s: its checksum is wrong", name)
	}
	size := binary.LittleEndian.Uint32(body)
	if body = body[4:]; uint64(size) > uint64(len(body)) {
		return nil, fmt.Errorf("read entry %s: it is not one", name)
	}
	var head entryHead
	if err := json.Unmarshal(body[:size], &head); err != nil {
		return nil, fmt.Errorf("read entry %s: %w", name, err)
	}
	if head.Key != key {
		return nil, fmt.Errorf("read entry %s: it was made for another module or system", name)
	}
	e := &entry{head.Report, body[size:], nil}
	code := c.codeFile(e.outline)
	e.files = []string{name, code}
	is, err := sumCode(filepath.Join(c.dir, code), head.Report)
	if err != nil {
		return nil, fmt.Errorf("read code of entry %s: %w", name, err)
	}
	if is != head.Code {
		return nil, fmt.Errorf("read code of entry %s: %s is damaged", name, code)
	}
	c.touch(e.files)
	return e, nil
}

// add keeps what wazero has just compiled into the directory. The code moves to the name of the outline. Where two modules that are the same but
// for their debug sections are compiled at the same moment, one of them may not find its code yet, and is not kept this time.
func (c *codeCache) add(key string, m *compiledModule) error {
	outline, err := rewrite.Outline(m.metered)
	if err != nil {
		return err
	}
	code := c.codeFile(outline)
	err = os.Rename(filepath.Join(c.dir, c.codeFile(m.metered)), filepath.Join(c.dir, code))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have moved for the other one
		return fmt.Errorf("name code: %w", err)
	}
	sum, err := sumCode(filepath.Join(c.dir, code), m.report)
	if err != nil {
		return fmt.Errorf("read code: %w", err)
	}
	head, err := json.Marshal(entryHead{key, m.report, sum})
	if err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	body := binary.LittleEndian.AppendUint32(nil, uint32(len(head)))
	body = append(append(body, head...), outline...)
	digest := sha256.Sum256(body)
	if err := writeWhole(filepath.Join(c.dir, programsDir, key), []byte(entryMagic), digest[:], body); err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	c.bound.grew(sum.Size + int64(len(body)))
	return nil
}

// adopt takes a module over from a cache of its own in this one's directory.
func (c *codeCache) adopt(from *codeCache, key string) error {
	e, err := from.read(key)
	if err != nil {
		return err
	}
	if e == nil {
		return errors.New("read entry: it was not written")
	}
	var size int64
	for i := len(e.files) - 1; i >= 0; i-- { // the code first: an entry without it is a miss
		old := filepath.Join(from.dir, e.files[i])
		if info, err := os.Stat(old); err == nil {
			size += info.Size()
		}
		if err := os.Rename(old, filepath.Join(c.dir, e.files[i])); err != nil {
			return &cacheError{err}
		}
	}
	c.bound.grew(size)
	return nil
}

// writeWhole writes a file that appears whole or not at all. What a crash of the machine leaves of it the checksum tells.
func writeWhole(name string, parts ...[]byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	for _, part := range parts {
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumCode looks at the edges of a file of wazero's: before the machine code there are some bytes, and eight for each function.
func sumCode(name string, report rewrite.Report) (codeSum, error) {
	f, err := os.Open(name)
	if err != nil {
		return codeSum{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return codeSum{}, err
	}
	const few = 32 << 10 // also enough for the functions that the rewriter adds
	first, last := make([]byte, min(info.Size(), few+8*int64(report.Functions))), make([]byte, min(info.Size(), 64))
	if _, err := f.ReadAt(first, 0); err != nil {
		return codeSum{}, err
	}
	if _, err := f.ReadAt(last, info.Size()-int64(len(last))); err != nil {
		return codeSum{}, err
	}
	return codeSum{info.Size(), crc32.Update(crc32.Checksum(first, castagnoli), castagnoli, last)}, nil
}

// recent is how old a file's time may be that counts as now: a start of many modules does not write to each of them.
const recent = time.Hour

// touch notes that files were used.
func (c *codeCache) touch(files []string) {
	now := time.Now()
	for _, name := range files {
		name = filepath.Join(c.dir, name)
		if info, err := os.Stat(name); err == nil && now.Sub(info.ModTime()) > recent {
			os.Chtimes(name, now, now) // where it fails, the file goes before others; that is all
		}
	}
}

func (c *codeCache) hold(files []string)    { c.bound.hold(files) }
func (c *codeCache) release(files []string) { c.bound.release(files) }

// remove takes away what turned out to be of no use.
func (c *codeCache) remove(files []string) {
	for _, name := range files {
		os.Remove(filepath.Join(c.dir, name))
	}
}

// explain names the directory in an error about it.
func (c *codeCache) explain(err error) error {
	var broken *cacheError
	if errors.As(err, &broken) {
		return fmt.Errorf("compile: %w; the compilation cache %s may be emptied at any time", broken.error, c.dir)
	}
	return err
}
