;; Resources are generative; what is exported must be named.

(component definition
  (component $makes (type $r (resource (rep i32))) (export "r" (type $r)))
  (component $same (import "a" (type $a (sub resource))) (import "b" (type (eq $a))))
  (instance $one (instantiate $makes))
  (instance (instantiate $same (with "a" (type $one "r")) (with "b" (type $one "r")))))
(assert_invalid
  (component
    (component $makes (type $r (resource (rep i32))) (export "r" (type $r)))
    (component $same (import "a" (type $a (sub resource))) (import "b" (type (eq $a))))
    (instance $one (instantiate $makes))
    (instance $two (instantiate $makes))
    (instance (instantiate $same (with "a" (type $one "r")) (with "b" (type $two "r")))))
  "resource types are not the same")
(assert_invalid
  (component
    (type $i (instance (export "r" (type $r (sub resource))) (export "f" (func (param "x" (own $r))))))
    (import "one" (instance $one (type $i)))
    (import "two" (instance $two (type $i)))
    (component $c (import "r" (type $r (sub resource))) (import "f" (func (param "x" (own $r)))))
    (instance (instantiate $c (with "r" (type $one "r")) (with "f" (func $two "f")))))
  "resource types are not the same")

;; a resource that comes back through another component is still the same

(component definition
  (type $r (resource (rep i32)))
  (component $through (import "in" (type $t (sub resource))) (export "out" (type $t)))
  (instance $i (instantiate $through (with "in" (type $r))))
  (alias export $i "out" (type $back))
  (core func (canon resource.new $back))
  (core func (canon resource.rep $back)))
(assert_invalid
  (component (import "r" (type $r (sub resource))) (core func (canon resource.new $r)))
  "not a local resource")
(assert_invalid (component (type $t u8) (core func (canon resource.drop $t))) "is not a resource type")

;; names before use

(component definition
  (type $point (record (field "x" u8)))
  (import "point" (type $named (eq $point)))
  (import "f" (func (param "p" (list $named)))))
(assert_invalid
  (component (type $point (record (field "x" u8))) (import "f" (func (param "p" (list $point)))))
  "func not valid to be used as import")
(assert_invalid
  (component (type $e (enum "a")) (type $o (option $e)) (export "o" (type $o)))
  "type not valid to be used as export")
(assert_invalid
  (component
    (core module $m (func (export "f") (result i32) unreachable))
    (core instance $i (instantiate $m))
    (type $r (resource (rep i32)))
    (export "r" (type $r))
    (func $f (result (own $r)) (canon lift (core func $i "f")))
    (export "f" (func $f)))
  "func not valid to be used as export")
(component definition
  (core module $m (func (export "f") (result i32) unreachable))
  (core instance $i (instantiate $m))
  (type $r (resource (rep i32)))
  (export $named "r" (type $r))
  (func $f (result (own $named)) (canon lift (core func $i "f")))
  (export "f" (func $f)))

;; a name that the outer component gives reaches through an instantiation

(component definition
  (type $p (record (field "x" u8)))
  (import "p" (type $named (eq $p)))
  (component $c
    (type $p (record (field "x" u8)))
    (import "p" (type $named (eq $p)))
    (type $l (record (field "all" (list $named))))
    (export "l" (type $l)))
  (instance $i (instantiate $c (with "p" (type $named))))
  (export "l" (type $i "l")))
