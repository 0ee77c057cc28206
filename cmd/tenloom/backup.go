package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

func backupCommand(g *globals) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write everything that the platform's store holds into a file", Args: wantArgs(1, 1),
		Long: `Write everything that the platform's store holds into a file, as of one moment. With etcd the server may run meanwhile; the file store belongs to
one process, so stop the server first. Artifacts are not in it, nor is the key that secrets are sealed with: keep both beside it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.read()
			if err != nil {
				return err
			}
			return withRecords(cmd.Context(), c, func(records kv.Store) error { return backup(cmd, g, records, args[0]) })
		},
	}
	f.add(cmd)
	return cmd
}

// withRecords opens the configured store for one piece of work.
func withRecords(ctx context.Context, c *configuration, work func(kv.Store) error) error {
	records, err := openRecords(ctx, c)
	if errors.Is(err, kv.ErrLocked) {
		return fail(exitConflict, "%w\n  stop the server first", err)
	}
	if err != nil {
		return err
	}
	return errors.Join(work(records), records.Close())
}

func backup(cmd *cobra.Command, g *globals, records kv.Store, path string) error {
	s, err := store.Open(cmd.Context(), records)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".backup-") // its mode is 0600
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	defer os.Remove(f.Name())
	sum, err := s.Backup(cmd.Context(), f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	g.hint(cmd, "%s in %s. Keep the seal key and the artifacts beside it.", count(sum.Records, "record"), path)
	return nil
}

func restoreCommand(g *globals) *cobra.Command {
	var f configFlags
	var check bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Write a backup into an empty store", Args: wantArgs(1, 1),
		Long: "Write a backup into an empty store, once all of it was read and found sound. The server is started after that.",
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return fail(exitUsage, "read backup: %w", err)
			}
			defer file.Close()
			if check {
				return checkBackup(cmd, g, file)
			}
			c, err := f.read()
			if err != nil {
				return err
			}
			return withRecords(cmd.Context(), c, func(records kv.Store) error {
				sum, err := store.Restore(cmd.Context(), records, file)
				return restored(cmd, g, sum, err)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "read the backup alone, and tell what it holds")
	return cmd
}

func checkBackup(cmd *cobra.Command, g *globals, from io.Reader) error {
	sum, err := store.CheckBackup(from)
	return restored(cmd, g, sum, err)
}

func restored(cmd *cobra.Command, g *globals, sum store.Summary, err error) error {
	switch {
	case errors.Is(err, store.ErrNotEmpty):
		return fail(exitConflict, "%w\n  --state DIR names another place", err)
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	}
	g.hint(cmd, "%s, made at %s.", count(sum.Records, "record"), sum.Made.Local().Format("2006-01-02 15:04:05"))
	return nil
}
