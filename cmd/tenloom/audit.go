package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

func auditCommand(g *globals) *cobra.Command {
	var follow, platform bool
	var limits listFlags
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who changed what", Args: cobra.ArbitraryArgs,
		Example: "  tenloom audit --limit 20\n  tenloom audit -o ndjson > audit.ndjson && tenloom audit verify audit.ndjson",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args)
			}
			s, c, err := g.screenAndClient(cmd)
			if err != nil {
				return err
			}
			path := c.of("audit")
			if platform {
				path = "/v1/audit"
			}
			if s.format == "ndjson" || follow {
				return exportAudit(cmd, s, c, path, follow)
			}
			return g.list(cmd, s, c, path, limits, listing{columns: auditColumns, key: "seq"})
		},
	}
	g.serverFlags(cmd)
	limits.add(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "from the first to the last, and what comes later")
	cmd.Flags().BoolVar(&platform, "platform", false, "the platform's own log (operators)")
	cmd.AddCommand(auditVerifyCommand(g))
	return cmd
}

var auditColumns = []column{{"SEQ", "seq"}, {"AT", "at"}, {"WHO", "actor"}, {"WHAT", "action"}, {"APP", "app"}, {"TARGET", "target"}, {"RESULT", "outcome"}}

// auditPause is how often a log that is followed is looked at again.
const auditPause = 2 * time.Second

// exportAudit writes a chain as it is verified: from the first entry on, each as the server sent it.
func exportAudit(cmd *cobra.Command, s screen, c *client, path string, follow bool) error {
	after := uint64(0)
	for {
		resp, err := c.send(cmd.Context(), apiRequest{method: http.MethodGet, path: path + "?after=" + strconv.FormatUint(after, 10), accept: "application/x-ndjson"})
		if err != nil {
			return err
		}
		head := resp.Header.Get("Audit-Head")
		after, err = copyAudit(s, resp.Body, after)
		resp.Body.Close()
		if err != nil {
			return c.lost(cmd.Context(), err)
		}
		if want, _, _ := strings.Cut(head, " "); want != "" && want != strconv.FormatUint(after, 10) {
			return fmt.Errorf("the log ends at entry %d, and the server has %s\n  try again", after, want)
		}
		if !follow {
			return nil
		}
		if err := pauseUntil(cmd.Context(), time.Now().Add(auditPause)); err != nil {
			return err
		}
	}
}

func copyAudit(s screen, from io.Reader, after uint64) (uint64, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxSecret)
	for lines.Scan() {
		var e tenants.AuditEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return after, err
		}
		after = e.Seq
		var err error
		if s.isJSON() {
			_, err = fmt.Fprintf(s.w, "%s\n", lines.Bytes())
		} else {
			err = s.rows("", [][]string{{fmt.Sprint(e.Seq), e.At.Local().Format("2006-01-02 15:04:05"), plain(e.Actor), string(e.Action), plain(string(e.App)), plain(e.Target), plain(e.Outcome)}})
		}
		if err != nil {
			return after, err
		}
	}
	return after, lines.Err()
}

func auditVerifyCommand(g *globals) *cobra.Command {
	var head string
	cmd := &cobra.Command{
		Use: "verify [FILE]", Short: "Verify an exported log, without a server", Args: wantArgs(0, 1),
		Long: `Verify a log that "audit -o ndjson" wrote, from FILE or stdin: no entry was changed, left out, moved or put in. That none was cut off at the
end shows a head that was kept elsewhere: --head SEQ:HASH.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			from := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return fail(exitUsage, "read the log: %w", err)
				}
				defer f.Close()
				from = f
			}
			s, err := g.screen(cmd)
			if err != nil {
				return err
			}
			return verifyAudit(s, from, head)
		},
	}
	cmd.Flags().StringVar(&head, "head", "", "where the log has to end, or go through: SEQ:HASH")
	return cmd
}

func verifyAudit(s screen, from io.Reader, want string) error {
	seq, hash, _ := strings.Cut(want, ":")
	found := want == ""
	entries := func(yield func(tenants.AuditEntry, error) bool) {
		for e, err := range store.ReadAudit(from) {
			found = found || fmt.Sprint(e.Seq) == seq && e.Hash == hash
			if !yield(e, err) {
				return
			}
		}
	}
	end, err := tenants.VerifyAudit(entries, tenants.AuditHead{})
	switch {
	case errors.Is(err, tenants.ErrAuditBroken):
		return fail(exitFailed, "%w\n  what stands before that entry is sound", err)
	case err != nil:
		return fail(exitUsage, "read the log: %w", err)
	case !found:
		return fail(exitFailed, "%w: it does not go through %s\n  entries were cut off, or it is another log", tenants.ErrAuditBroken, want)
	}
	if s.isJSON() {
		doc, err := json.Marshal(map[string]any{"entries": end.Seq, "head": end.Hash})
		if err != nil {
			return err
		}
		return s.json(doc)
	}
	return s.rows("", [][]string{{"sound", fmt.Sprintf("%d:%s", end.Seq, end.Hash)}})
}
