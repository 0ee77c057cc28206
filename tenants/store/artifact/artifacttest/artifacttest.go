// Package artifacttest holds every kind of bucket to what package artifact promises.
package artifacttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tenloom/tenloom/tenants/store/artifact"
)

// Open makes an empty store.
type Open func(t *testing.T) *artifact.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *artifact.Store)
	}{{"PutAndGet", testPutAndGet}, {"PutRefuses", testPutRefuses}, {"Collect", testCollect}, {"Hammer", testHammer}} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			c.test(t, s)
		})
	}
}

// Content makes bytes that differ by n, and their digest.
func Content(n, size int) (digest string, content []byte) {
	content = make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	r.Read(content)
	return fmt.Sprintf("sha256:%x", sha256.Sum256(content)), content
}

const most = 8 << 20

func put(t *testing.T, s *artifact.Store, digest string, content []byte) {
	t.Helper()
	n, err := s.Put(t.Context(), digest, bytes.NewReader(content), most)
	if err != nil || n != int64(len(content)) {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

func testPutAndGet(t *testing.T, s *artifact.Store) {
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for i, size := range []int{0, 1, 100_000, most} {
		digest, content := Content(i, size)
		if _, err := s.Stat(t.Context(), digest); !errors.Is(err, artifact.ErrNotFound) {
			t.Errorf("Stat before: %v", err)
		}
		if _, err := s.Get(t.Context(), digest); !errors.Is(err, artifact.ErrNotFound) {
			t.Errorf("Get before: %v", err)
		}
		for range 2 { // the second changes nothing
			put(t, s, digest, content)
		}
		info, err := s.Stat(t.Context(), digest)
		if err != nil || info.Size != int64(size) || info.Stored.IsZero() {
			t.Errorf("%+v, %v", info, err)
		}
		got, err := s.Read(t.Context(), digest, most)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	digest, _ := Content(3, most)
	if _, err := s.Read(t.Context(), digest, most-1); !errors.Is(err, artifact.ErrTooLarge) {
		t.Errorf("Read of too much: %v", err)
	}
}

// What is refused leaves nothing behind, whatever goes wrong and when.
func testPutRefuses(t *testing.T, s *artifact.Store) {
	digest, content := Content(1, 3<<20)
	other, _ := Content(2, 10)
	broken := errors.New("the client went away")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, row := range map[string]struct {
		ctx    context.Context
		digest string
		from   io.Reader
		most   int64
		want   error
	}{
		"another digest": {t.Context(), other, bytes.NewReader(content), most, artifact.ErrDigest},
		"cut short":      {t.Context(), digest, bytes.NewReader(content[:len(content)-1]), most, artifact.ErrDigest},
		"one more":       {t.Context(), digest, io.MultiReader(bytes.NewReader(content), bytes.NewReader(content[:1])), most, artifact.ErrDigest},
		"too large":      {t.Context(), digest, bytes.NewReader(content), int64(len(content)) - 1, artifact.ErrTooLarge},
		"endless":        {t.Context(), digest, rand.NewChaCha8([32]byte{}), 1 << 20, artifact.ErrTooLarge},
		"broken off":     {t.Context(), digest, io.MultiReader(bytes.NewReader(content[:2<<20]), iotest.ErrReader(broken)), most, broken},
		"given up":       {gone, digest, bytes.NewReader(content), most, context.Canceled},
		"no digest":      {t.Context(), "sha256:../../etc/passwd", bytes.NewReader(content), most, nil},
		"upper case":     {t.Context(), "SHA256:" + digest[7:], bytes.NewReader(content), most, nil},
	} {
		_, err := s.Put(row.ctx, row.digest, row.from, row.most)
		if err == nil || row.want != nil && !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
		for _, d := range []string{digest, other} {
			if _, err := s.Stat(t.Context(), d); !errors.Is(err, artifact.ErrNotFound) {
				t.Errorf("%s: %s is there, %v", name, d, err)
			}
		}
	}
	put(t, s, digest, content)
	if _, err := s.Put(t.Context(), digest, bytes.NewReader(content[:10]), most); !errors.Is(err, artifact.ErrDigest) {
		t.Errorf("over one that is there: %v", err)
	}
	if got, err := s.Read(t.Context(), digest, most); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a refused one spoilt the one that was there: %v", err)
	}
}

func testCollect(t *testing.T, s *artifact.Store) {
	named := map[string]bool{}
	for i := range 10 {
		digest, content := Content(i, 1000+i)
		put(t, s, digest, content)
		if i%2 == 0 {
			named[digest] = true
		}
	}
	which := func(context.Context) (map[string]bool, error) { return named, nil }
	got, err := s.Collect(t.Context(), time.Now().Add(-time.Hour), which)
	if err != nil || got.Kept != 10 || got.Removed != 0 {
		t.Errorf("what is young: %+v, %v", got, err)
	}
	no := errors.New("no")
	later := time.Now().Add(time.Hour)
	if _, err := s.Collect(t.Context(), later, func(context.Context) (map[string]bool, error) { return nil, no }); !errors.Is(err, no) {
		t.Errorf("without knowing what is named: %v", err)
	}
	got, err = s.Collect(t.Context(), later, which)
	if err != nil || got.Kept != 5 || got.Removed != 5 || got.Bytes != 5*1000+1+3+5+7+9 {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range 10 {
		digest, _ := Content(i, 1000+i)
		if _, err := s.Read(t.Context(), digest, most); (err == nil) != named[digest] {
			t.Errorf("artifact %d: %v", i, err)
		}
	}
}

// Many put and read the same few artifacts at once.
func testHammer(t *testing.T, s *artifact.Store) {
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := range 10 {
				digest, content := Content((w+i)%3, 50_000)
				if _, err := s.Put(t.Context(), digest, bytes.NewReader(content), most); err != nil {
					t.Error(err)
				}
				if got, err := s.Read(t.Context(), digest, most); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}
