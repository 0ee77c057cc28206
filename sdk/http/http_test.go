package http_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sdk/hosttest"
	"github.com/tenloom/tenloom/sdk/http"
)

func TestDo(t *testing.T) {
	hosttest.Reset()
	hosttest.HandleHTTP(func(r http.Request) (http.Response, error) {
		if r.URL == "https://api.example/busy" {
			return http.Response{}, http.ErrTooManyRequests
		}
		return http.Response{Status: 404, Header: http.Header{{Name: "X-Method", Value: r.Method}, {Name: "x-first", Value: r.Header.Get("a")}}, Body: r.Body}, nil
	})
	for _, method := range []string{"", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
		r, err := http.Do(http.Request{Method: method, URL: "https://api.example/", Header: http.Header{{Name: "A", Value: "1"}, {Name: "a", Value: "2"}}, Body: []byte("body")})
		want := method
		if want == "" {
			want = "GET"
		}
		if err != nil || r.Status != 404 || r.Header.Get("x-method") != want || r.Header.Get("X-FIRST") != "1" || string(r.Body) != "body" {
			t.Errorf("%s: %+v, %v", method, r, err)
		}
	}
	if _, err := http.Do(http.Request{Method: "BREW", URL: "https://api.example/"}); !errors.Is(err, http.ErrMethod) {
		t.Errorf("unknown method: %v", err)
	}
	if _, err := http.Do(http.Request{URL: "https://api.example/busy"}); !errors.Is(err, http.ErrTooManyRequests) {
		t.Errorf("busy: %v", err)
	}
}

func TestErrorsHideSecrets(t *testing.T) {
	hosttest.Reset()
	_, err := http.Do(http.Request{URL: "https://user:secret@api.example/path?key=secret"})
	if !errors.Is(err, http.ErrDestinationNotAllowed) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "https://api.example/path") {
		t.Errorf("error %v", err)
	}
}

func ExampleDo() {
	hosttest.Reset()
	hosttest.HandleHTTP(func(r http.Request) (http.Response, error) {
		return http.Response{Status: 200, Body: []byte("you sent " + string(r.Body))}, nil
	})
	response, err := http.Do(http.Request{Method: "POST", URL: "https://api.example.com/orders", Body: []byte("2 books")})
	fmt.Println(response.Status, string(response.Body), err)
	// Output: 200 you sent 2 books <nil>
}
