;; Type definitions: what they are made of, their bounds, and what may name them.

(component definition
  (type $p (record (field "x" s32) (field "y" s32)))
  (type $s (variant (case "dot") (case "line" $p) (case "text" string)))
  (type $e (enum "low" "high"))
  (type $f (flags "r" "w" "x"))
  (type $m (map string (list u8)))
  (type $t (tuple $p $s $e $f $m (option char) (result (list f64) (error $e)) (result)))
  (type (func (param "t" $t) (param "n" u64) (result $t)))
  (type (func async (result (stream u8))))
  (type (future)))

(assert_invalid (component (type (record (field "a" u8) (field "A" u8)))) "record field name `A` conflicts with previous field name `a`")
(assert_invalid (component (type (variant (case "a") (case "a" u8)))) "variant case name `a` conflicts with previous case name `a`")
(assert_invalid (component (type (enum "a" "A"))) "enum tag name `A` conflicts with previous tag name `a`")
(assert_invalid (component (type (flags "a_b"))) "flag name `a_b` is not in kebab case")
(assert_invalid (component (type (func (param "p" u8) (param "P" u8)))) "function parameter name `P` conflicts with previous parameter name `p`")
(assert_invalid (component (type (func (param "" u8)))) "function parameter name cannot be empty")
(assert_invalid (component (type (record (field "" u8)))) "record field name cannot be empty")
(assert_invalid (component (type (map f64 u8))) "the keys of a map")
(assert_invalid (component (type (stream char))) "`stream<char>` is not valid")
(assert_invalid (component (type (list 3))) "type index out of bounds")
(assert_invalid (component (type $f (func)) (type (list $f))) "type index 0 is not a defined type")
(assert_invalid (component (type $u u8) (type (own $u))) "is not a resource type")
(assert_invalid (component (type $u u8) (import "f" (func (type $u)))) "type index 0 is not a function type")
(assert_invalid (component (type $u u8) (import "i" (instance (type $u)))) "type index 0 is not an instance type")
(assert_invalid
  (component (import "r" (type $r (sub resource))) (type (func (result (tuple u8 (list (borrow $r)))))))
  "function result cannot contain a `borrow` type")
(assert_invalid
  (component (import "r" (type $r (sub resource))) (type (stream (borrow $r))))
  "cannot contain a `borrow` type")
(assert_invalid (component (type (instance (type (resource (rep i32)))))) "resources can only be defined within a concrete component")

;; destructors

(component definition
  (core module $m (func (export "gone") (param i32)))
  (core instance $i (instantiate $m))
  (type (resource (rep i32) (dtor (core func $i "gone")))))
(assert_invalid
  (component
    (core module $m (func (export "gone") (param i32) (result i32) unreachable))
    (core instance $i (instantiate $m))
    (type (resource (rep i32) (dtor (core func $i "gone")))))
  "wrong signature for a destructor")

;; types of core modules

(component definition
  (core type $m (module (type $f (func (param i64))) (import "a" "b" (func (type $f))) (export "c" (memory 1 2))))
  (import "m" (core module (type $m))))
(assert_invalid (component (core type (module (export "a" (func)) (export "a" (memory 1))))) "export name `a` already defined")
(assert_invalid (component (core type (module (import "a" "b" (func)) (import "a" "b" (func))))) "duplicate import name `a:b`")
(assert_invalid (component (core module (import "a" "b" (func)) (import "a" "b" (global i32)))) "duplicate import name `a:b`")
(assert_invalid (component (core type (module (import "a" "b" (memory 65537))))) "memory size must be at most")
