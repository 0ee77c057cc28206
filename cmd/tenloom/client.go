package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/tenants"
)

const defaultServer = "http://127.0.0.1:7070"

// maxAnswer bounds what is read of an answer, in bytes; a larger one is an error.
const maxAnswer = 64 << 20

// globals are the flags that every command has, and those of commands that talk to a server.
type globals struct {
	program string // how hints name this program

	output  string // --output, -o
	json    bool   // --json
	quiet   bool   // -q: no hints and warnings
	verbose bool   // -v: requests and their status on stderr
	noInput bool   // --no-input: never ask

	server  string // --server
	tenant  string // --tenant, -t
	app     string // --app, -a
	context string // --context
}

// addGlobals gives root the flags of every command.
func addGlobals(root *cobra.Command) *globals {
	g := &globals{program: programName(os.Args[0])}
	flags := root.PersistentFlags()
	flags.StringVarP(&g.output, "output", "o", "", "table, tsv, json, ndjson or name (default: table on a terminal, else tsv)")
	flags.BoolVar(&g.json, "json", false, "short for --output json")
	flags.BoolVarP(&g.quiet, "quiet", "q", false, "no hints and warnings")
	flags.BoolVarP(&g.verbose, "verbose", "v", false, "say more on stderr")
	flags.BoolVar(&g.noInput, "no-input", os.Getenv("CI") == "true", "never ask (default where CI=true)")
	return g
}

// serverFlags gives a command the flags that say where the server is and who asks.
func (g *globals) serverFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&g.server, "server", "", "address of the server (TENLOOM_SERVER; default: the context's, or "+defaultServer+")")
	cmd.Flags().StringVarP(&g.tenant, "tenant", "t", "", "tenant to act for (TENLOOM_TENANT; default: the folder's, the context's, or "+string(tenants.Demo)+")")
	cmd.Flags().StringVar(&g.context, "context", "", "context to use (TENLOOM_CONTEXT; default: the current one)")
}

// appFlags are serverFlags for commands about one application.
func (g *globals) appFlags(cmd *cobra.Command) {
	g.serverFlags(cmd)
	cmd.Flags().StringVarP(&g.app, "app", "a", "", "application (TENLOOM_APP; default: the one that the folder is linked to, or its manifest's)")
}

// goRunPath is a path that "go run" puts a program at: its work folder, or its build cache.
var goRunPath = regexp.MustCompile(`[/\\](go-build[0-9]*|[0-9a-f]{64}-d)[/\\]`)

// programName is what a person types to run this program, seen from the repository when it was started by "go run", and from Spin where it is
// its plugin.
func programName(path string) string {
	if os.Getenv("SPIN_BIN_PATH") != "" && strings.Contains(filepath.ToSlash(path), "/plugins/tenloom/") {
		return "spin tenloom"
	}
	if goRunPath.MatchString(path) {
		return "go run ./cmd/tenloom"
	}
	return "tenloom"
}

// screen is the command's place for results.
func (g *globals) screen(cmd *cobra.Command) (screen, error) {
	format := g.output
	if g.json {
		if format != "" && format != "json" {
			return screen{}, fail(exitUsage, "--json and --output %s exclude each other\n  give one of them", format)
		}
		format = "json"
	}
	return newScreen(cmd.OutOrStdout(), format)
}

// hint writes a line of advice to stderr, unless --quiet.
func (g *globals) hint(cmd *cobra.Command, format string, args ...any) {
	if !g.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
	}
}

// client speaks the platform API for one tenant.
type client struct {
	http    *http.Client
	server  string // scheme, host and path, without a slash at the end
	tenant  string
	app     string    // "" where none is named
	token   string    // "" signs in as nobody
	program string    // how hints name this program
	trace   io.Writer // nil, or where each request is written
}

// client makes the client that flags, environment, folder and context describe, in this order.
func (g *globals) client(cmd *cobra.Command) (*client, error) {
	t, err := g.aim()
	if err != nil {
		return nil, err
	}
	return g.clientOf(cmd, t)
}

// clientOf makes the client for a target.
func (g *globals) clientOf(cmd *cobra.Command, t target) (*client, error) {
	u, err := url.Parse(t.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fail(exitUsage, "--server (or TENLOOM_SERVER) is not an address of a server\n  want http://HOST:PORT or https://HOST, such as %s", defaultServer)
	}
	if err := tenants.CheckName(t.Tenant); err != nil {
		return nil, fail(exitUsage, "--tenant (or TENLOOM_TENANT): %w", err)
	}
	c := &client{http: newHTTPClient(), server: strings.TrimRight(u.String(), "/"), tenant: t.Tenant, app: t.App, token: t.Token, program: g.program}
	if c.token != "" && u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fail(exitSignIn, "the token would go to %s in the clear\n  use an https address", c.server)
	}
	if g.verbose {
		c.trace = cmd.ErrOrStderr()
	}
	return c, nil
}

