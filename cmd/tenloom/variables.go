package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/secrets"
)

// variableFlags are where an application's variables come from, the first that has a name wins: --variable, then each --variables-file and each
// --variables-dir in order, then the providers of Spin's runtime configuration, then the environment.
type variableFlags struct {
	values, files, dirs []string
	runtime             string
}

func (f *variableFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.values, "variable", nil, "value of an application variable: name=value, name=@file, @file.json or @file.toml")
	cmd.Flags().StringArrayVar(&f.files, "variables-file", nil, "file with values of application variables: .env, .json or .toml")
	cmd.Flags().StringArrayVar(&f.dirs, "variables-dir", nil, "folder with a file for each variable, read again when it changes")
	cmd.Flags().StringVar(&f.runtime, "runtime-config-file", runtimeConfigFile(), "Spin's runtime configuration, for its variables_provider: static, env, vault (RUNTIME_CONFIG_FILE)")
}

// providers reads what was given. A later --variable wins over an earlier one. What they begin ends with stop.
func (f variableFlags) providers(log *slog.Logger) (all []secrets.Provider, stop func(), err error) {
	given := map[string]string{}
	for _, text := range f.values {
		one, err := secrets.ParseFlag(text)
		if err != nil {
			return nil, nil, fail(exitUsage, "%w", err) // it names the flag
		}
		for name, value := range one {
			given[name] = value
		}
	}
	all = append(all, secrets.Static(given))
	for _, path := range f.files {
		one, err := secrets.File(path)
		if err != nil {
			return nil, nil, fail(exitUsage, "--variables-file: %w", err)
		}
		all = append(all, one)
	}
	for _, path := range f.dirs {
		one, err := secrets.Folder(path)
		if err != nil {
			return nil, nil, fail(exitUsage, "--variables-dir: %w", err)
		}
		all = append(all, one)
	}
	stop = func() {}
	if f.runtime != "" {
		more, end, err := readRuntimeConfig(f.runtime, log)
		if err != nil {
			return nil, nil, fail(exitUsage, "--runtime-config-file: %w", err)
		}
		all, stop = append(all, more...), end
	}
	return append(all, secrets.Env(secrets.EnvPrefix, secrets.SpinEnvPrefix)), stop, nil
}
