// Package windows tests what is installed on Windows, under wine: the
// installer, the service, and clients as Windows has them. Its tests have the
// build tag wine; .ci/windows installs what they need and runs them.
// docs/windows.md says what wine cannot show.
package windows
