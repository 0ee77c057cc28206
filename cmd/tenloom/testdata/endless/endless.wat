;; A handler that never returns, in a loop that calls nothing.
;;   wat2wasm endless.wat -o endless.wasm
(module
  (memory (export "memory") 1)
  (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 1024)
  (func (export "handle-redis-message") (param i32 i32) (result i32)
    (loop $for_ever
      (br $for_ever))
    unreachable))
