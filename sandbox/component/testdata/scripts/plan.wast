;; Components whose plans are compared with golden files, plan.N.golden in their order.

;; 0: an import lowered with the memory and realloc of the module that calls it, as linkers shape it: shim, main, fix-up
(component definition
  (import "ns:kv/store@0.2.1" (instance $kv
    (export "connection" (type $c (sub resource)))
    (export "[static]connection.open" (func (param "name" string) (result (own $c))))
    (export "[method]connection.get" (func (param "self" (borrow $c)) (param "key" string) (result (option (list u8)))))))
  (alias export $kv "connection" (type $connection))
  (core module $shim
    (type $f (func (param i32 i32 i32 i32)))
    (table (export "$imports") 1 1 funcref)
    (func (export "0") (type $f) (call_indirect (type $f) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 0))))
  (core module $main
    (import "ns:kv/store@0.2.0" "[method]connection.get" (func (param i32 i32 i32 i32)))
    (import "ns:kv/store@0.2.0" "[resource-drop]connection" (func (param i32)))
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "run") (param i32 i32) (result i32) unreachable))
  (core module $fixup
    (import "" "$imports" (table 1 1 funcref))
    (import "" "0" (func (param i32 i32 i32 i32)))
    (elem (i32.const 0) func 0))
  (core instance $shim (instantiate $shim))
  (core func $drop (canon resource.drop $connection))
  (core instance $kv-core
    (export "[method]connection.get" (func $shim "0"))
    (export "[resource-drop]connection" (func $drop)))
  (core instance $main (instantiate $main (with "ns:kv/store@0.2.0" (instance $kv-core))))
  (core func $get (canon lower (func $kv "[method]connection.get") (memory $main "memory") (realloc (func $main "cabi_realloc"))))
  (core instance $slots (export "$imports" (table $shim "$imports")) (export "0" (func $get)))
  (core instance (instantiate $fixup (with "" (instance $slots))))
  (type $bytes (list u8))
  (func $run (param "m" $bytes) (result (result (error u8)))
    (canon lift (core func $main "run") (memory $main "memory") (realloc (func $main "cabi_realloc"))))
  (component $names
    (import "run" (func $f (param "m" (list u8)) (result (result (error u8)))))
    (export "handle-message" (func $f)))
  (instance $named (instantiate $names (with "run" (func $run))))
  (export "fermyon:spin/inbound-redis" (instance $named)))

;; 1: one module twice with two sources, and one component twice, whose resource is another each time
(component definition
  (component $counter
    (core module $m (func (export "gone") (param i32)) (func (export "take") (param i32)))
    (core instance $i (instantiate $m))
    (type $r (resource (rep i32) (dtor (func $i "gone"))))
    (export $named "r" (type $r))
    (func (export "take") (param "x" (own $named)) (canon lift (core func $i "take"))))
  (instance $one (instantiate $counter))
  (instance $two (instantiate $counter))
  (core module $user (import "" "take" (func (param i32))))
  (core func $take-one (canon lower (func $one "take")))
  (core func $take-two (canon lower (func $two "take")))
  (core instance (instantiate $user (with "" (instance (export "take" (func $take-one))))))
  (core instance (instantiate $user (with "" (instance (export "take" (func $take-two))))))
  (export "one" (instance $one))
  (export "two" (instance $two)))

;; 2: what is passed down and up through bags, aliases and outer aliases keeps its source
(component definition $top
  (core module $leaf (import "a" "f" (func)) (export "g" (func 0)))
  (import "f" (func $f))
  (component $middle
    (alias outer $top $leaf (core module $leaf))
    (import "in" (instance $in (export "f" (func))))
    (core func $f (canon lower (func $in "f")))
    (core instance $i (instantiate $leaf (with "a" (instance (export "f" (func $f))))))
    (core instance $again (instantiate $leaf (with "a" (instance (export "f" (func $i "g"))))))
    (func $g (canon lift (core func $again "g")))
    (instance $out (export "g" (func $g)))
    (export "out" (instance $out)))
  (instance $bag (export "f" (func $f)))
  (instance $m (instantiate $middle (with "in" (instance $bag))))
  (alias export $m "out" (instance $out))
  (export "ns:pk/out@1.0.0" (instance $out))
  (export "same" (func $f)))

;; 3: two handlers
(component definition
  (core module $m
    (memory (export "m") 1) (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "f") (param i32 i32) (result i32) unreachable) (func (export "c") (param i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (func $one (param "message" (list u8)) (result (result (error u8)))
    (canon lift (core func $i "f") (memory $i "m") (realloc (func $i "r"))))
  (func $three async (param "message" (list u8)) (result (result (error u8)))
    (canon lift (core func $i "f") async (memory $i "m") (realloc (func $i "r")) (callback (func $i "c"))))
  (instance $v1 (export "handle-message" (func $one)))
  (instance $v3 (export "handle-message" (func $three)))
  (export "fermyon:spin/inbound-redis" (instance $v1))
  (export "spin:redis/inbound-redis@3.0.0" (instance $v3)))

;; 4: a handler of another type
(component definition
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $v1 (export "handle-message" (func $f)))
  (export "fermyon:spin/inbound-redis" (instance $v1)))
