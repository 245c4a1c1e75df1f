package entra

import (
	"context"
	"fmt"
	"net/http"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
)

// SignIn lets a person sign in by device code and returns the value of an
// Authorization header for resource, in that person's name. show is called
// once with what the person has to do. clientID must be an app registration
// that allows public client flows. It returns when the person has signed in,
// has declined, the code has ended, or ctx has.
func SignIn(ctx context.Context, transport http.RoundTripper, a Authority, clientID, resource string, show func(message string)) (header string, err error) {
	client, err := public.New(clientID,
		public.WithAuthority("https://"+a.Login+"/"+a.TenantID),
		public.WithHTTPClient(loginClient(transport)),
		public.WithInstanceDiscovery(false))
	if err != nil {
		return "", noAddress()
	}
	code, err := client.AcquireTokenByDeviceCode(ctx, []string{resource + "/user_impersonation"})
	if err != nil {
		return "", &Error{Class: Configuration, Reason: "Entra ID gives no device code; does the app registration allow public client flows (Authentication, Advanced settings)?"}
	}
	show(code.Result.Message)
	got, err := code.AuthenticationResult(ctx)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("wait for the sign-in: %w", context.Cause(ctx))
	case err != nil:
		return "", &Error{Class: Configuration, Reason: "nobody signed in, or was not allowed to"}
	}
	return "Bearer " + got.AccessToken, nil
}
