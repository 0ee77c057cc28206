package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/endpoint/binding"
)

// Dapr's paths. The tenant is the caller's own; codes and bodies are those that Dapr's clients know (dapr/dapr pkg/api/http), and problems where
// Dapr has none: who is not signed in, or comes too often.

// Bounds of Dapr's paths.
const (
	bindingTimeout = 30 * time.Second // of one call, with all its tries
	maxBinding     = 512              // calls at once; one more is told to come again
)

// ErrNoBinding is Config.Bind's and Config.Topics' error where the tenant, or the token's app, has nothing of that name.
var ErrNoBinding = errors.New("there is none of this name")

// daprError is an error answer as Dapr's clients read it.
type daprError struct {
	status  int
	Code    string        `json:"errorCode"`
	Message string        `json:"message"`
	Failed  []failedEntry `json:"failedEntries,omitempty"`
}

func (e *daprError) Error() string { return e.Code + ": " + e.Message }

func (c *call) dapr(e *daprError) error { return c.json(e.status, e) }

func malformed(err error) *daprError {
	return &daprError{status: http.StatusBadRequest, Code: "ERR_MALFORMED_REQUEST", Message: "failed deserializing HTTP body: " + clip(err.Error())}
}

// caller finds the tenant of who calls, for paths that name none, and asks whether they may.
func (s *server) caller(c *call, action tenants.Action) error {
	id := c.who.Tenant
	if id == "" {
		return &problem{Status: http.StatusForbidden, Code: "forbidden", Title: "Not allowed", Detail: "the token belongs to no tenant, and the path names none",
			Next: "Use a token of the tenant's."}
	}
	if tenants.May(c.who, action, tenants.Resource{Tenant: id}).Verdict == tenants.Unseen {
		return noSuchTenant()
	}
	if err := s.findTenant(c, id); err != nil {
		return err
	}
	return c.may(tenants.Resource{Tenant: id, Suspended: c.tenant.Value.State != tenants.TenantActive})
}

type bindingRequest struct {
	Operation string          `json:"operation"`
	Data      json.RawMessage `json:"data"`
	Metadata  map[string]any  `json:"metadata"`
}

// bind is an output binding: one operation on the Redis of that name.
func (s *server) bind(c *call) error {
	if s.Bind == nil {
		return notOffered("bindings")
	}
	if err := s.binding.take(); err != nil {
		return err
	}
	defer s.binding.leave()
	in, metadata, err := c.readBinding()
	if err != nil {
		var refused *daprError
		if errors.As(err, &refused) {
			return c.dapr(refused)
		}
		return err
	}
	name := c.r.PathValue("name")
	wrong := func(err error) error {
		return c.dapr(&daprError{status: http.StatusInternalServerError, Code: "ERR_INVOKE_OUTPUT_BINDING",
			Message: fmt.Sprintf("error invoking output binding %s: %s", clip(name), err)})
	}
	if in.Operation == "" {
		return wrong(errors.New("operation field is missing from request"))
	}
	ctx, cancel := context.WithTimeout(c.ctx(), bindingTimeout)
	defer cancel()
	answer, err := s.Bind(ctx, c.tenant.Value.ID, c.who.App, name, binding.Request{Operation: in.Operation, Data: in.Data, Metadata: metadata})
	var unknown binding.UnknownOperation
	switch {
	case errors.Is(err, ErrNoBinding):
		return wrong(fmt.Errorf("couldn't find output binding %s", clip(name)))
	case errors.As(err, &unknown):
		return wrong(fmt.Errorf("binding %s does not support operation %s. supported operations:%s", clip(name), clip(in.Operation), strings.Join(binding.Operations(), " ")))
	case err != nil:
		return wrong(errors.New(clipTo(err.Error(), 500)))
	}
	return c.bound(answer)
}

func clipTo(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// bound answers what an operation gave. What Redis holds goes out as it stands, as Dapr does, whatever it is.
func (c *call) bound(a binding.Answer) error {
	for k, v := range a.Metadata {
		c.w.Header().Set("metadata."+k, v)
	}
	if !a.Answers {
		return c.empty(http.StatusNoContent)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(a.Data)))
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(a.Data) // fails only where the client has gone
	return nil
}

// readBinding reads a call's body. Unknown fields are passed over, as Dapr does.
func (c *call) readBinding() (in bindingRequest, metadata map[string]string, err error) {
	body, err := readAll(c.w, c.r, maxBody)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return in, nil, messageTooLarge()
	case err != nil:
		return in, nil, malformed(err)
	case !utf8.Valid(body):
		return in, nil, malformed(errors.New("the body is not UTF-8"))
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, nil, malformed(err)
	}
	if len(in.Data) > MaxPayload {
		return in, nil, messageTooLarge()
	}
	metadata, err = metadataOf(in.Metadata)
	return in, metadata, err
}

// metadataOf are names and texts. Numbers and truths count as their texts; Dapr refuses those.
func metadataOf(in map[string]any) (map[string]string, error) {
	out := make(map[string]string, len(in))
	for k, v := range in {
		switch v := v.(type) {
		case string:
			out[k] = v
		case float64:
			out[k] = strconv.FormatFloat(v, 'f', -1, 64)
		case bool:
			out[k] = strconv.FormatBool(v)
		default:
			return nil, malformed(fmt.Errorf("metadata.%s is no text", clip(k)))
		}
	}
	return out, nil
}

// compact is JSON on one line, without spaces.
func compact(raw []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
