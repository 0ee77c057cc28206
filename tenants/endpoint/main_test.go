package endpoint_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/tenloom/tenloom/tenants/endpoint/redistest"
)

var ca *redistest.CA

// TestMain makes a private authority part of the system's roots, as an operator does.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "endpoint")
	if err == nil {
		defer os.RemoveAll(dir)
		ca, err = redistest.NewCA(dir)
	}
	if err == nil {
		err = os.Setenv("SSL_CERT_FILE", ca.File)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a test authority:", err)
		return 1
	}
	return m.Run()
}
