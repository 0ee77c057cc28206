package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// readyWithin is how long a server may take from exec to its first PONG.
const readyWithin = 20 * time.Second

// Server is a redis-server process of one test.
type Server struct {
	Addr string // 127.0.0.1:port
	URL  string // redis://[:requirepass@]Addr, rediss:// under StartTLS

	t      testing.TB
	args   []string
	ca     *CA    // nil without TLS
	mutual bool   // clients show certificates
	says   string // in its log, when it is ready
	pass   string // of the default user
	config string // file to start with, "" for none
	run    *process
}

// TLS says which TLS a server of StartSentinel and StartCluster speaks.
type TLS int

const (
	Plain  TLS = iota // none
	Secure            // TLS
	Mutual            // TLS, and clients show a certificate of the same authority
)

// Start runs redis-server from PATH on a free loopback port, with no persistence and the given arguments ("--requirepass", "secret",
// "--user", "app", "on", ">pw", "&orders", "+subscribe"), and returns once it answers. It ends with the test, and with the test's process if that dies.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, nil, Plain, args)
}

// StartTLS is Start with TLS only, under a certificate of ca for localhost and 127.0.0.1.
func StartTLS(t testing.TB, ca *CA, args ...string) *Server {
	t.Helper()
	return start(t, ca, Secure, args)
}

// StartMutual is StartTLS of a server that wants a certificate of ca from its clients (CA.Client).
func StartMutual(t testing.TB, ca *CA, args ...string) *Server {
	t.Helper()
	return start(t, ca, Mutual, args)
}

// Embedded runs miniredis in this process and returns its address.
func Embedded(t testing.TB) (addr string) {
	t.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatalf("start miniredis: %v", err)
	}
	t.Cleanup(m.Close)
	return m.Addr()
}

func start(t testing.TB, ca *CA, kind TLS, args []string) *Server {
	t.Helper()
	s := prepare(t, ca, kind, args)
	s.begin()
	return s
}

// prepare is a server that does not run yet.
func prepare(t testing.TB, ca *CA, kind TLS, args []string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("this test needs redis-server: %v; install the package redis-server (Debian, Ubuntu) or redis, or run: make test", err)
	}
	args = append([]string{"--bind", "127.0.0.1", "--daemonize", "no", "--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...)
	s := &Server{t: t, args: args, says: "Ready to accept connections"}
	if i := slices.Index(args, "--requirepass"); i >= 0 && i+1 < len(args) {
		s.pass = args[i+1]
	}
	if kind != Plain {
		s.ca, s.mutual = ca, kind == Mutual
		clients := "no"
		if s.mutual {
			clients = "yes"
		}
		cert, key, err := ca.issue(t.TempDir())
		if err != nil {
			t.Fatalf("issue a certificate: %v", err)
		}
		s.args = append(s.args, "--port", "0", "--tls-auth-clients", clients, "--tls-ca-cert-file", ca.File, "--tls-cert-file", cert, "--tls-key-file", key)
	}
	t.Cleanup(s.Kill)
	return s
}

// begin starts the server on a free port.
func (s *Server) begin() {
	s.t.Helper()
	if err := s.tryBegin(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
}

func (s *Server) tryBegin() (err error) {
	for range 5 { // another process may take the port between freePort and redis-server's bind
		s.Addr = freePort(s.t)
		s.URL = s.As("", s.pass)
		if err = s.launch(); err == nil || !errors.Is(err, errPortTaken) {
			break
		}
	}
	return err
}

// As is the URL of the server for one of its users.
func (s *Server) As(user, password string) string {
	u := url.URL{Scheme: "redis", Host: s.Addr}
	if s.ca != nil {
		u.Scheme = "rediss"
	}
	if user != "" || password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String()
}

// Kill ends the server with SIGKILL, if it runs, and waits for its end.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server with SIGTERM, if it runs, and waits for its end.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(sig os.Signal) {
	if s.run == nil {
		return
	}
	if err := s.run.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("end redis-server: %v", err)
	}
	<-s.run.ended
	s.run = nil
}

