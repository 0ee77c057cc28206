package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/tenants/endpoint"
)

// redisFlags name the main Redis, and what its address cannot say: addresses are written by tenants, too, and name no files.
type redisFlags struct {
	url           string
	ca, cert, key string // files
}

func (f *redisFlags) add(cmd *cobra.Command, usage string) {
	flags := cmd.Flags()
	flags.StringVar(&f.url, "redis", os.Getenv("TENLOOM_REDIS"), usage+" (TENLOOM_REDIS)")
	flags.StringVar(&f.ca, "redis-ca", "", "PEM file of the authority that issued the Redis server's certificate (default: the system's)")
	flags.StringVar(&f.cert, "redis-cert", "", "PEM file of the certificate to show to the Redis server")
	flags.StringVar(&f.key, "redis-key", "", "PEM file of that certificate's key")
}

// options are nil where no Redis was given.
func (f *redisFlags) options() (*endpoint.Options, error) {
	files := f.ca + f.cert + f.key
	if f.url == "" {
		if files != "" {
			return nil, fail(exitUsage, "--redis-ca, --redis-cert and --redis-key are for a Redis of yours\n  name it with --redis rediss://HOST:PORT")
		}
		return nil, nil
	}
	main, err := f.parse()
	if err == nil {
		err = lookup(context.Background(), main)
	}
	if err != nil {
		return nil, fail(exitUsage, "--redis: %w", err)
	}
	return main, nil
}

// parse reads the address and the files.
func (f *redisFlags) parse() (*endpoint.Options, error) {
	main, err := endpoint.Parse(f.url)
	if err == nil && f.ca+f.cert+f.key != "" {
		main, err = f.secured(main)
	}
	return main, err
}

func (f *redisFlags) secured(main *endpoint.Options) (*endpoint.Options, error) {
	var t endpoint.TLS
	for _, one := range []struct {
		what, file string
		pem        *[]byte
	}{{"authority", f.ca, &t.CA}, {"certificate", f.cert, &t.Cert}, {"key", f.key, &t.Key}} {
		if one.file == "" {
			continue
		}
		text, err := os.ReadFile(one.file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", one.what, err)
		}
		*one.pem = text
	}
	plain := false
	secured, err := main.With(func(c *endpoint.Config) {
		plain = c.TLS == nil
		c.TLS = &t
	})
	if plain {
		return nil, fmt.Errorf("%s is not TLS, and certificates are given for it\n  write rediss in the place of redis", main)
	}
	return secured, err
}
