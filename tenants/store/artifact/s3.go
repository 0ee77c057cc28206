//go:build s3

package artifact

import _ "gocloud.dev/blob/s3blob" // s3:// for Open
