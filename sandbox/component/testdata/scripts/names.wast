;; Names of imports and exports: their grammar, and that they differ enough.

(component definition
  (import "one" (func))
  (import "two-22" (func))
  (import "A1-b2-C3" (func))
  (import "ns-1:pk-2/FACE-3" (func))
  (import "ns:pk/face@0.2.12" (func))
  (import "ns:pk/face@0.2.0-rc-2023-11-10" (func))
  (import "ns:pk/face@1.0.0+build.7" (func)))

(assert_invalid (component (import "two--dashes" (func))) "is not in kebab case")
(assert_invalid (component (import "2nd" (func))) "is not in kebab case")
(assert_invalid (component (import "camelCase" (func))) "is not in kebab case")
(assert_invalid (component (import "under_score" (func))) "is not in kebab case")
(assert_invalid (component (import "trailing-" (func))) "is not in kebab case")
(assert_invalid (component (import "no/colon" (func))) "is not in kebab case")
(assert_invalid (component (import "NS:pk/face" (func))) "is not a valid extern name")
(assert_invalid (component (import "ns:PK/face" (func))) "is not a valid extern name")
(assert_invalid (component (import "ns:pk" (func))) "expected `/` after package name")
(assert_invalid (component (import "ns:in:pk/face" (func))) "expected `/` after package name")
(assert_invalid (component (import "ns:pk/face/more" (func))) "trailing characters found")
(assert_invalid (component (import "ns:pk/face@" (func))) "empty string")
(assert_invalid (component (import "ns:pk/face@1.2.x" (func))) "unexpected character 'x'")
(assert_invalid (component (import "ns:pk/face@1.02.0" (func))) "begins with 0")
(assert_invalid (component (import "ns:pk/face@1.2.3-" (func))) "empty identifier segment")

(assert_invalid (component (import "x" (func)) (import "X" (func))) "import name `X` conflicts with previous name `x`")
(assert_invalid
  (component (import "f" (func $f)) (export "g" (func $f)) (export "G" (func $f)))
  "export name `G` conflicts with previous name `g`")
(assert_invalid
  (component (type (instance (export "ab-CD" (func)) (export "AB-cd" (func)))))
  "conflicts with previous name")

;; functions of resources

(component definition
  (import "door" (type $d (sub resource)))
  (import "[constructor]door" (func (param "n" u32) (result (own $d))))
  (import "[method]door.open" (func (param "self" (borrow $d)) (param "wide" bool)))
  (import "[static]door.count" (func (result u32))))
(component definition
  (import "door" (type $d (sub resource)))
  (import "[constructor]door" (func (result (result (own $d) (error string))))))
(assert_invalid
  (component (import "door" (type $d (sub resource))) (import "[constructor]door" (func (result u32))))
  "function should return `(own $T)` or `(result (own $T))`")
(assert_invalid
  (component (import "door" (type $d (sub resource))) (import "[method]door.open" (func (param "this" (borrow $d)))))
  "should have a first argument called `self`")
(assert_invalid
  (component (import "door" (type $d (sub resource))) (import "[method]door.open" (func (param "self" (own $d)))))
  "should take a first argument of `(borrow $T)`")
(assert_invalid
  (component
    (import "door" (type $d (sub resource))) (import "gate" (type $g (sub resource)))
    (import "[method]door.open" (func (param "self" (borrow $g)))))
  "function does not match expected resource name")
(assert_invalid (component (import "[static]door.count" (func))) "is not known in this context")
(assert_invalid (component (import "[method]door" (func))) "failed to find `.` character")
(assert_invalid (component (import "[async]door" (func))) "is not a valid extern name")
(assert_invalid
  (component (import "door" (type $d (sub resource))) (import "[static]door.door" (func)))
  "conflicts with previous name `door`")

;; attributes

(component definition
  (import "store" (implements "ns:kv/store@0.2.0") (external-id "any text") (instance)))
(assert_invalid (component (import "store" (implements "store") (instance))) "must be an interface")
(assert_invalid (component (import "store" (implements "ns:kv/store") (func))) "only instances")
(assert_invalid (component (import "ns:a/b" (implements "ns:kv/store") (instance))) "is not valid with `implements`")
