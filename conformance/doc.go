// Package conformance holds tenloom to contracts of servers that are too heavy to be in its own module: it starts real ones.
package conformance
