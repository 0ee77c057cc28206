// Package binding carries out the operations of Dapr's Redis binding, and some more, with a client.
//
// It owns what each operation is to Redis, what of it may be tried again, and how much of an answer is read. It refuses to know who asks, and
// where the server is.
package binding
