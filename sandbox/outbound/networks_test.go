package outbound_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/sandbox/outbound"
)

func networks(t testing.TB, items ...string) *outbound.Networks {
	t.Helper()
	n, err := outbound.ParseNetworks(items)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBlocks(t *testing.T) {
	cidrs := []string{"123.123.0.0/16", "2001::/96"}
	private := []string{"10.0.0.0/8", "private"}
	rows := []struct {
		items   []string
		blocked []string
		open    []string
	}{
		// Spin's unit tests.
		{cidrs, []string{"123.123.123.123", "2001::1000", "::ffff:123.123.123.123"}, []string{"123.100.100.100", "2002::1000"}},
		{private,
			[]string{"0.0.0.0", "10.10.10.10", "100.64.1.1", "127.0.0.1", "169.254.0.1", "192.0.0.1", "::1", "::ffff:10.10.10.10", "fc00::f00d"},
			[]string{"123.123.123.123", "2600::beef"}},

		// Each special-purpose network at its edges.
		{private, []string{
			"0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.255.255.255", "169.254.169.254",
			"172.16.0.0", "172.31.255.255", "192.0.0.192", "192.0.0.255", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255",
			"198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.255", "224.0.0.1", "239.255.255.255", "240.0.0.1",
			"255.255.255.255", "168.63.129.16", "100.100.100.200",
		}, []string{
			"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
			"169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0",
			"192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255",
			"203.0.114.0", "223.255.255.255", "168.63.129.15", "168.63.129.17", "8.8.8.8",
		}},
		{private, []string{
			"::", "::2", "100::1", "64:ff9b:1::808:808", "2001::1", "2001:2::1", "2001:10::1", "2001:1ff:ffff::", "2001:db8::1",
			"3fff::1", "3fff:fff::1", "5f00::1", "4000::1", "fc00::1", "fdff::1", "fd00:ec2::254", "fe80::1", "febf::1", "fe80::1%eth0",
			"fec0::1", "ff02::1", "ff0e::1",
		}, []string{"2001:200::1", "2001:4860:4860::8888", "2001:db7::1", "2001:db9::1", "3ffe::1", "3fff:1000::1", "2606:4700::1111"}},

		// IPv4 within IPv6: mapped, compatible, NAT64, 6to4.
		{private,
			[]string{"::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101:1::5"},
			[]string{"::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"}},
		{[]string{"8.8.8.0/24"},
			[]string{"::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"},
			[]string{"::ffff:8.8.9.8", "64:ff9b::808:908", "2002:808:908::1", "127.0.0.1", "::1"}},
		{[]string{"2002::/16"}, []string{"2002:808:808::1"}, []string{"8.8.8.8"}},
		{[]string{"::ffff:8.8.8.0/120"}, []string{"8.8.8.8", "::ffff:8.8.8.8"}, []string{"8.8.9.8"}},

		// Host bits are ignored; nothing given blocks nothing.
		{[]string{" 123.123.123.123/16 "}, []string{"123.123.0.1"}, []string{"123.124.0.1"}},
		{[]string{"fe80::/10"}, []string{"fe80::1%eth0"}, nil},
		{nil, nil, []string{"127.0.0.1", "::1", "169.254.169.254"}},
	}
	for _, row := range rows {
		n := networks(t, row.items...)
		for _, a := range row.blocked {
			if !n.Blocks(netip.MustParseAddr(a)) {
				t.Errorf("%q does not block %s", row.items, a)
			}
		}
		for _, a := range row.open {
			if n.Blocks(netip.MustParseAddr(a)) {
				t.Errorf("%q blocks %s", row.items, a)
			}
		}
	}
}

func TestBlocksNothingKnown(t *testing.T) {
	var none *outbound.Networks
	if none.Blocks(netip.MustParseAddr("127.0.0.1")) {
		t.Error("nil blocks")
	}
	if !networks(t, "1.1.1.1/32").Blocks(netip.Addr{}) {
		t.Error("the zero address passes")
	}
}

func TestParseNetworksFaults(t *testing.T) {
	_, err := outbound.ParseNetworks([]string{"1.1.1.1", "private", "publik", "10.0.0.0/33", ""})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`"1.1.1.1"`, `"publik"`, `"10.0.0.0/33"`, `""`, "an IP network in CIDR notation or the keyword 'private'"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing from: %v", want, err)
		}
	}
}
