// Package api is the platform over HTTP: health, and below /v1 one file for each resource. Answers are JSON, errors are problem documents
// (RFC 9457) with a stable code and the next step, and every answer has an id. Every request is bounded before it is read, and every list in
// what it returns.
//
// It asks nobody who they are. What it refuses are browsers that another site sent, by Sec-Fetch-Site, Origin and Host.
package api
