package dapr

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/dapr/components-contrib/bindings"
	conformance "github.com/dapr/components-contrib/tests/conformance/bindings"
)

// adapter is an output binding whose operations tenloom carries out.
type adapter struct{ url string }

func (a *adapter) Init(ctx context.Context, _ bindings.Metadata) error { return a.Ping(ctx) }

// Ping asks for a key that is not there.
func (a *adapter) Ping(ctx context.Context) error {
	_, err := a.Invoke(ctx, &bindings.InvokeRequest{Operation: bindings.GetOperation, Metadata: map[string]string{"key": "ping"}})
	return err
}

func (a *adapter) Operations() []bindings.OperationKind {
	return []bindings.OperationKind{bindings.CreateOperation, bindings.GetOperation, bindings.DeleteOperation, "increment"}
}

func (a *adapter) Close() error { return nil }

func (a *adapter) Invoke(ctx context.Context, r *bindings.InvokeRequest) (*bindings.InvokeResponse, error) {
	in := map[string]any{"operation": r.Operation, "metadata": r.Metadata}
	if len(r.Data) > 0 {
		in["data"] = json.RawMessage(r.Data)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusNoContent:
		return nil, nil
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%d %s", resp.StatusCode, data)
	}
	if len(data) == 0 { // over HTTP nothing and an empty value are the same
		return &bindings.InvokeResponse{}, nil
	}
	return &bindings.InvokeResponse{Data: data}, nil
}

// up starts "tenloom up" with its sample and embedded Redis, and a component file of Dapr that leads there.
func up(t *testing.T) (api string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "tenloom")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/tenloom")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	components := filepath.Join(dir, "components")
	file := "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: redis-binding\nspec:\n  type: bindings.redis\n  version: v1\n  metadata:\n" +
		"  - name: redisHost\n    value: localhost:6379\n  - name: redisPassword\n    value: \"\"\n  - name: enableTLS\n    value: false\n"
	if err := errors.Join(os.Mkdir(components, 0o700), os.WriteFile(filepath.Join(components, "redis.yaml"), []byte(file), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "up", "--ephemeral", "--listen", "127.0.0.1:0", "--dapr-components", components)
	cmd.Dir = dir
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if api = address.FindString(lines.Text()); api != "" {
			go io.Copy(io.Discard, stdout) // ends with the process
			return api
		}
	}
	t.Fatal("tenloom up did not say where it is")
	return ""
}

// TestBindings is Dapr's suite: init, ping, operations, create, get, delete, close. Each component has the operations that it says it has; upstream
// drives create alone for Redis.
func TestBindings(t *testing.T) {
	a := &adapter{url: up(t) + "/v1.0/bindings/redis-binding"}
	config, err := conformance.NewTestConfig("redis", []string{"operations", "create", "get", "delete"}, map[string]any{
		"output": map[string]string{"key": "$((uuid))"}, "outputData": `{"hello":"world"}`, "readBindingTimeout": time.Second.String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	config.OutputMetadata = map[string]string{"key": "conformance"}
	conformance.ConformanceTests(t, map[string]string{}, nil, a, config)
}
