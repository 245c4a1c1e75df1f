package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
)

// errLate is the cause of an exchange that took too long.
var errLate = errors.New("no answer in time")

// meaning is what the beginning of an answer of Redis means, and the cure.
type meaning struct{ begins, words string }

const rights = "Redis does not let this user do all that is needed; docs/several-machines.md has the line of its rights (ACL SETUSER)"

// known are the answers after which Redis is no help to anybody.
var known = []meaning{
	{"WRONGPASS", "Redis does not accept the user or the password; correct DYNPROXY_REDIS_URL"},
	{"NOAUTH", "Redis wants a password; put it into DYNPROXY_REDIS_URL"},
	{"ERR Protocol error: unauthenticated", "Redis wants a password; put it into DYNPROXY_REDIS_URL"},
	{"NOPERM", rights},
	{"READONLY", "this Redis is a replica, to which nothing can be written; name the primary, or the sentinels with ?master_name=, in DYNPROXY_REDIS_URL"},
	{"OOM", "Redis is full; give it more memory (maxmemory)"},
	{"MISCONF", "Redis takes no writes, since it cannot save to its own disk; look at its log"},
	{"NOREPLICAS", "Redis takes no writes, since it has too few replicas"},
	{"LOADING", "Redis is still loading its data"},
	{"BUSY", "Redis is busy with a script of somebody else"},
	{"MASTERDOWN", "this Redis is a replica that has lost its primary"},
	{"CLUSTERDOWN", "the Redis cluster is down"},
	{"TRYAGAIN", "the Redis cluster is moving its slots"},
	{"MOVED", "this Redis is part of a cluster; add ?addr=HOST:PORT of a second node to DYNPROXY_REDIS_URL"},
	{"CROSSSLOT", "this Redis is part of a cluster; add ?addr=HOST:PORT of a second node to DYNPROXY_REDIS_URL"},
	{"ERR max number of clients", "Redis has no room for another connection (maxclients)"},
	{"ERR invalid password", "Redis does not accept the password; correct DYNPROXY_REDIS_URL"},
	{"ERR AUTH", "Redis does not accept the password; correct DYNPROXY_REDIS_URL"},
	{"ERR Client sent AUTH", "Redis has no password, and DYNPROXY_REDIS_URL names one; take it out"},
	{"ERR DB index", "Redis has no database of that number; correct the end of DYNPROXY_REDIS_URL"},
	{"ERR SELECT is not allowed", "a Redis cluster has one database only; take the number from the end of DYNPROXY_REDIS_URL"},
	{"ERR unknown command", "Redis does not know a command that is needed; it must be Redis 6 or later with EVALSHA and TIME"},
	{"ERR Unknown Redis command", "Redis does not know a command that is needed; it must be Redis 6 or later with EVALSHA and TIME"},
	{"ERR The user executing the script can't run", rights},
	{"ERR This Redis command is not allowed from script", "Redis does not allow a command in a script that is needed; it must be Redis 6 or later"},
	{"ERR Write commands not allowed after non deterministic", "this Redis is too old; it must be Redis 6 or later"},
}

// foreign is for what our scripts cannot read. It concerns the keys that they
// were given, and not those of other exchanges.
const foreign = "a key in Redis holds what this program has not put there; delete it, or choose another DYNPROXY_REDIS_PREFIX"

// judge says in plain words why an exchange has failed, and whether the others
// would too.
func judge(err error) (words string, down bool) {
	if errors.Is(err, errFault) {
		return errFault.Error(), false
	}
	var answer redis.Error
	if errors.As(err, &answer) && !errors.Is(err, redis.Nil) {
		return ofAnswer(answer.Error())
	}
	return ofConnection(err), true
}

// ofAnswer is judge for an answer of Redis, of which nothing is quoted but its
// first word: some versions quote the command that they refuse, with the
// password in it.
func ofAnswer(text string) (words string, down bool) {
	if _, inner, is := strings.Cut(text, ": -"); is && strings.HasPrefix(text, "ERR Error running script") {
		text = inner // as Redis 6 tells what a command of a script was answered
	}
	for _, m := range known {
		if strings.HasPrefix(text, m.begins) || strings.HasPrefix(m.begins, "ERR ") && strings.Contains(text, m.begins[len("ERR "):]) {
			return m.words, true
		}
	}
	if strings.HasPrefix(text, "WRONGTYPE") || strings.HasPrefix(text, "ERR user_script:") || strings.Contains(text, ": user_script:") {
		return foreign, false
	}
	first, _, _ := strings.Cut(text, " ")
	if len(first) > 20 || strings.ToUpper(first) != first {
		first = "an error"
	}
	return "Redis has answered with " + first, false
}

func ofConnection(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var timeout net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &unknown):
		return "the certificate of Redis is of an authority that is not trusted; put that authority's into the file of DYNPROXY_TRUSTED_CA_FILE"
	case errors.As(err, &invalid):
		return "the certificate of Redis cannot be used, as one that has ended; renew it"
	case errors.As(err, &name):
		return "the certificate of Redis is for another name than the host of DYNPROXY_REDIS_URL"
	case errors.As(err, &record):
		return "Redis does not speak TLS at that port; turn it on there, or write redis:// in DYNPROXY_REDIS_URL"
	case errors.As(err, &alert):
		return "Redis breaks the TLS handshake off; it may want a certificate of its clients (tls-auth-clients no)"
	case errors.Is(err, errHandshake):
		return "Redis does not complete the TLS handshake; if it does not speak TLS at that port, write redis:// in DYNPROXY_REDIS_URL"
	case strings.Contains(err.Error(), "all sentinels"):
		return "no sentinel answers, or none knows a primary of that master_name"
	case strings.Contains(err.Error(), "cluster"):
		return "no node of DYNPROXY_REDIS_URL tells of a Redis cluster"
	case errors.Is(err, errLate), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, redis.ErrPoolTimeout), errors.As(err, &timeout) && timeout.Timeout():
		return "Redis does not answer in time"
	case errors.As(err, &op):
		return "Redis cannot be reached: " + op.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "Redis closes the connection; if it wants TLS, write rediss:// in DYNPROXY_REDIS_URL"
	case errors.Is(err, redis.ErrClosed), errors.Is(err, context.Canceled):
		return "the connections to Redis are closed"
	}
	return "what answers at that address is no Redis, or its answer cannot be read; if it wants TLS, write rediss:// in DYNPROXY_REDIS_URL"
}
