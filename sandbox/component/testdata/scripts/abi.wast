;; Lifting and lowering: signatures, and options that they need.

(component definition
  (import "f" (func $f (param "s" string) (result (list u16))))
  (core module $libc (memory (export "m") 1) (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $libc (instantiate $libc))
  (core func $lowered (canon lower (func $f) string-encoding=utf16 (memory $libc "m") (realloc (func $libc "realloc"))))
  (core module $main
    (import "" "f" (func (param i32 i32 i32)))
    (func (export "g") (param i32 i32) (result i32) unreachable)
    (func (export "g-post") (param i32)))
  (core instance $main (instantiate $main (with "" (instance (export "f" (func $lowered))))))
  (func (export "g") (param "s" string) (result string)
    (canon lift (core func $main "g") (memory $libc "m") (realloc (func $libc "realloc")) (post-return (func $main "g-post")))))

(assert_invalid (component (import "f" (func $f (param "s" string))) (core func (canon lower (func $f)))) "canonical option `memory` is required")
(assert_invalid
  (component
    (import "f" (func $f (result string)))
    (core module $m (memory (export "m") 1)) (core instance $i (instantiate $m))
    (core func (canon lower (func $f) (memory $i "m"))))
  "canonical option `realloc` is required")
(assert_invalid
  (component
    (import "f" (func $f (result u8 )))
    (core module $m (func (export "p"))) (core instance $i (instantiate $m))
    (core func (canon lower (func $f) (post-return (func $i "p")))))
  "canonical option `post-return` cannot be specified for lowerings")
(assert_invalid
  (component (core module $m (func (export "f") (param i64))) (core instance $i (instantiate $m)) (func (param "x" u32) (canon lift (core func $i "f"))))
  "do not match")
(assert_invalid
  (component
    (core module $m (func (export "f") (result i32) unreachable)) (core instance $i (instantiate $m))
    (func (result (tuple u8 u8)) (canon lift (core func $i "f"))))
  "canonical option `memory` is required")
(assert_invalid
  (component
    (core module $m (memory (export "m") 1) (func (export "f") (result i32) unreachable) (func (export "p") (param i64)))
    (core instance $i (instantiate $m))
    (func (result (tuple u8 u8)) (canon lift (core func $i "f") (memory $i "m") (post-return (func $i "p")))))
  "canonical option `post-return` uses a core function with an incorrect signature")
(assert_invalid
  (component (import "f" (func $f)) (core func (canon lower (func $f) string-encoding=utf8 string-encoding=utf16)))
  "conflicts with option")
(assert_invalid
  (component (import "f" (func $f)) (core func (canon lower (func $f) async)))
  "requires an async function type")

;; async: a callback, and what it may call

(component definition
  (import "f" (func $f async (param "x" u32)))
  (core module $libc (memory (export "m") 1))
  (core instance $libc (instantiate $libc))
  (core func $lowered (canon lower (func $f) async (memory $libc "m")))
  (core func $return (canon task.return (result u8)))
  (core func $get (canon context.get i32 0))
  (core func $set (canon context.set i32 1))
  (core func $new (canon waitable-set.new))
  (core func $poll (canon waitable-set.poll (memory $libc "m")))
  (core func $join (canon waitable.join))
  (core func $drop (canon subtask.drop))
  (core module $main
    (import "" "f" (func (param i32) (result i32)))
    (import "" "return" (func (param i32)))
    (import "" "get" (func (result i32)))
    (import "" "set" (func (param i32)))
    (import "" "new" (func (result i32)))
    (import "" "poll" (func (param i32 i32) (result i32)))
    (import "" "join" (func (param i32 i32)))
    (import "" "drop" (func (param i32)))
    (func (export "g") (result i32) unreachable)
    (func (export "call-back") (param i32 i32 i32) (result i32) unreachable))
  (core instance $main (instantiate $main (with "" (instance
    (export "f" (func $lowered)) (export "return" (func $return)) (export "get" (func $get)) (export "set" (func $set))
    (export "new" (func $new)) (export "poll" (func $poll)) (export "join" (func $join)) (export "drop" (func $drop))))))
  (func (export "g") async (result u8) (canon lift (core func $main "g") async (callback (func $main "call-back")))))
