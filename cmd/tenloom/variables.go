package main

import (
	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/secrets"
)

// variableFlags are where an application's variables come from, the first that has a name wins: --variable, then each --variables-file in
// order, then the environment.
type variableFlags struct{ values, files []string }

func (f *variableFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.values, "variable", nil, "value of an application variable: name=value, name=@file, @file.json or @file.toml")
	cmd.Flags().StringArrayVar(&f.files, "variables-file", nil, "file with values of application variables: .env, .json or .toml")
}

// providers reads what was given. A later --variable wins over an earlier one.
func (f variableFlags) providers() ([]secrets.Provider, error) {
	given := map[string]string{}
	for _, text := range f.values {
		one, err := secrets.ParseFlag(text)
		if err != nil {
			return nil, fail(exitUsage, "%w", err) // it names the flag
		}
		for name, value := range one {
			given[name] = value
		}
	}
	all := []secrets.Provider{secrets.Static(given)}
	for _, path := range f.files {
		one, err := secrets.File(path)
		if err != nil {
			return nil, fail(exitUsage, "--variables-file: %w", err)
		}
		all = append(all, one)
	}
	return append(all, secrets.Env(secrets.EnvPrefix, secrets.SpinEnvPrefix)), nil
}
