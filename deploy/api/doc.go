// Package api is the platform over HTTP: health, and below /v1 one file for each resource. Answers are JSON, errors are problem documents
// (RFC 9457) with a stable code and the next step. Every request body is bounded before it is read, and every list in what it returns.
package api
