// Package tenants is the vocabulary that every other room speaks: who owns what, which trigger wakes which component, how a delivery
// can end, and within which limits. It holds values and their rules, does no I/O, and imports the standard library only.
package tenants
