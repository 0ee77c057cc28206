;; A handler that sleeps for a second (poll_oneoff on the monotonic clock) and answers ok.
;;   wat2wasm sleep.wat -o sleep.wasm
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "handle-redis-message") (param i32 i32) (result i32)
    ;; one subscription at 64: userdata 0, tag 0 (clock), clock id 1, timeout 1e9 ns, precision 0, flags 0 (relative)
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 1000000000))
    (drop (call $poll (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 512)))
    i32.const 8))
