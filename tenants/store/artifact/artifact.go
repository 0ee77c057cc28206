// Package artifact keeps what versions are made of, by digest: manifests, modules, files. It is a folder, a map in memory, or any bucket that
// gocloud.dev/blob knows. What is stored under a digest has that digest: it is verified on the way in and on the way out.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

	"github.com/tenloom/tenloom/tenants"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("the artifact is not there")
	ErrDigest   = errors.New("the content is not what its digest says") // the sender's fault
	ErrTooLarge = errors.New("the artifact is too large")
	ErrDamaged  = errors.New("the stored artifact is damaged; upload it again")
	ErrFull     = errors.New("the artifact store has no space left")
)

// Store keeps artifacts. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	dir    string // of a folder; "" for other buckets
}

// Folder opens a folder on the local disk, or makes it with mode 0700. What Put acknowledged is on the disk.
func Folder(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("open artifacts: %w", err)
	}
	// NoTempDir: an upload is renamed into place, which works within one file system only.
	bucket, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
	if err != nil {
		return nil, fmt.Errorf("open artifacts: %w", err)
	}
	return &Store{bucket, dir}, nil
}

// Memory makes a store that ends with the process.
func Memory() *Store { return &Store{bucket: memblob.OpenBucket(nil)} }

// Open opens what a URL names: mem://, file:///a/folder, or with the build tag s3 s3://bucket?region=...; see
// https://gocloud.dev/howto/blob/ for what can be said there.
func Open(ctx context.Context, url string) (*Store, error) {
	if dir, ok := strings.CutPrefix(url, "file://"); ok {
		return Folder(dir)
	}
	if strings.HasPrefix(url, "s3://") && !blob.DefaultURLMux().ValidBucketScheme("s3") {
		return nil, errors.New("open artifacts: this tenloom is built without S3; build it with -tags s3")
	}
	bucket, err := blob.OpenBucket(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("open artifacts: %w", err)
	}
	return &Store{bucket: bucket}, nil
}

const scheme = "sha256:"

// key is where an artifact is: sha256/ab/abcd..., so that no folder grows too large.
func key(digest string) (string, error) {
	if err := tenants.CheckDigest(digest); err != nil {
		return "", err
	}
	sum := strings.TrimPrefix(digest, scheme)
	return "sha256/" + sum[:2] + "/" + sum, nil
}

// digestOf is key backwards; "" for what is no artifact, such as what an upload left that a crash cut off.
func digestOf(k string) string {
	parts := strings.Split(k, "/")
	digest := scheme + parts[len(parts)-1]
	if back, err := key(digest); err != nil || back != k {
		return ""
	}
	return digest
}

