// Package kv is the key-value stores that the manifest grants a component: key_value_stores = ["default"] in spin.toml.
// Their data outlives the message.
package kv

import (
	"errors"

	"github.com/tenloom/tenloom/sdk/internal/abi"
)

// What the errors of this package wrap.
var (
	ErrNoSuchKey      = errors.New("no such key")
	ErrNoSuchStore    = errors.New("no such store")
	ErrAccessDenied   = errors.New("access denied: key_value_stores does not list the store")
	ErrStoreTableFull = errors.New("too many stores are open: close some")
	ErrClosed         = errors.New("the store is closed")
	ErrIO             = errors.New("the store failed")
)

// Store is an open store. It is valid during the message that opened it.
type Store struct {
	label  string
	handle uint32
}

// Open opens a store by its label.
func Open(label string) (*Store, error) {
	handle, f := abi.KVOpen(label)
	if f != nil {
		return nil, fault("open", label, f)
	}
	return &Store{label: label, handle: handle}, nil
}

// Get reads a value. A key that is not there is ErrNoSuchKey.
func (s *Store) Get(key string) ([]byte, error) {
	value, f := abi.KVGet(s.handle, key)
	return value, fault("get", key, f)
}

// Set writes a value.
func (s *Store) Set(key string, value []byte) error {
	return fault("set", key, abi.KVSet(s.handle, key, value))
}

// Delete deletes a key. A key that is not there is no error.
func (s *Store) Delete(key string) error {
	return fault("delete", key, abi.KVDelete(s.handle, key))
}

// Exists tells whether a key is there.
func (s *Store) Exists(key string) (bool, error) {
	exists, f := abi.KVExists(s.handle, key)
	return exists, fault("exists", key, f)
}

// Keys lists all keys, in no particular order. It reads the whole store: not for large ones.
func (s *Store) Keys() ([]string, error) {
	keys, f := abi.KVKeys(s.handle)
	return keys, fault("keys of", s.label, f)
}

// Close gives the store back to the host. A module that does not call it loses nothing but one of the host's limited
// handles until the message ends.
func (s *Store) Close() { abi.KVClose(s.handle) }

type failure struct {
	verb, what, detail string
	reason             error
}

func (f *failure) Error() string {
	text := "kv: " + f.verb + " " + f.what + ": " + f.reason.Error()
	if f.detail != "" {
		text += ": " + f.detail
	}
	return text
}

func (f *failure) Unwrap() error { return f.reason }

func fault(verb, what string, f *abi.Failure) error {
	if f == nil {
		return nil
	}
	err := &failure{verb: verb, what: what, detail: f.Detail, reason: ErrIO}
	switch f.Tag {
	case abi.KVStoreTableFull:
		err.reason = ErrStoreTableFull
	case abi.KVNoSuchStore:
		err.reason = ErrNoSuchStore
	case abi.KVAccessDenied:
		err.reason = ErrAccessDenied
	case abi.KVInvalidStore:
		err.reason = ErrClosed
	case abi.KVNoSuchKey:
		err.reason = ErrNoSuchKey
	}
	return err
}
