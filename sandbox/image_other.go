//go:build !linux || portable

package sandbox

import (
	"errors"
	"slices"
)

// image is a memory's content at the moment of the snapshot.
type image struct{ bytes []byte }

func newImage(content []byte, _ ResetMethod) (*image, error) {
	return &image{bytes: slices.Clone(content)}, nil
}

// cover copies the image to the beginning of a region.
func (i *image) cover(r *region) error {
	copy(r.prefix(uint64(len(i.bytes))), i.bytes)
	return nil
}

func (i *image) close() { i.bytes = nil }

// clear makes the bytes from size on read as zero again.
func (r *region) clear(size uint64) error {
	clear(r.bytes[min(size, uint64(len(r.bytes))):cap(r.bytes)])
	return nil
}

// restorer puts a memory back by copying the whole image.
type restorer struct{ how ResetMethod }

func (*restorer) begin() {}

func (*restorer) moved() {}

func (*restorer) leave() {}

// private is not known; the memory counts in the Go heap.
func (*restorer) private() int64 { return 0 }

func (*restorer) restore(r *region, i *image) error { return i.cover(r) }

// forget has nothing to give back.
func (*restorer) forget(*region, *image) error { return nil }

// errLinux is why a system that is not Linux can only copy.
var errLinux = errors.New("needs Linux")

func resetTrials() []ResetTrial {
	return []ResetTrial{{ResetByRecords, errLinux}, {ResetByFaults, errLinux}, {ResetByScan, errLinux}, {ResetByPagemap, errLinux}, {Method: ResetByCopy}}
}
