package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tenloom/tenloom/tenants"
)

func loginCommand(g *globals) *cobra.Command {
	var file, name, tenant string
	cmd := &cobra.Command{
		Use:   "login [SERVER]",
		Short: "Sign in to a server with a token",
		Long: `Sign in to a server with a token, which comes from a file or from stdin and never stands on the command line. It is kept in a file of the
context that only you can read; TENLOOM_TOKEN and TENLOOM_TOKEN_FILE give one for a single command.`,
		Example: "  tenloom login https://cloud.example.com --token-file ./token\n  pass show tenloom | tenloom login https://cloud.example.com",
		Args:    wantArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server := os.Getenv("TENLOOM_SERVER")
			if len(args) == 1 {
				server = args[0]
			}
			return g.login(cmd, cmp.Or(server, defaultServer), file, name, tenant)
		},
	}
	cmd.Flags().StringVar(&file, "token-file", "", "file that holds the token (default: stdin)")
	cmd.Flags().StringVar(&name, "context", "", "name of the context (default: the server's host)")
	cmd.Flags().StringVarP(&tenant, "tenant", "t", "", "tenant to act for (default: the token's)")
	return cmd
}

// serverAddress holds an address of a server against its form.
func serverAddress(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fail(exitUsage, "%q is not an address of a server\n  want https://HOST, such as https://cloud.example.com", text)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func (g *globals) login(cmd *cobra.Command, address, file, name, tenant string) error {
	server, err := serverAddress(address)
	if err != nil {
		return err
	}
	if name = cmp.Or(name, contextName(server)); tenants.CheckName(name) != nil {
		return fail(exitUsage, "context %q: %w", name, tenants.CheckName(name))
	}
	token, err := g.readToken(cmd, file)
	if err != nil {
		return err
	}
	g.server, g.context = server, ""
	c, err := g.clientOf(cmd, target{Server: server, Tenant: cmp.Or(tenant, string(tenants.Demo)), Token: token})
	if err != nil {
		return err
	}
	who, _, err := c.whoami(cmd.Context())
	if err != nil {
		return err
	}
	s, err := openContexts()
	if err != nil {
		return err
	}
	if err := s.put(name, target{Server: server, Tenant: cmp.Or(tenant, who.Tenant), Token: token}); err != nil {
		return err
	}
	if err := s.use(name); err != nil {
		return err
	}
	g.hint(cmd, "Signed in as %s. Context %q is now current.", who, name)
	return nil
}

// contextName is what a context is called where nobody says: the first part of the host's name, "local" for this machine.
func contextName(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "default"
	}
	host := u.Hostname()
	if loopback(host) {
		return "local"
	}
	if net.ParseIP(host) != nil {
		return strings.Trim(strings.NewReplacer(".", "-", ":", "-").Replace(host), "-")
	}
	first, _, _ := strings.Cut(host, ".")
	return strings.ToLower(first)
}

// readToken reads a token from a file or stdin, without showing what is typed.
func (g *globals) readToken(cmd *cobra.Command, file string) (string, error) {
	var text string
	var err error
	stdin, isFile := cmd.InOrStdin().(*os.File)
	switch {
	case file != "":
		text, err = readValue(file)
	case isFile && term.IsTerminal(int(stdin.Fd())):
		if g.noInput {
			return "", fail(exitUsage, "there is no token to sign in with\n  --token-file FILE, or give it on stdin")
		}
		fmt.Fprint(cmd.ErrOrStderr(), "Token: ")
		var typed []byte
		typed, err = term.ReadPassword(int(stdin.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		text = string(typed)
	default:
		text, err = bufio.NewReader(io.LimitReader(cmd.InOrStdin(), maxSecret)).ReadString('\n')
		if err == io.EOF {
			err = nil
		}
	}
	if err != nil {
		return "", fail(exitUsage, "read token: %w", err)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return "", fail(exitUsage, "there is no token to sign in with\n  --token-file FILE, or give it on stdin")
	}
	if _, err := tenants.ParseTokenText(text); err != nil {
		return "", fail(exitSignIn, "this is no token: %w\n  a token begins with tlm_, and is shown once when it is made", err)
	}
	return text, nil
}

// identity is the answer of GET /v1/whoami.
type identity struct {
	Subject  string `json:"subject"`
	Kind     string `json:"kind"`
	Operator bool   `json:"operator"`
	Tenant   string `json:"tenant"`
	Role     string `json:"role"`
	App      string `json:"app"`
	Token    *struct {
		Name    string `json:"name"`
		Expires string `json:"expires"`
	} `json:"token"`
}

func (w identity) String() string {
	name := w.Subject
	if w.Token != nil {
		name = fmt.Sprintf("%q", w.Token.Name)
	}
	name = plain(name)
	switch {
	case w.Operator:
		return name + " (operator)"
	case w.App != "":
		return fmt.Sprintf("%s (%s in %s, for %s)", name, plain(w.Role), plain(w.Tenant), plain(w.App))
	}
	return fmt.Sprintf("%s (%s in %s)", name, plain(w.Role), plain(w.Tenant))
}

func (c *client) whoami(ctx context.Context) (w identity, doc []byte, err error) {
	if doc, _, err = c.call(ctx, http.MethodGet, "/v1/whoami", nil); err != nil {
		return w, nil, err
	}
	if err := json.Unmarshal(doc, &w); err != nil {
		return w, nil, fmt.Errorf("read the answer: %w", err)
	}
	return w, doc, nil
}

func whoamiCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "whoami", Short: "Tell who you are on the server, and as what", Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, c, err := g.screenAndClient(cmd)
			if err != nil {
				return err
			}
			who, doc, err := c.whoami(cmd.Context())
			if err != nil {
				return err
			}
			if s.isJSON() {
				return s.json(doc)
			}
			return s.rows("", [][]string{{who.String() + " at " + c.server}})
		},
	}
	g.serverFlags(cmd)
	return cmd
}

func logoutCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "logout", Short: "Forget the token of a context; it stays good until it is revoked", Args: wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := openContexts()
			if err != nil {
				return err
			}
			name := cmp.Or(g.context, os.Getenv("TENLOOM_CONTEXT"), s.current())
			if name == "" {
				return fail(exitNotFound, "no context is current")
			}
			t, err := s.find(name)
			if err != nil {
				return err
			}
			t.Token = ""
			if err := s.put(name, t); err != nil {
				return err
			}
			g.hint(cmd, "Signed out of %s. To end the token itself: tokens rm.", t.Server)
			return nil
		},
	}
	cmd.Flags().StringVar(&g.context, "context", "", "context to sign out of (TENLOOM_CONTEXT; default: the current one)")
	return cmd
}
