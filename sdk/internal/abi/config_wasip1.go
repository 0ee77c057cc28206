package abi

import "runtime"

//go:wasmimport spin-config get-config
func getConfig(name string, ret *area)

// Config reads a variable of the component.
func Config(name string) (string, *Failure) {
	ret := new(area)
	getConfig(name, ret)
	runtime.KeepAlive(name)
	if ret.failed() {
		return "", ret.failure()
	}
	return string(ret.bytes(4)), nil
}
