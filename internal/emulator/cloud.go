package emulator

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// The login hosts of Microsoft's clouds.
const (
	commercialLogin = "login.microsoftonline.com"
	governmentLogin = "login.microsoftonline.us"
	chinaLogin      = "login.partner.microsoftonline.cn"
)

// loginCloud gives the cloud, named by its login host, of each name under
// which Entra ID is known.
func loginCloud(host string) (login string, ok bool) {
	switch host {
	case commercialLogin, "login.windows.net", "login.microsoft.com", "sts.windows.net":
		return commercialLogin, true
	case governmentLogin, "login.usgovcloudapi.net":
		return governmentLogin, true
	case chinaLogin, "login.chinacloudapi.cn":
		return chinaLogin, true
	}
	return "", false
}

func isLoginName(host string) bool {
	_, ok := loginCloud(host)
	return ok
}

// cloudLogin gives the login host of the cloud in which an organization of
// this host lives.
func cloudLogin(host string) string {
	switch {
	case strings.HasSuffix(host, ".dynamics.cn"):
		return chinaLogin
	case strings.HasSuffix(host, ".microsoftdynamics.us"), strings.HasSuffix(host, ".appsplatform.us"):
		return governmentLogin
	}
	return commercialLogin
}

// guid makes an identifier that is the same in every run: the first half of a
// hash, dressed as a version 4 GUID.
func guid(parts ...any) string {
	sum := sha256.Sum256(fmt.Append(nil, parts...))
	sum[6] = sum[6]&0x0f | 0x40
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