// screenAndClient are what a command that shows what a server answers begins with.
func (g *globals) screenAndClient(cmd *cobra.Command) (screen, *client, error) {
	s, err := g.screen(cmd)
	if err != nil {
		return s, nil, err
	}
	c, err := g.client(cmd)
	return s, c, err
}

// newHTTPClient follows no redirect: a token is for the server that it was given for.
func newHTTPClient() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// url is the address of something of the tenant's.
func (c *client) url(path string) string {
	return c.server + "/v1/tenants/" + c.tenant + "/" + path
}

// post sends in as JSON and returns the body of the answer, which is JSON.
func (c *client) post(ctx context.Context, path string, in any, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	resp, err := c.do(ctx, http.MethodPost, path, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, c.lost(ctx, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the answer of %s is larger than %s", c.server, size(maxAnswer))
	}
	return answer, nil
}

// do is send for something of the tenant's, with a body of JSON or none.
func (c *client) do(ctx context.Context, method, path, accept string, body io.Reader) (*http.Response, error) {
	return c.send(ctx, apiRequest{method: method, path: "/v1/tenants/" + c.tenant + "/" + path, accept: accept, body: body})
}

// apiRequest is one call of the API.
type apiRequest struct {
	method, path string // the path with its query, from the server's root
	accept       string // default application/json
	body         io.Reader
	kind         string // of body; default application/json
	size         int64  // of body; 0 where it is not known
	header       map[string]string
	timeout      time.Duration // of callWith; default callTimeout
}

// send sends a request. A status other than 2xx is a *problem; a server that does not answer is an *unreachableError. The caller closes the body.
func (c *client) send(ctx context.Context, r apiRequest) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.server+r.path, r.body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", cmp.Or(r.accept, "application/json"))
	req.Header.Set("User-Agent", "tenloom/"+buildVersion().Version)
	if r.body != nil {
		req.Header.Set("Content-Type", cmp.Or(r.kind, "application/json"))
	}
	if r.size > 0 {
		req.ContentLength = r.size
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	start := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if c.trace != nil {
		fmt.Fprintf(c.trace, "%s %s: %s in %s\n", r.method, req.URL, plain(resp.Status), millis(float64(time.Since(start))/1e6))
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, readProblem(resp)
	}
	return resp, nil
}

// callTimeout is how long an answer that waits for nothing may take.
const callTimeout = time.Minute

// call sends JSON, or nothing where in is nil, and returns the answer's document, nil where it has none.
func (c *client) call(ctx context.Context, method, path string, in any) ([]byte, http.Header, error) {
	return c.callWith(ctx, apiRequest{method: method, path: path}, in)
}

func (c *client) callWith(ctx context.Context, r apiRequest, in any) ([]byte, http.Header, error) {
	timeout := cmp.Or(r.timeout, callTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return nil, nil, fmt.Errorf("encode request: %w", err)
		}
		r.body = bytes.NewReader(body)
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, nil, c.lost(ctx, err)
	case len(answer) > maxAnswer:
		return nil, nil, fmt.Errorf("the answer of %s is larger than %s", c.server, size(maxAnswer))
	}
	return answer, resp.Header, nil
}

// of is the path of something of the tenant's; each part is one segment.
func (c *client) of(parts ...string) string {
	path := "/v1/tenants/" + c.tenant
	for _, p := range parts {
		path += "/" + url.PathEscape(p)
	}
	return path
}

// ofApp is of for something of the application's. It fails where no application is named.
func (c *client) ofApp(parts ...string) (string, error) {
	if c.app == "" {
		return "", fail(exitUsage, "which application?\n  -a NAME or TENLOOM_APP names it; \"%s apps link NAME\" links this folder to it", c.program)
	}
	return c.of(append([]string{"apps", c.app}, parts...)...), nil
}

// lost says why there is no answer.
func (c *client) lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, context.Canceled) {
			return cause
		}
		err = cause
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // without the method and address, which the message names
	}
	return &unreachableError{server: c.server, program: c.program, err: err}
}

// unreachableError says that a server gave no answer, or not all of it.
type unreachableError struct {
	server, program string
	err             error
}

func (e *unreachableError) Error() string {
	var dial *net.OpError
	if errors.As(e.err, &dial) && dial.Op == "dial" {
		return fmt.Sprintf("no server answers at %s\n  %v\n  \"%s up\" starts one; --server or TENLOOM_SERVER names another", e.server, e.err, e.program)
	}
	return fmt.Sprintf("no whole answer from %s\n  %v\n  what was asked for may have happened", e.server, e.err)
}

func (e *unreachableError) Unwrap() error { return e.err }
