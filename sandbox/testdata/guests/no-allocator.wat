(module
  (memory (export "memory") 1)
  (func (export "handle-redis-message") (param i32 i32) (result i32) (i32.const 0)))
