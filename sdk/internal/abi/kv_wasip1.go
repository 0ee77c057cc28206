package abi

import "runtime"

//go:wasmimport key-value open
func kvOpen(label string, ret *area)

//go:wasmimport key-value get
func kvGet(store uint32, key string, ret *area)

//go:wasmimport key-value set
func kvSet(store uint32, key, value string, ret *area)

//go:wasmimport key-value delete
func kvDelete(store uint32, key string, ret *area)

//go:wasmimport key-value exists
func kvExists(store uint32, key string, ret *area)

//go:wasmimport key-value get-keys
func kvKeys(store uint32, ret *area)

//go:wasmimport key-value close
func kvClose(store uint32)

// KVOpen opens a store by the label the manifest lists.
func KVOpen(label string) (uint32, *Failure) {
	ret := new(area)
	kvOpen(label, ret)
	runtime.KeepAlive(label)
	if ret.failed() {
		return 0, ret.failure()
	}
	return ret.u32(4), nil
}

// KVGet reads a value; a missing key is the failure KVNoSuchKey.
func KVGet(store uint32, key string) ([]byte, *Failure) {
	ret := new(area)
	kvGet(store, key, ret)
	runtime.KeepAlive(key)
	if ret.failed() {
		return nil, ret.failure()
	}
	return ret.bytes(4), nil
}

// KVSet writes a value.
func KVSet(store uint32, key string, value []byte) *Failure {
	ret := new(area)
	kvSet(store, key, text(value), ret)
	runtime.KeepAlive(value)
	return ret.unit()
}

// KVDelete deletes a key, which need not exist.
func KVDelete(store uint32, key string) *Failure {
	ret := new(area)
	kvDelete(store, key, ret)
	runtime.KeepAlive(key)
	return ret.unit()
}

// KVExists tells whether a key exists.
func KVExists(store uint32, key string) (bool, *Failure) {
	ret := new(area)
	kvExists(store, key, ret)
	runtime.KeepAlive(key)
	if ret.failed() {
		return false, ret.failure()
	}
	return ret.u8(4) != 0, nil
}

// KVKeys lists all keys, in no particular order.
func KVKeys(store uint32) ([]string, *Failure) {
	ret := new(area)
	kvKeys(store, ret)
	if ret.failed() {
		return nil, ret.failure()
	}
	return ret.strings(4), nil
}

// KVClose gives the handle back.
func KVClose(store uint32) { kvClose(store) }

func (a *area) unit() *Failure {
	if a.failed() {
		return a.failure()
	}
	return nil
}