// Restart starts the server again on the same port, ending it first if it runs. It returns once the server answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.launch(); err != nil {
		s.t.Fatalf("restart redis-server: %v", err)
	}
}

// Client is a client of the server as its default user, closed with the test.
func (s *Server) Client() *redis.Client {
	s.t.Helper()
	c, err := s.client()
	if err != nil {
		s.t.Fatalf("client of redis-server: %v", err)
	}
	s.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			s.t.Errorf("close the client of redis-server: %v", err)
		}
	})
	return c
}

func (s *Server) client() (*redis.Client, error) {
	opt, err := redis.ParseURL(s.URL)
	if err != nil {
		return nil, err
	}
	if s.ca != nil {
		opt.TLSConfig.RootCAs = s.ca.Roots
		if s.mutual {
			if opt.TLSConfig.Certificates, err = s.ca.pair("redistest"); err != nil {
				return nil, err
			}
		}
	}
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(opt), nil
}

// process is one life of a redis-server.
type process struct {
	cmd    *exec.Cmd
	says   string
	ready  chan struct{} // closed by the log reader when the server says that it accepts connections
	failed chan error    // Start's error, at most one
	ended  chan struct{} // closed after Wait

	mu   sync.Mutex
	tail []string // the last lines of its log, at most 20; written by the log reader
}

var errPortTaken = errors.New("port is taken")

// launch starts the process on s.Addr and waits until it answers.
func (s *Server) launch() error {
	flag := "--port"
	if s.ca != nil {
		flag = "--tls-port"
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append(slices.Clone(s.args), flag, port)
	if s.config != "" {
		args = append([]string{s.config}, args...)
	}
	p := &process{cmd: exec.Command("redis-server", args...), says: s.says,
		ready: make(chan struct{}), failed: make(chan error, 1), ended: make(chan struct{})}
	go p.live() // ends with the process, which Kill ends at the latest in t.Cleanup
	s.run = p
	deadline := time.NewTimer(readyWithin)
	defer deadline.Stop()
	select {
	case <-p.ready:
	case err := <-p.failed:
		s.run = nil
		return err
	case <-p.ended:
		s.run = nil
		return p.why()
	case <-deadline.C:
		s.Kill()
		return fmt.Errorf("not ready within %v: %s", readyWithin, p.log())
	}
	return s.ping()
}

// ping asks once: the server has said that it listens. An error reply, such as NOAUTH or NOPERM, is an answer too.
func (s *Server) ping() error {
	c, err := s.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	var reply redis.Error
	if err := c.Ping(ctx).Err(); err != nil && !errors.As(err, &reply) {
		return fmt.Errorf("ping %s: %w", s.Addr, err)
	}
	return nil
}

// live starts the process and waits for it on one locked thread: a parent-death signal is sent when the thread that forked ends, and Go
// ends threads whose goroutine leaves them locked, as programs under test may do.
func (p *process) live() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	p.cmd.SysProcAttr = dieWithParent()
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.failed <- err
		return
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		p.failed <- err
		return
	}
	p.read(out)
	p.cmd.Wait() // how it ended is known to whoever ended it, and otherwise stands in the log
}

func (p *process) read(out io.Reader) {
	lines, up := bufio.NewScanner(out), false
	for lines.Scan() {
		p.mu.Lock()
		p.tail = append(p.tail, lines.Text())
		p.tail = p.tail[max(0, len(p.tail)-20):]
		p.mu.Unlock()
		if !up && strings.Contains(lines.Text(), p.says) {
			up = true
			close(p.ready)
		}
	}
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}

func (p *process) why() error {
	log := p.log()
	if strings.Contains(log, "Address already in use") {
		return fmt.Errorf("%w: %s", errPortTaken, log)
	}
	return fmt.Errorf("ended at once: %s", log)
}

// freePort picks a port below the range that Linux takes for outgoing connections, so that while a server is down for its restart no
// client's socket sits on its port.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(16000+rand.IntN(16000)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatalf("free %s: %v", addr, err)
		}
		return addr
	}
	t.Fatal("no free loopback port between 16000 and 32000")
	return ""
}
