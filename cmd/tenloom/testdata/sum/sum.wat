;; A handler that reads its message and nothing else: the least that a guest can do. Its allocator answers the same place each time, so a
;; caller that never resets it may call it for ever.
;;   wat2wasm sum.wat -o sum.wasm
(module
  (memory (export "memory") 1)
  (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  ;; sums 8-byte words, leaves the sum at 16, answers ok (two zero bytes at 8)
  (func (export "handle-redis-message") (param $ptr i32) (param $len i32) (result i32)
    (local $sum i64) (local $end i32)
    (local.set $end (i32.add (local.get $ptr) (i32.and (local.get $len) (i32.const -8))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $ptr) (local.get $end)))
        (local.set $sum (i64.add (local.get $sum) (i64.load (local.get $ptr))))
        (local.set $ptr (i32.add (local.get $ptr) (i32.const 8)))
        (br $next)))
    (i64.store (i32.const 16) (local.get $sum))
    i32.const 8))
