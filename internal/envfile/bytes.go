package envfile

import (
	"errors"
	"strconv"
	"strings"
)

// Bytes is a number of bytes, as people write it: 4GB, 512 KB, 1.5MiB, 1048576. K, M, G and T are powers of 1024.
type Bytes int64

// Cure says how a size is written.
func (*Bytes) Cure() string { return "must be a number of bytes, such as 4GB, 100MB or 65536" }

// UnmarshalText reads a setting.
func (b *Bytes) UnmarshalText(text []byte) error {
	number := strings.ToUpper(strings.TrimSpace(string(text)))
	number = strings.TrimSuffix(strings.TrimSuffix(number, "B"), "I")
	unit := 1.0
	if n := len(number); n > 0 {
		if power := strings.IndexByte("KMGT", number[n-1]) + 1; power > 0 {
			unit = float64(int64(1) << (10 * power))
			number = strings.TrimSpace(number[:n-1])
		}
	}
	if strings.Trim(number, "0123456789.") != "" {
		return errors.New(b.Cure())
	}
	size, err := strconv.ParseFloat(number, 64)
	if err != nil || size*unit >= 1<<62 {
		return errors.New(b.Cure())
	}
	*b = Bytes(size * unit)
	return nil
}
