package secrets

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tenloom/tenloom/tenants"
)

// What Get and Render can fail with; their errors wrap one of these. The kinds are those of Spin's variables interface.
var (
	ErrInvalidName = errors.New("invalid variable name") // the name breaks the rule for keys
	ErrUndefined   = errors.New("undefined variable")    // the application declares no such variable
	ErrProvider    = errors.New("variable provider")     // a provider failed, or none has a required variable
)

// Variable is a variable that an application declares.
type Variable struct {
	Name        string
	Default     *string // used when no provider has the name; nil: none
	Required    bool    // somebody must provide it
	Secret      bool    // as declared; every Value is treated as a secret
	Description string
}

// Resolver finds the values of an application's variables, anew at each call. It does not change and is safe for concurrent use.
type Resolver struct {
	order     []Variable
	byName    map[string]Variable
	providers []Provider
}

// NewResolver resolves the declared variables from the providers: the first that has the name wins, then the default.
func NewResolver(vars []Variable, providers ...Provider) *Resolver {
	r := &Resolver{order: vars, byName: make(map[string]Variable, len(vars)), providers: providers}
	for _, v := range vars {
		r.byName[v.Name] = v
	}
	return r
}

// Get returns the value of a declared variable. Errors wrap ErrInvalidName, ErrUndefined or ErrProvider.
func (r *Resolver) Get(ctx context.Context, name string) (Value, error) {
	if err := tenants.CheckVariableKey(name); err != nil {
		return Value{}, fmt.Errorf("%w: %w", ErrInvalidName, err)
	}
	v, ok := r.byName[name]
	if !ok {
		return Value{}, fmt.Errorf("%w: the application declares no variable %.64q", ErrUndefined, name)
	}
	value, ok, err := r.find(ctx, v)
	if err != nil {
		return Value{}, err
	}
	if !ok {
		return Value{}, fmt.Errorf("%w: %w", ErrProvider, &MissingError{Names: []string{name}})
	}
	return value, nil
}

func (r *Resolver) find(ctx context.Context, v Variable) (Value, bool, error) {
	for _, p := range r.providers {
		value, ok, err := p.Lookup(ctx, v.Name)
		if err != nil {
			return Value{}, false, fmt.Errorf("%w %s: look up %q: %w", ErrProvider, p, v.Name, err)
		}
		if ok {
			return value, true, nil
		}
	}
	if v.Default != nil {
		return NewValue(*v.Default), true, nil
	}
	return Value{}, false, nil
}

// Render puts the values of variables, as they are now, in place of their names. What it returns may hold secrets. Errors are those of
// Get.
func (r *Resolver) Render(ctx context.Context, t tenants.Template) (string, error) {
	return t.Render(func(name string) (string, error) {
		v, err := r.Get(ctx, name)
		return v.Reveal(), err
	})
}

// Check looks every declared variable up and reports all trouble at once: the providers that failed, and a *MissingError with every
// variable that has neither a value nor a default.
func (r *Resolver) Check(ctx context.Context) error {
	var faults []error
	var missing MissingError
	for _, v := range r.order {
		_, ok, err := r.find(ctx, v)
		switch {
		case err != nil:
			faults = append(faults, err)
		case !ok:
			missing.Names = append(missing.Names, v.Name)
		}
	}
	if missing.Names != nil {
		faults = append(faults, &missing)
	}
	return errors.Join(faults...)
}

// MissingError names required variables that no provider has and no default fills.
type MissingError struct {
	Names []string // in the order declared
}

func (e *MissingError) Error() string {
	noun := "variable"
	if len(e.Names) > 1 {
		noun = "variables"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "no value for required %s %s", noun, strings.Join(e.Names, ", "))
	for _, name := range e.Names {
		fmt.Fprintf(&b, "\n  give it with --variable %s=value or %s%s", name, EnvPrefix, strings.ToUpper(name))
	}
	return b.String()
}
