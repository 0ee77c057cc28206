package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// thisProgram is the file that runs, even where another has taken its name since.
func thisProgram() (string, error) { return "/proc/self/exe", nil }

// separate starts a process in a group of its own, which dies with the thread that started it and is killed whole.
func separate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); !errors.Is(err, unix.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
}

// Limits of a process that compiles, beside time and memory.
const (
	compileFiles    = 64      // descriptors
	compileFileSize = 1 << 30 // bytes of each file it writes
	compileNice     = 10      // guests go first; at 19 a busy machine would let it starve until its deadline
)

// confine takes on an order's limits. The kernel holds them: memory that is not there ends the process, so does its processor time.
func confine(o order) error {
	has, err := dataBytes()
	if err != nil {
		return err
	}
	seconds := uint64(o.processorTime().Seconds())
	for _, l := range []struct {
		what int
		most uint64
	}{
		{unix.RLIMIT_DATA, has + uint64(o.Memory)}, // Go reserves far more address space than it uses, which is not counted here as it is in RLIMIT_AS
		{unix.RLIMIT_CPU, seconds},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NOFILE, compileFiles},
		{unix.RLIMIT_FSIZE, compileFileSize},
	} {
		if err := lower(l.what, l.most); err != nil {
			return err
		}
	}
	// For all threads: with C code in the program (the race detector) Go cannot, and this one alone has to do. It gains nothing that it could use.
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
	}
	// The group is the process with all of its threads; PRIO_PROCESS would be one thread.
	if is, err := unix.Getpriority(unix.PRIO_PGRP, 0); err == nil && 20-is < compileNice {
		if err := unix.Setpriority(unix.PRIO_PGRP, 0, compileNice); err != nil {
			return fmt.Errorf("nice: %w", err)
		}
	}
	return nil
}

// lower sets a limit where the one in force is higher.
func lower(what int, most uint64) error {
	var is unix.Rlimit
	if err := unix.Getrlimit(what, &is); err != nil {
		return fmt.Errorf("limit %d: %w", what, err)
	}
	most = min(most, is.Max)
	if err := unix.Setrlimit(what, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("limit %d: %w", what, err)
	}
	return nil
}

// dataBytes is what RLIMIT_DATA counts of this process already.
func dataBytes() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(status, []byte("\nVmData:"))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 2 {
		return 0, errors.New("/proc/self/status has no VmData")
	}
	kib, err := strconv.ParseUint(string(fields[0]), 10, 64)
	return kib << 10, err
}

// peak is the most memory that an ended process had at once, in bytes.
func peak(state *os.ProcessState) int64 {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		return int64(usage.Maxrss) << 10
	}
	return 0
}
