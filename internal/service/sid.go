package service

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// serviceSID is the security identifier of a Windows service called name, which
// is worked out of the name: it is known before there is such a service.
func serviceSID(name string) string {
	var text []byte
	for _, unit := range utf16.Encode([]rune(strings.ToUpper(name))) {
		text = binary.LittleEndian.AppendUint16(text, unit)
	}
	sum := sha1.Sum(text)
	sid := "S-1-5-80"
	for at := 0; at < len(sum); at += 4 {
		sid += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(sum[at:]))
	}
	return sid
}
