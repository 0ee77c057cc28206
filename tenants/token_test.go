package tenants_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

func TestTokenText(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		made := tenants.NewTokenText()
		text := made.Reveal()
		if len(text) != 53 || !strings.HasPrefix(text, "tlm_") || seen[text] {
			t.Fatalf("bad or repeated token text of %d characters", len(text))
		}
		seen[text] = true
		read, err := tenants.ParseTokenText(text)
		if err != nil || read.Hash() != made.Hash() {
			t.Fatalf("ParseTokenText: %v", err)
		}
		if !strings.Contains(text, made.Hint()) || len(made.Hint()) != 4 {
			t.Fatalf("hint %q", made.Hint())
		}
	}
}

// Every slip of one character is found, and no error repeats what was given.
func TestTokenTextRefuses(t *testing.T) {
	good := tenants.NewTokenText().Reveal()
	bad := []string{"", "tlm_", good[:52], good + "x", " " + good, strings.ToUpper(good[:4]) + good[4:], strings.Repeat("x", 1<<20)}
	for i := 4; i < len(good); i++ {
		c := "0"
		if good[i] == '0' {
			c = "1"
		}
		bad = append(bad, good[:i]+c+good[i+1:], good[:i]+"-"+good[i+1:])
	}
	for _, s := range bad {
		if _, err := tenants.ParseTokenText(s); err == nil || len(s) > 4 && strings.Contains(err.Error(), s) {
			t.Errorf("ParseTokenText(%.60q) = %v", s, err)
		}
	}
}

func TestNothingSecretPrints(t *testing.T) {
	text := tenants.NewTokenText()
	secret := tenants.Secret{Name: "password", Sealed: tenants.Sealed("hunter2")}
	conn := tenants.Connection{Name: "main", Login: tenants.Sealed("hunter2")}
	token := tenants.Token{Hash: text.Hash()}
	for _, v := range []any{text, &text, secret, &secret, conn, secret.Sealed, struct{ T any }{text}, []any{text, secret}} {
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		all := string(j)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			all += fmt.Sprintf(verb, v)
		}
		for _, leak := range []string{text.Reveal(), text.Reveal()[4:20], "hunter2", fmt.Sprintf("%x", "hunter2"), "104 117"} {
			if strings.Contains(all, leak) {
				t.Errorf("%T shows its secret: %s", v, all)
			}
		}
	}
	if j, _ := json.Marshal(token); strings.Contains(string(j), text.Hash().String()) {
		t.Errorf("a token shows its hash: %s", j)
	}
}

func TestTokenGood(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for name, row := range map[string]struct {
		token tenants.Token
		ok    bool
	}{
		"fresh":         {tenants.Token{Expires: now.Add(1)}, true},
		"at its end":    {tenants.Token{Expires: now}, false},
		"without end":   {tenants.Token{}, false},
		"revoked":       {tenants.Token{Expires: now.Add(time.Hour), Revoked: now.Add(-1)}, false},
		"revoked ahead": {tenants.Token{Expires: now.Add(time.Hour), Revoked: now.Add(time.Minute)}, false}, // the clock went back
	} {
		if err := row.token.Good(now); (err == nil) != row.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
