//go:build !wasip1

package abi

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Memory is a host in memory: what the functions of this package talk to where there is no Wasm. It serves the tests of
// one process, so nothing in it is bounded; Reset forgets everything.
type Memory struct {
	mu         sync.Mutex
	variables  map[string]string
	attributes map[string]string // of the message being handled
	servers    map[string]*server
	refused    map[string]bool
	published  []Publication
	stores     map[string]map[string][]byte
	open       map[uint32]string // handle -> label
	handle     uint32
	http       func(Request) (Response, uint8)
	execute    func(address, command string, args []Param) ([]Value, bool)
}

// Publication is one message that the guest published.
type Publication struct {
	Address, Channel string
	Payload          []byte
}

// server is one Redis server: a key holds a string or a set.
type server struct {
	strings map[string][]byte
	sets    map[string]map[string]bool
}

// Host is the process' only host in memory, as a module has only one host.
var Host = newMemory()

func newMemory() *Memory {
	m := new(Memory)
	m.Reset()
	return m
}

// Reset forgets variables, data, publications and functions, and leaves one empty store, "default".
func (m *Memory) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.variables = map[string]string{}
	m.attributes = nil
	m.servers = map[string]*server{}
	m.refused = map[string]bool{}
	m.published = nil
	m.stores = map[string]map[string][]byte{"default": {}}
	m.open = map[uint32]string{}
	m.http, m.execute = nil, nil
}

// SetVariable defines a variable.
func (m *Memory) SetVariable(name, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.variables[name] = value
}

// Refuse makes every call to a Redis address fail.
func (m *Memory) Refuse(address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused[address] = true
}

// AddStore adds an empty key-value store.
func (m *Memory) AddStore(label string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stores[label] == nil {
		m.stores[label] = map[string][]byte{}
	}
}

// ServeHTTP sets what answers HTTP requests. Without it every destination is refused.
func (m *Memory) ServeHTTP(f func(Request) (Response, uint8)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.http = f
}

// ServeExecute sets what answers commands that Memory does not know itself.
func (m *Memory) ServeExecute(f func(address, command string, args []Param) ([]Value, bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.execute = f
}

// Published lists what was published since Reset, in order.
func (m *Memory) Published() []Publication {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.published)
}

// Deliver calls the registered handler as the host does, with the message's attributes readable as variables.
func (m *Memory) Deliver(attributes map[string]string, payload []byte) error {
	m.setAttributes(attributes)
	defer m.setAttributes(nil)
	return run(append([]byte(nil), payload...)) // a copy, and nil for an empty payload
}

func (m *Memory) setAttributes(a map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attributes = a
}

func (m *Memory) config(name string) (string, *Failure) {
	if !validName(name) {
		return "", &Failure{ConfigInvalidKey, "a name has lower-case words of letters and digits, joined by single \"_\": " + strconv.Quote(name)}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.attributes[name]; ok {
		return v, nil
	}
	if v, ok := m.variables[name]; ok {
		return v, nil
	}
	return "", &Failure{ConfigProvider, "no value for variable " + strconv.Quote(name)}
}

// validName is Spin's rule for a variable's name (spin_expressions::Key).
func validName(name string) bool {
	if name == "" || name[0] < 'a' || 'z' < name[0] {
		return false
	}
	for _, c := range []byte(name) {
		if c != '_' && (c < '0' || '9' < c) && (c < 'a' || 'z' < c) {
			return false
		}
	}
	return !strings.HasSuffix(name, "_") && !strings.Contains(name, "__")
}

// redis runs f with the server at the address, or answers false for one that is refused.
func (m *Memory) redis(address string, f func(*server) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused[address] || address == "" {
		return false
	}
	s := m.servers[address]
	if s == nil {
		s = &server{strings: map[string][]byte{}, sets: map[string]map[string]bool{}}
		m.servers[address] = s
	}
	return f(s)
}

func (m *Memory) publish(address, channel string, payload []byte) bool {
	return m.redis(address, func(*server) bool {
		m.published = append(m.published, Publication{address, channel, slices.Clone(payload)})
		return true
	})
}

// store runs f with an open store.
func (m *Memory) store(handle uint32, f func(map[string][]byte) *Failure) *Failure {
	m.mu.Lock()
	defer m.mu.Unlock()
	label, ok := m.open[handle]
	if !ok {
		return &Failure{Tag: KVInvalidStore}
	}
	return f(m.stores[label])
}

func (m *Memory) openStore(label string) (uint32, *Failure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stores[label] == nil {
		return 0, &Failure{Tag: KVNoSuchStore}
	}
	m.handle++
	m.open[m.handle] = label
	return m.handle, nil
}

func (m *Memory) closeStore(handle uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, handle)
}
