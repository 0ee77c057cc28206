//go:build s3

package conformance

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/tenloom/tenloom/tenants/store/artifact"
	"github.com/tenloom/tenloom/tenants/store/artifact/artifacttest"
)

func TestS3(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true") // else the SDK looks for a cloud around it
	backend := s3mem.New()
	server := httptest.NewServer(gofakes3.New(backend).Server())
	defer server.Close()
	var n atomic.Int64
	artifacttest.Run(t, func(t *testing.T) *artifact.Store {
		bucket := fmt.Sprintf("bucket-%d", n.Add(1))
		if err := backend.CreateBucket(bucket); err != nil {
			t.Fatal(err)
		}
		host := strings.TrimPrefix(server.URL, "http://")
		s, err := artifact.Open(t.Context(), "s3://"+bucket+"?endpoint=http://"+host+"&use_path_style=true&disable_https=true&region=us-east-1")
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
