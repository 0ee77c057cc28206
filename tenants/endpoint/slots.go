package endpoint

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// SlotCount is how many hash slots a cluster has.
const SlotCount = 16384

// Slot is the hash slot of a key or sharded channel: CRC-16/XMODEM modulo SlotCount of its hash tag, which is what stands between the first { and
// the next }, unless that is nothing; otherwise of the whole (redis.io, "Redis cluster specification", "Hash tags").
func Slot(name string) int {
	if open := strings.IndexByte(name, '{'); open >= 0 {
		if length := strings.IndexByte(name[open+1:], '}'); length > 0 {
			name = name[open+1:][:length]
		}
	}
	var crc uint16
	for i := range len(name) {
		crc ^= uint16(name[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % SlotCount
}

// Slots say who serves which hash slot, as one node saw it. They are immutable.
type Slots struct {
	owners  [SlotCount]uint16 // index into masters plus one; 0 is nobody
	masters []string          // host:port
	nodes   []string          // masters and replicas
	epoch   int64             // the cluster's, which grows with each change of owners; 0 where it may not be asked for
}

// Owner is the host:port of the master that serves a slot, "" where none does.
func (s *Slots) Owner(slot int) string {
	if slot < 0 || slot >= SlotCount || s.owners[slot] == 0 {
		return ""
	}
	return s.masters[s.owners[slot]-1]
}

// Masters are the nodes that serve slots, as host:port, in the order of their lowest slot.
func (s *Slots) Masters() []string { return slices.Clone(s.masters) }

// Equal says that the same masters serve the same slots.
func (s *Slots) Equal(t *Slots) bool {
	return s == t || s != nil && t != nil && s.owners == t.owners && slices.Equal(s.masters, t.masters)
}

// asker is a client of one node, or one of its connections.
type asker interface {
	ClusterSlots(context.Context) *redis.ClusterSlotsCmd
	ClusterInfo(context.Context) *redis.StringCmd
}

// askSlots asks the node at addr.
func askSlots(ctx context.Context, node asker, addr string) (*Slots, error) {
	ranges, err := node.ClusterSlots(ctx).Result()
	if err != nil {
		return nil, err
	}
	s := &Slots{}
	if info, err := clusterInfo(ctx, node); err == nil {
		s.epoch, _ = strconv.ParseInt(info["cluster_current_epoch"], 10, 64)
	}
	slices.SortFunc(ranges, func(a, b redis.ClusterSlot) int { return a.Start - b.Start })
	for _, r := range ranges {
		for i, n := range r.Nodes {
			at, ok := whereabouts(n.Addr, addr)
			if !ok {
				continue
			}
			if !slices.Contains(s.nodes, at) {
				s.nodes = append(s.nodes, at)
			}
			if i == 0 {
				s.own(at, r.Start, r.End)
			}
		}
	}
	return s, nil
}

func (s *Slots) own(master string, first, last int) {
	i := slices.Index(s.masters, master)
	if i < 0 {
		i = len(s.masters)
		s.masters = append(s.masters, master)
	}
	for slot := max(first, 0); slot <= min(last, SlotCount-1); slot++ {
		s.owners[slot] = uint16(i + 1)
	}
}

// whereabouts is a node's address from CLUSTER SLOTS: without a host it is the host that was asked, and "?" is a host that is not known yet.
func whereabouts(addr, asked string) (string, bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "?" || port == "0" {
		return "", false
	}
	if host == "" {
		host, _, _ = net.SplitHostPort(asked)
	}
	return net.JoinHostPort(host, port), true
}

func clusterInfo(ctx context.Context, node asker) (map[string]string, error) {
	text, err := node.ClusterInfo(ctx).Result()
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}