// Put stores what comes from a reader under its digest, where it has that digest (ErrDigest) and at most so many bytes (ErrTooLarge), and
// returns its size. It is there wholly or not at all, and never held in memory. Putting again what is there heals it and sets its time anew.
func (s *Store) Put(ctx context.Context, digest string, from io.Reader, most int64) (int64, error) {
	k, err := key(digest)
	if err != nil {
		return 0, fmt.Errorf("store artifact: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.bucket.NewWriter(ctx, k, &blob.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true})
	if err != nil {
		return 0, fmt.Errorf("store artifact: %w", explain(err))
	}
	sum := sha256.New()
	n, err := io.Copy(w, io.TeeReader(io.LimitReader(from, most+1), sum))
	switch {
	case err != nil:
	case n > most:
		err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, most)
	case scheme+hex.EncodeToString(sum.Sum(nil)) != digest:
		err = fmt.Errorf("%w: it is %s%x", ErrDigest, scheme, sum.Sum(nil))
	}
	if err != nil {
		cancel() // makes Close throw away what was written
		w.Close()
		return 0, fmt.Errorf("store artifact: %w", explain(err))
	}
	if err := w.Close(); err != nil {
		return 0, fmt.Errorf("store artifact: %w", explain(err))
	}
	if err := s.sync(k); err != nil {
		return 0, fmt.Errorf("store artifact: %w", explain(err))
	}
	return n, nil
}

// sync brings a file and the folders that name it to the disk, which the bucket leaves to the system.
func (s *Store) sync(k string) error {
	if s.dir == "" {
		return nil
	}
	path := filepath.Join(s.dir, filepath.FromSlash(k))
	for range 4 { // the file, ab, sha256, and the folder itself
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		path = filepath.Dir(path)
	}
	return nil
}

func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case gcerrors.Code(err) == gcerrors.NotFound:
		return ErrNotFound
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// Info is what is known of an artifact without reading it.
type Info struct {
	Size   int64     // bytes
	Stored time.Time // by the newest Put
}

// Stat tells whether an artifact is there (ErrNotFound). One that no version names yet can be collected once it is old, so who wants to build
// on it without a Put of its own looks at Stored.
func (s *Store) Stat(ctx context.Context, digest string) (Info, error) {
	k, err := key(digest)
	if err != nil {
		return Info{}, fmt.Errorf("look for artifact: %w", err)
	}
	a, err := s.bucket.Attributes(ctx, k)
	if err != nil {
		return Info{}, fmt.Errorf("look for artifact %s: %w", digest, explain(err))
	}
	return Info{a.Size, a.ModTime}, nil
}

// Get opens an artifact (ErrNotFound). At its end the reader returns ErrDamaged instead of io.EOF where the content is not what it should be,
// so nothing may be done with it before.
func (s *Store) Get(ctx context.Context, digest string) (io.ReadCloser, error) {
	k, err := key(digest)
	if err != nil {
		return nil, fmt.Errorf("read artifact: %w", err)
	}
	r, err := s.bucket.NewReader(ctx, k, nil)
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", digest, explain(err))
	}
	return &verified{r, sha256.New(), digest}, nil
}

// Read returns a whole artifact of at most so many bytes (ErrTooLarge), verified.
func (s *Store) Read(ctx context.Context, digest string, most int64) ([]byte, error) {
	r, err := s.Get(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("read artifact %s: %w", digest, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("read artifact %s: %w: more than %d bytes", digest, ErrTooLarge, most)
	}
	return b, nil
}

type verified struct {
	io.ReadCloser
	sum    hash.Hash
	digest string
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.sum.Write(p[:n])
	if err == io.EOF && scheme+hex.EncodeToString(v.sum.Sum(nil)) != v.digest {
		err = ErrDamaged
	}
	return n, err
}

// Collected is what Collect did.
type Collected struct {
	Kept, Removed int
	Bytes         int64 // of what was removed
}

// Collect removes what is older than a time and not named, and what uploads left that were cut off. named is called once, after the old ones
// were listed: what is named later must have been put later.
func (s *Store) Collect(ctx context.Context, before time.Time, named func(ctx context.Context) (map[string]bool, error)) (Collected, error) {
	var done Collected
	var old []*blob.ListObject // 1,000 apps with 100 versions are 100,000
	list := s.bucket.List(nil)
	for {
		o, err := list.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return done, fmt.Errorf("list artifacts: %w", err)
		}
		if o.ModTime.Before(before) {
			old = append(old, o)
		} else {
			done.Kept++
		}
	}
	if len(old) == 0 {
		return done, nil
	}
	keep, err := named(ctx)
	if err != nil {
		return done, fmt.Errorf("list artifacts that are in use: %w", err)
	}
	for _, o := range old {
		if d := digestOf(o.Key); d != "" && keep[d] {
			done.Kept++
			continue
		}
		if err := s.bucket.Delete(ctx, o.Key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return done, fmt.Errorf("remove artifact: %w", err)
		}
		done.Removed++
		done.Bytes += o.Size
	}
	return done, nil
}

// Check tells whether the store answers.
func (s *Store) Check(ctx context.Context) error {
	ok, err := s.bucket.IsAccessible(ctx)
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("check artifacts: %w", err)
	}
	return nil
}

// Close gives up what the store holds. It may be called once, after everything else.
func (s *Store) Close() error {
	if err := s.bucket.Close(); err != nil {
		return fmt.Errorf("close artifacts: %w", err)
	}
	return nil
}
