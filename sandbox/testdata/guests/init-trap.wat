(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "handle-redis-message") (param i32 i32) (result i32) (i32.const 0))
  (func $broken (export "_initialize") unreachable) (func (export "_start") (call $exit (i32.const 9))))
