(module
  (memory (export "memory") 1)
  (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "handle-redis-message") (param i32 i32) (result i32) (i32.const 0))
  (func (export "fermyon:spin/inbound-redis#handle-message") (param i32 i32) (result i32) (i32.const 0)))
