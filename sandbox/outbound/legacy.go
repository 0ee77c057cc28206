package outbound

import (
	"errors"
	"strings"
)

// ConvertHTTPHosts turns the entries of a version 1 manifest's allowed_http_hosts into entries for Parse. A host without a scheme is
// allowed for http and https both; "self" is requests to the application itself; "insecure:allow-all" anywhere allows every HTTP host.
// Paths, wildcards and other schemes are errors, joined, one *EntryError each.
func ConvertHTTPHosts(entries []string) ([]string, error) {
	var converted []string
	var errs []error
	for _, text := range entries {
		if strings.TrimSpace(text) == "insecure:allow-all" {
			return []string{"http://*:*", "https://*:*", "http://self"}, nil
		}
		urls, f := convertHTTPHost(strings.TrimSpace(text))
		if f != nil {
			errs = append(errs, f.at(keyHTTP, text))
			continue
		}
		converted = append(converted, urls...)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return converted, nil
}

func convertHTTPHost(text string) ([]string, *fault) {
	if text == "self" {
		return []string{"http://self"}, nil
	}
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return convertAll(text, "http", "https")
	}
	if !isHTTP(scheme) {
		return nil, &fault{"its scheme is neither http nor https", "write it in allowed_outbound_hosts, which takes any scheme"}
	}
	return convertAll(rest, scheme)
}

func convertAll(host string, schemes ...string) ([]string, *fault) {
	host = strings.TrimSuffix(host, "/")
	var urls []string
	for _, scheme := range schemes {
		e, f := parseEntry(scheme + "://" + host)
		if f != nil {
			return nil, f
		}
		plain := e.kind == literal || e.kind == self
		if !plain || e.any || e.until != e.from+1 {
			return nil, &fault{"wildcards, networks and port ranges have no meaning here", "write it in allowed_outbound_hosts"}
		}
		urls = append(urls, scheme+"://"+host)
	}
	return urls, nil
}
