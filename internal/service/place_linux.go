package service

// StateDir is where a service keeps what shall survive a restart, unless its
// settings say otherwise.
func StateDir() string { return "/var/lib/dynproxy" }

// StartLine is what to type so that the installed service runs, now and after
// the next start of the system.
const StartLine = "sudo systemctl enable --now dynproxy"
