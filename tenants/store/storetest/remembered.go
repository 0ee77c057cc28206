package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// testUploads: what a tenant has uploaded is known for a day, to that tenant, and no more of it than the bound.
func testUploads(t *testing.T, open Open) {
	s, k := fresh(t, open)
	ctx := t.Context()
	do(t, s, func(tx *store.Tx) error { return tx.CreateTenant(ctx, tenant("other"), tenants.DefaultPolicy()) })
	do(t, s, func(tx *store.Tx) error { return tx.Claim(ctx, acme, now, digest(1), digest(2)) })
	day := store.RememberedFor
	do(t, s, func(tx *store.Tx) error { return tx.Claim(ctx, acme, now.Add(day-time.Hour), digest(2)) })
	for _, row := range []struct {
		of   tenants.ID
		n    int
		at   time.Time
		want bool
	}{
		{acme, 1, now, true}, {acme, 1, now.Add(day - 1), true}, {acme, 1, now.Add(day), false}, {acme, 2, now.Add(day), true},
		{acme, 3, now, false}, {"other", 1, now, false}, {"nobody", 1, now, false},
	} {
		if got, err := s.Claimed(ctx, row.of, digest(row.n), row.at); err != nil || got != row.want {
			t.Errorf("%s, upload %d at %v: %v %v", row.of, row.n, row.at.Sub(now), got, err)
		}
	}
	fails(t, s, store.ErrNotFound, func(tx *store.Tx) error { return tx.Claim(ctx, "nobody", now, digest(1)) })
	fails(t, s, store.ErrQuota, func(tx *store.Tx) error { return tx.Claim(ctx, acme, now, make([]string, store.MaxClaims+1)...) })
	if n, err := s.Forget(ctx, now.Add(day)); n != 1 || err != nil {
		t.Errorf("forgot %d, %v", n, err)
	}
	if got, err := s.Claimed(ctx, acme, digest(2), now.Add(day)); err != nil || !got {
		t.Errorf("what was claimed anew: %v %v", got, err)
	}
	if n, err := s.Forget(ctx, now.Add(3*day)); n != 1 || err != nil {
		t.Errorf("forgot %d, %v", n, err)
	}
	for _, prefix := range []string{"l/upload/", "x/upload/"} {
		if left, err := k.List(ctx, kv.Range{Prefix: prefix}); err != nil || len(left) > 0 {
			t.Errorf("%s: %d are left, %v", prefix, len(left), err)
		}
	}
}

// testAnswers: a request is begun once, its answer is kept, who is lost gives way, and there is a bound.
func testAnswers(t *testing.T, open Open) {
	s, k := fresh(t, open)
	ctx := t.Context()
	begin := func(of tenants.ID, name byte, owner string, at time.Time) (have store.Answer, known bool) {
		t.Helper()
		_, err := s.Update(ctx, func(tx *store.Tx) (err error) {
			have, known, err = tx.BeginAnswer(ctx, of, store.AnswerName{name}, at, store.Answer{Owner: owner, Until: at.Add(time.Minute)})
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return have, known
	}
	put := func(of tenants.ID, name byte, owner string, a *store.Answer) {
		t.Helper()
		do(t, s, func(tx *store.Tx) error { return tx.PutAnswer(ctx, of, store.AnswerName{name}, owner, a) })
	}
	for _, of := range []tenants.ID{acme, ""} {
		if _, known := begin(of, 1, "a", now); known {
			t.Error("it is known before it begins")
		}
		if have, known := begin(of, 1, "b", now.Add(59*time.Second)); !known || have.Done || have.Owner != "a" {
			t.Errorf("while it runs: %+v %v", have, known)
		}
		if _, known := begin(of, 1, "b", now.Add(time.Minute)); known {
			t.Error("who is lost does not give way")
		}
		put(of, 1, "a", &store.Answer{Owner: "a", Done: true, Status: 500})
		put(of, 1, "b", &store.Answer{Owner: "b", Done: true, Status: 201, Body: []byte("made"), Sum: []byte{7}})
		put(of, 1, "b", nil)
		if have, known := begin(of, 1, "c", now.Add(time.Hour)); !known || have.Status != 201 || string(have.Body) != "made" || have.Sum[0] != 7 {
			t.Errorf("when it is done: %+v %v", have, known)
		}
		if _, known := begin(of, 1, "c", now.Add(2*store.RememberedFor)); known {
			t.Error("it is known after its time")
		}
		put(of, 1, "c", nil)
		if _, known := begin(of, 1, "d", now.Add(2*store.RememberedFor)); known {
			t.Error("it is known though it may be tried again")
		}
	}
	fails(t, s, store.ErrQuota, func(tx *store.Tx) error {
		return tx.PutAnswer(ctx, acme, store.AnswerName{1}, "d", &store.Answer{Done: true, Body: make([]byte, store.MaxAnswer+1)})
	})

	// Sixteen at once: one of them begins.
	var all sync.WaitGroup
	began := make(chan struct{}, 16)
	for range 16 {
		all.Go(func() {
			var known bool
			_, err := s.Update(ctx, func(tx *store.Tx) (err error) {
				_, known, err = tx.BeginAnswer(ctx, acme, store.AnswerName{2}, now, store.Answer{Owner: "x", Until: now.Add(time.Hour)})
				return err
			})
			switch {
			case err != nil && !errors.Is(err, store.ErrContended):
				t.Error(err)
			case err == nil && !known:
				began <- struct{}{}
			}
		})
	}
	all.Wait()
	if len(began) != 1 {
		t.Errorf("%d began", len(began))
	}

	const most, slack = 1000, 500
	for i := range most + slack {
		do(t, s, func(tx *store.Tx) error {
			_, _, err := tx.BeginAnswer(ctx, acme, store.AnswerName{3, byte(i), byte(i >> 8)}, now.Add(time.Duration(i)*time.Second), store.Answer{Owner: "x"})
			return err
		})
	}
	for _, prefix := range []string{"l/answer/acme/", "x/answer/acme/"} {
		n := 0
		for after := ""; ; {
			some, err := k.List(ctx, kv.Range{Prefix: prefix, After: after, KeysOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(some) == 0 {
				break
			}
			n, after = n+len(some), some[len(some)-1].Key
		}
		if n < most/2 || n > most+slack*4/5 {
			t.Errorf("%s: %d are kept", prefix, n)
		}
	}
	last := most + slack - 1
	if _, known := begin(acme, 2, "y", now.Add(time.Minute)); known {
		t.Error("the oldest is not what was forgotten")
	}
	var known bool
	do(t, s, func(tx *store.Tx) (err error) {
		_, known, err = tx.BeginAnswer(ctx, acme, store.AnswerName{3, byte(last), byte(last >> 8)}, now, store.Answer{})
		return err
	})
	if known {
		t.Error("an owner that named no time counts as running")
	}
}
