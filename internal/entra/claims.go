package entra

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
)

var (
	insufficientClaims = regexp.MustCompile(`(?i)\berror\s*=\s*"?insufficient_claims\b`)
	claimsParameter    = regexp.MustCompile(`(?i)\bclaims\s*=\s*"?([0-9a-z+/_-]+)`)
	standardAlphabet   = strings.NewReplacer("-", "+", "_", "/")
)

// Claims returns the claims challenge among the challenges of a 401, decoded,
// or "". What is no JSON object is none: Entra ID would refuse it, and a tenant
// would have no token at all.
func Claims(challenges []string) string {
	for _, challenge := range challenges {
		match := claimsParameter.FindStringSubmatch(challenge)
		if match == nil || !insufficientClaims.MatchString(challenge) {
			continue
		}
		claims, err := base64.RawStdEncoding.DecodeString(standardAlphabet.Replace(match[1]))
		var object map[string]json.RawMessage
		if err == nil && json.Unmarshal(claims, &object) == nil && object != nil {
			return string(claims)
		}
	}
	return ""
}
