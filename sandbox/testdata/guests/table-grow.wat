;; Grows its table until that is refused, and traps where the bound is another than the platform's.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "handle-redis-message") (param i32 i32) (result i32)
    (loop $more (br_if $more (i32.ne (table.grow 0 (ref.null func) (i32.const 1)) (i32.const -1))))
    (if (i32.ne (table.size 0) (i32.const 65537)) (then unreachable))
    (i32.const 0)))
