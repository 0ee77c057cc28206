// Package api is the platform over HTTP: health, and below /v1 one file for each resource. Answers are JSON, errors are problem documents
// (RFC 9457) with a stable code and the next step, and every answer has an id. Every request is bounded before it is read, and every list in
// what it returns.
//
// Who calls is known by a token, or, in "tenloom up", by calling from this machine; what they may do, tenants.May alone decides. A tenant that is
// not theirs is told from none by nothing. Browsers that another site sent are refused, by Sec-Fetch-Site, Origin and, where no token is asked
// for, Host.
package api
