;; Has the host write to its memory. A payload that begins with a page number from 2 to 31 fills that page of 4 KiB with random bytes; one that
;; begins with 0 answers ok where all of these pages are zero, and an error where one is not.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 2 2)
  (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 2048)
  (func (export "handle-redis-message") (param $p i32) (param $n i32) (result i32)
    (local $page i32) (local $at i32)
    (local.set $page (i32.load8_u (local.get $p)))
    (if (local.get $page)
      (then (drop (call $random (i32.shl (local.get $page) (i32.const 12)) (i32.const 4096))) (return (i32.const 64))))
    (local.set $at (i32.const 8192))
    (loop $next
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (return (i32.const 72))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 131072))))
    i32.const 64)
  (data (i32.const 72) "\01\01"))
