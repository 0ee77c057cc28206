package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func apiCommand(g *globals) *cobra.Command {
	var fields, headers []string
	var input string
	cmd := &cobra.Command{
		Use:   "api METHOD PATH",
		Short: "Call the API as you are signed in, and print its answer as it comes",
		Long: `Call the API as you are signed in, and print its answer as it comes. In PATH, {tenant} and {app} stand for those at hand.

Fields make a JSON object of a request that has a body, and parameters of one that has none; values that are JSON (3, true, {...}) are sent as
that, all others as strings.`,
		Example: "  tenloom api GET /v1/whoami\n  tenloom api POST '/v1/tenants/{tenant}/tokens' -f name=ci -f role=deployer",
		Args:    wantArgs(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client(cmd)
			if err != nil {
				return err
			}
			r, err := newAPIRequest(c, strings.ToUpper(args[0]), args[1], fields, headers)
			if err != nil {
				return err
			}
			if input != "" {
				data, err := readPayload(cmd.InOrStdin(), []string{input})
				if err != nil {
					return err
				}
				r.body = strings.NewReader(string(data))
			}
			resp, err := c.send(cmd.Context(), r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if _, err := io.Copy(cmd.OutOrStdout(), resp.Body); err != nil {
				return c.lost(cmd.Context(), err)
			}
			return nil
		},
	}
	g.appFlags(cmd)
	cmd.Flags().StringArrayVarP(&fields, "field", "f", nil, "field of the body, or parameter: name=value")
	cmd.Flags().StringArrayVarP(&headers, "header", "H", nil, "header: Name: value")
	cmd.Flags().StringVar(&input, "input", "", "the body itself: @file, - for stdin, or text")
	return cmd
}

func newAPIRequest(c *client, method, path string, fields, headers []string) (r apiRequest, err error) {
	path = strings.NewReplacer("{tenant}", url.PathEscape(c.tenant), "{app}", url.PathEscape(c.app)).Replace(path)
	if !strings.HasPrefix(path, "/") {
		return r, fail(exitUsage, "the path %q does not begin with /\n  such as /v1/whoami", path)
	}
	r = apiRequest{method: method, path: path, accept: "application/json, */*;q=0.1", header: map[string]string{}}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return r, fail(exitUsage, "the header %q has no colon\n  such as -H 'If-Match: \"12\"'", h)
		}
		r.header[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	body, query := map[string]any{}, url.Values{}
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return r, fail(exitUsage, "the field %q is not name=value", f)
		}
		query.Add(name, value)
		body[name] = fieldValue(value)
	}
	if len(fields) == 0 {
		return r, nil
	}
	if method == http.MethodGet || method == http.MethodHead || method == http.MethodDelete {
		sep := "?"
		if strings.Contains(r.path, "?") {
			sep = "&"
		}
		r.path += sep + query.Encode()
		return r, nil
	}
	doc, err := json.Marshal(body)
	if err != nil {
		return r, fmt.Errorf("encode fields: %w", err)
	}
	r.body = strings.NewReader(string(doc))
	return r, nil
}

// fieldValue reads a value that is JSON other than a string in quotes, and takes all others as they stand.
func fieldValue(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		if _, isString := v.(string); !isString {
			return json.RawMessage(text)
		}
	}
	return text
}
