;; Instances: arguments must be what imports ask for; aliases, outer aliases; exports grow the index spaces.

(component definition
  (component $c
    (import "f" (func (param "x" u8) (result string)))
    (import "i" (instance (export "g" (func)) (type $u u8) (export "t" (type (eq $u))))))
  (import "f" (func $f (param "x" u8) (result string)))
  (import "i" (instance $i (export "more" (func)) (type $u u8) (export "t" (type (eq $u))) (export "g" (func))))
  (instance (instantiate $c (with "f" (func $f)) (with "i" (instance $i)) (with "unasked" (func $f)))))

(assert_invalid
  (component (component $c (import "f" (func))) (instance (instantiate $c)))
  "missing import named `f`")
(assert_invalid
  (component
    (component $c (import "f" (func (param "x" u8))))
    (import "f" (func $f (param "y" u8)))
    (instance (instantiate $c (with "f" (func $f)))))
  "type mismatch")
(assert_invalid
  (component
    (component $c (import "f" (func)))
    (import "f" (func $f async))
    (instance (instantiate $c (with "f" (func $f)))))
  "type mismatch")
(assert_invalid
  (component
    (component $c (import "i" (instance (export "g" (func)))))
    (import "i" (instance $i (export "h" (func))))
    (instance (instantiate $c (with "i" (instance $i)))))
  "missing expected export `g`")
(assert_invalid
  (component
    (component $c (import "i" (instance)))
    (component $d)
    (instance (instantiate $c (with "i" (component $d)))))
  "expected instance, found component")
(assert_invalid
  (component
    (component $c (type $u u8) (import "t" (type (eq $u))))
    (type $t u16)
    (instance (instantiate $c (with "t" (type $t)))))
  "type mismatch")
(assert_invalid
  (component (component $c) (component $d) (instance $i (instantiate $d))
    (instance (instantiate $c (with "a" (instance $i)) (with "a" (instance $i)))))
  "conflicts with previous argument")

;; components as arguments: imports the other way round

(component definition
  (component $takes (import "c" (component (import "a" (func)) (import "b" (func)) (export "r" (func)))))
  (component $less (import "a" (func $f)) (export "r" (func $f)) (export "s" (func $f)))
  (instance (instantiate $takes (with "c" (component $less)))))
(assert_invalid
  (component
    (component $takes (import "c" (component (import "a" (func)) (export "r" (func)))))
    (component $more (import "a" (func $f)) (import "b" (func)) (export "r" (func $f)))
    (instance (instantiate $takes (with "c" (component $more)))))
  "missing expected import `b`")

;; core instances

(component definition
  (core module $a (memory (export "m") 2 4) (func (export "f") (param i32)) (global (export "g") (mut i64) (i64.const 1)))
  (core module $b (import "x" "m" (memory 1 5)) (import "x" "f" (func (param i32))) (import "y" "g" (global (mut i64))))
  (core instance $i (instantiate $a))
  (core instance $bag (export "g" (global $i "g")))
  (core instance (instantiate $b (with "x" (instance $i)) (with "y" (instance $bag)))))
(assert_invalid
  (component
    (core module $a (memory (export "m") 1))
    (core module $b (import "x" "m" (memory 1 5)))
    (core instance $i (instantiate $a))
    (core instance (instantiate $b (with "x" (instance $i)))))
  "mismatch in memory limits")
(assert_invalid
  (component
    (core module $a (global (export "g") i32 (i32.const 0)))
    (core module $b (import "x" "g" (global (mut i32))))
    (core instance $i (instantiate $a))
    (core instance (instantiate $b (with "x" (instance $i)))))
  "expected global type")
(assert_invalid
  (component (core module $b (import "x" "f" (func))) (core instance (instantiate $b)))
  "missing module instantiation argument")
(assert_invalid
  (component
    (core module $a) (core module $b (import "x" "f" (func)))
    (core instance $i (instantiate $a))
    (core instance (instantiate $b (with "x" (instance $i)))))
  "does not export an item named `f`")
(assert_invalid
  (component (core module $a) (core instance $i (instantiate $a)) (alias core export $i "f" (core func)))
  "core instance 0 has no export named `f`")
(assert_invalid
  (component (core module $a (memory (export "m") 1)) (core instance $i (instantiate $a)) (alias core export $i "m" (core func)))
  "is not a func")

;; exports are definitions of their own

(component definition
  (import "f" (func $f))
  (export "g" (func $f))
  (export "h" (func 1)))
(assert_invalid
  (component (import "f" (func $f)) (export "g" (func $f)) (export "h" (func 2)))
  "index out of bounds")

;; outer aliases

(component definition $top
  (core module $m)
  (type $t (record (field "a" u8)))
  (component $c)
  (component
    (alias outer $top $m (core module $m2))
    (core instance (instantiate $m2))
    (alias outer $top $t (type))
    (alias outer $top $c (component $c2))
    (instance (instantiate $c2))))
(assert_invalid
  (component $top (import "r" (type $r (sub resource))) (type $l (list (own $r))) (component (alias outer $top $l (type))))
  "transitively refers to resources")
(assert_invalid
  (component $top
    (import "r" (type $r (sub resource)))
    (type $i (instance (export "q" (type (eq $r)))))
    (component (alias outer $top $i (type))))
  "transitively refers to resources")
(assert_invalid (component (alias outer 0 0 (type))) "index out of bounds")
(assert_invalid (component (component (alias outer 2 0 (type)))) "invalid outer alias count")

;; a type for an export: less is fine, more is not

(component definition
  (import "i" (instance $i (export "f" (func)) (export "g" (func))))
  (export "less" (instance $i) (instance (export "f" (func)))))
(assert_invalid
  (component (import "i" (instance $i (export "f" (func)))) (export "more" (instance $i) (instance (export "g" (func)))))
  "ascribed type of export is not compatible")
