package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/time/rate"
)

// Client is one Vault server and our session there. It is safe for concurrent use.
type Client struct {
	config Config
	api    *api.Client

	later  *rate.Limiter // what the agenda sends
	urgent *rate.Limiter // what somebody waits for
	agenda agenda
	cache  cache

	session session
	absence absence

	mu          sync.Mutex
	credentials map[*Credential]struct{} // that are open
	leaving     map[*Credential]struct{} // that are closed and have leases to be revoked; each goes with the last of them
	versions    map[string]int           // of KV mounts, as far as they were asked for; bounded by maxVersions
	moving      sync.WaitGroup           // of what moves connections to other credentials
	movers      chan struct{}            // holds a token for each of them; its capacity bounds them

	requests atomic.Int64

	life context.Context // ends with Run
	end  context.CancelFunc
}

const (
	urgentFactor = 10 // how many times Config.Rate those who wait may ask
	maxMovers    = 16
	maxVersions  = 1000
)

// New makes a Client. It asks nothing until Run.
func New(c Config) (*Client, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	c = c.filled()
	transport := c.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig, _ = c.tls() // checked
		t.MaxConnsPerHost = 16
		transport = t
	}
	given := api.DefaultConfig()
	if given.Error != nil {
		given = &api.Config{} // something in VAULT_ variables that is of no use here
	}
	given.Address, given.AgentAddress, given.MaxRetries, given.Timeout = c.Address, "", 0, c.Timeout
	given.Limiter, given.OutputCurlString, given.OutputPolicy = nil, false, false
	given.HttpClient = &http.Client{Transport: bounded{transport}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	client, err := api.NewClient(given)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	client.ClearToken() // the library took it from the environment
	client.ClearNamespace()
	if c.Namespace != "" {
		client.SetNamespace(c.Namespace)
	}
	burst := max(1, int(c.Rate))
	v := &Client{
		config: c, api: client,
		later:  rate.NewLimiter(rate.Limit(c.Rate), burst),
		urgent: rate.NewLimiter(rate.Limit(c.Rate*urgentFactor), burst*urgentFactor),

		credentials: map[*Credential]struct{}{}, leaving: map[*Credential]struct{}{}, versions: map[string]int{}, movers: make(chan struct{}, maxMovers),
	}
	v.life, v.end = context.WithCancel(context.Background())
	v.agenda.init()
	v.cache.init(c.Entries)
	v.session.init()
	return v, nil
}

// Run keeps the session, and what was read, until ctx ends. It is called once. What needs Vault waits until Run has signed in.
func (c *Client) Run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { c.keepSession(ctx) })
	parts.Go(func() { c.carryOut(ctx) })
	parts.Wait()
	c.end()
	c.moving.Wait()
}

// Close gives up what Vault holds for us: the token, where it was made for us at sign-in, and with it all leases; else each lease, for as long
// as ctx lasts. It is called after Run has ended.
func (c *Client) Close(ctx context.Context) error {
	s := c.session.now()
	if s.token == "" || c.absence.since() != nil {
		return nil // they end by themselves
	}
	if c.config.Auth.method() != Token {
		_, err := c.write(ctx, "auth/token/revoke-self", nil)
		return err
	}
	c.mu.Lock()
	all := slices.AppendSeq(slices.Collect(maps.Keys(c.credentials)), maps.Keys(c.leaving))
	c.mu.Unlock()
	var leases []string
	for _, k := range all { // whoever holds a credential's lock may take the client's, and not the other way round
		leases = append(leases, k.leases()...)
	}
	var failed error
	for _, lease := range leases {
		if ctx.Err() != nil {
			break
		}
		if _, err := c.write(ctx, "sys/leases/revoke", map[string]any{"lease_id": lease}); err != nil {
			failed = err
		}
	}
	return failed
}

// Requests is how many requests were sent.
func (c *Client) Requests() int64 { return c.requests.Load() }

func (c *Client) address() string { return c.config.Address }

// signed waits until there is a session, or is told why there is none.
func (c *Client) signed(ctx context.Context) error { return c.session.wait(ctx) }

// read reads a path within the session. A path where nothing is gives a nil Secret, and the warnings of Vault where it has some.
func (c *Client) read(ctx context.Context, path string) (*api.Secret, error) {
	return c.once(ctx, path, "read", func(ctx context.Context) (*api.Response, error) {
		return c.api.Logical().ReadRawWithContext(ctx, path)
	})
}

// write is one request of the update capability.
func (c *Client) write(ctx context.Context, path string, fields map[string]any) (*api.Secret, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("vault: write %s: %w", path, err)
	}
	return c.once(ctx, path, "update", func(ctx context.Context) (*api.Response, error) {
		return c.api.Logical().WriteRawWithContext(ctx, path, body)
	})
}

