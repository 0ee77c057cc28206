package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// Sealer encrypts values for the control store, with AES-256 in Galois/Counter Mode and a random nonce for each (NIST SP 800-38D). Who has the
// store and not the key reads nothing; a value that was changed does not open. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// sealVersion stands before each sealed value, so that another way of sealing can be told from this one.
const sealVersion = 1

// ErrSealed is that a value was sealed with another key, or changed since.
var ErrSealed = errors.New("the value does not open: it was sealed with another key, or damaged")

// OpenSealer reads the key in a file: 32 bytes as 64 digits of hex. Where there is no such file it makes one with mode 0600, and its folder.
// A key that others than its owner can read is refused.
func OpenSealer(path string) (*Sealer, error) {
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open seal key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("open seal key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("open seal key: %w", err)
	}
	return &Sealer{aead}, nil
}

func readKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, and others can read it; chmod 600 it, and consider its secrets known", path, mode)
	}
	text := make([]byte, 128)
	n, _ := f.Read(text) // a file that cannot be read has no key in it
	key, err := hex.DecodeString(strings.TrimSpace(string(text[:n])))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s holds no key: want 64 digits of hex", path)
	}
	return key, nil
}

// makeKey writes a new key. Of two processes at once one wins, and both go on with its key.
func makeKey(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key) // it does not fail
	f, err := os.CreateTemp(filepath.Dir(path), ".seal-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "%x\n", key)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		return readKey(path)
	}
	return key, err
}

// Seal encrypts a value.
func (s *Sealer) Seal(plain []byte) (tenants.Sealed, error) {
	return s.aead.Seal([]byte{sealVersion}, nil, plain, []byte{sealVersion}), nil
}

// Open decrypts what Seal gave, or returns ErrSealed.
func (s *Sealer) Open(sealed tenants.Sealed) (Value, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return Value{}, ErrSealed
	}
	plain, err := s.aead.Open(nil, nil, sealed[1:], sealed[:1])
	if err != nil {
		return Value{}, ErrSealed
	}
	return NewValue(string(plain)), nil
}