// once sends one request, and once more after another sign-in when the token turns out to be none any more.
func (c *Client) once(ctx context.Context, path, capability string, send func(context.Context) (*api.Response, error)) (*api.Secret, error) {
	for attempt := 0; ; attempt++ {
		if err := c.signed(ctx); err != nil {
			return nil, err
		}
		generation := c.session.now().generation
		secret, err := c.send(ctx, path, capability, send)
		if attempt > 0 || !spent(err) || !c.session.lost(generation) {
			return secret, err
		}
	}
}

// spent says that Vault does not know the token. A policy that denies says nothing of the token.
func spent(err error) bool {
	var answered *api.ResponseError
	if !errors.As(err, &answered) || answered.StatusCode != http.StatusForbidden {
		return false
	}
	for _, text := range answered.Errors {
		if containsAny(text, "invalid token", "bad token", "token expired") {
			return true
		}
	}
	return false
}

// send is one request, whoever asks. Its error wraps the library's.
func (c *Client) send(ctx context.Context, path, capability string, send func(context.Context) (*api.Response, error)) (*api.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	c.requests.Add(1)
	answer, err := send(ctx)
	var secret *api.Secret
	if answer != nil && answer.Body != nil {
		defer answer.Body.Close()
		if err == nil && answer.StatusCode != http.StatusNoContent {
			secret, err = api.ParseSecret(answer.Body)
		} else if answer.StatusCode == http.StatusNotFound { // a 404 of KV version 1 on a mount of version 2 explains itself there
			secret, _ = api.ParseSecret(answer.Body)
		}
	}
	if err == nil {
		c.absence.end()
		return secret, nil
	}
	failed := c.failure(path, capability, err)
	if isAway(failed) {
		c.absence.begin(failed)
	} else if kind(failed) != "" && kind(failed) != Unfit {
		c.absence.end()
	}
	var answered *api.ResponseError
	if errors.As(err, &answered) {
		return secret, failedWith{failed.(*Error), answered}
	}
	return secret, failed
}

// failedWith is an Error that still knows the answer.
type failedWith struct {
	told   *Error
	answer *api.ResponseError
}

func (f failedWith) Error() string   { return f.told.Error() }
func (f failedWith) Unwrap() []error { return []error{f.told, f.answer} }

// bounded refuses answers of more than maxResponse bytes.
type bounded struct{ http.RoundTripper }

var errTooLarge = errors.New("answer larger than 1 MiB")

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.ContentLength > maxResponse {
		answer.Body.Close()
		return nil, errTooLarge
	}
	answer.Body = &boundedBody{answer.Body, maxResponse}
	return answer, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// absence is a time in which Vault was of no use: sealed, or without an answer.
type absence struct {
	mu       sync.Mutex
	why      error // nil while there is none
	began    time.Time
	failures int
	retry    time.Time // nothing of the agenda is sent before
}

const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

func (a *absence) begin(why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.why == nil {
		a.began = now
	}
	a.why = why
	if now.Before(a.retry) {
		return // those that were sent together count as one
	}
	a.failures++
	a.retry = now.Add(pause(a.failures))
}

func (a *absence) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.why, a.failures, a.retry = nil, 0, time.Time{}
}

func (a *absence) since() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.why
}

// wait is how long the agenda waits, and whether it goes on with one request at a time.
func (a *absence) wait() (d time.Duration, alone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Until(a.retry), a.why != nil
}

// pause grows with the failures from 1 s to 30 s, with a jitter of a quarter.
func pause(failures int) time.Duration {
	d := firstPause << min(failures-1, 5)
	return jitter(min(d, lastPause), 0.25)
}

// jitter moves a duration by up to a share of it, either way.
func jitter(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 + share*(2*rand.Float64()-1)))
}

// sleep is false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Allowed asks which of some paths the session may not use in the way that each needs, and returns the policy lines that are missing. It needs
// nothing but the default policy.
func (c *Client) Allowed(ctx context.Context, needs []Need) (missing []string, err error) {
	paths := make([]string, len(needs))
	for i, n := range needs {
		paths[i] = n.Path
	}
	secret, err := c.write(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
	if err != nil || secret == nil {
		return nil, err
	}
	for _, n := range needs {
		have, _ := secret.Data[n.Path].([]any)
		may := false
		for _, one := range have {
			may = may || one == n.Capability || one == "root"
		}
		if !may {
			missing = append(missing, PolicyLine(n.Path, n.Capability))
		}
	}
	return missing, nil
}

// Need is a path and the capability that is needed on it.
type Need struct{ Path, Capability string }

// Ready waits until there is a session, or says why there is none.
func (c *Client) Ready(ctx context.Context) error { return c.signed(ctx) }

// Statements are the creation statements of a dynamic role, where our policy lets us read it.
func (c *Client) Statements(ctx context.Context, s Source) ([]string, error) {
	secret, err := c.read(ctx, s.mount+"/roles/"+s.role)
	if err != nil || secret == nil {
		return nil, err
	}
	var all []string
	list, _ := secret.Data["creation_statements"].([]any)
	for _, one := range list {
		if text, ok := one.(string); ok {
			all = append(all, text)
		}
	}
	return all, nil
}
