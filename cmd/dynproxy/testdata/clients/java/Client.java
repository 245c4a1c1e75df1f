import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Drives the proxy with HttpURLConnection and java.net.http. Arguments: the proxy's address, a caller's name and key. */
public class Client {
    static String proxy, key, base;
    static int failed;

    record Answer(int status, byte[] body, String entity, String error) {
        String text() { return new String(body, StandardCharsets.UTF_8); }
    }

    interface Sender {
        Answer send(String method, String url, String key, byte[] body, String... headers) throws Exception;
    }

    static void check(String what, boolean good, Object... seen) {
        System.out.println(good ? "ok   " + what : "FAIL " + what + " " + Arrays.toString(seen));
        if (!good) failed++;
    }

    /** HttpURLConnection knows no PATCH: such requests are made as a POST that names it. */
    static Answer old(String method, String url, String key, byte[] body, String... headers) throws Exception {
        HttpURLConnection c = (HttpURLConnection) new URL(url).openConnection();
        if (method.equals("PATCH")) {
            c.setRequestProperty("X-HTTP-Method-Override", "PATCH");
            method = "POST";
        }
        c.setRequestMethod(method);
        c.setRequestProperty("X-Api-Key", key);
        for (int i = 0; i < headers.length; i += 2) c.setRequestProperty(headers[i], headers[i + 1]);
        if (body != null) {
            c.setDoOutput(true);
            if (body.length > 1 << 20) c.setFixedLengthStreamingMode(body.length);
            try (var out = c.getOutputStream()) {
                out.write(body);
            }
        }
        int status = c.getResponseCode();
        InputStream in = status >= 400 ? c.getErrorStream() : c.getInputStream();
        return new Answer(status, in == null ? new byte[0] : in.readAllBytes(), c.getHeaderField("OData-EntityId"), c.getHeaderField("Dynproxy-Error"));
    }

    static final HttpClient client = HttpClient.newHttpClient();

    static Answer modern(String method, String url, String key, byte[] body, String... headers) throws Exception {
        var r = HttpRequest.newBuilder(URI.create(url)).header("X-Api-Key", key)
            .method(method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(body));
        if (headers.length > 0) r.headers(headers);
        var got = client.send(r.build(), HttpResponse.BodyHandlers.ofByteArray());
        return new Answer(got.statusCode(), got.body(), got.headers().firstValue("OData-EntityId").orElse(null), got.headers().firstValue("Dynproxy-Error").orElse(null));
    }

    static String find(String pattern, String text) {
        Matcher m = Pattern.compile(pattern).matcher(text);
        return m.find() ? m.group(1) : null;
    }

    static byte[] bytes(String s) { return s.getBytes(StandardCharsets.UTF_8); }

    static final String[] JSON = {"Content-Type", "application/json"};

    static void drive(String who, Sender s) throws Exception {
        Set<String> names = new HashSet<>();
        int pages = 0;
        for (String url = base + "accounts?$select=name"; url != null; pages++) {
            check(who + ": a page's address is the proxy's", url.startsWith(base), url);
            String page = s.send("GET", url, key, null, "Prefer", "odata.maxpagesize=10").text();
            Matcher m = Pattern.compile("\"name\":\"((?:[^\"\\\\]|\\\\.)*)\"").matcher(page);
            while (m.find()) names.add(m.group(1));
            url = find("\"@odata.nextLink\":\"([^\"]*)\"", page.replace("\\\"", "%22"));
        }
        check(who + ": all accounts on their pages", names.size() >= 36 && pages >= 4, names.size(), pages);

        String contact = s.send("POST", base + "contacts", key, bytes("{\"lastname\":\"Java\"}"), JSON).entity();
        check(who + ": the new record's address is the proxy's", contact != null && contact.startsWith(base), contact);
        Answer made = s.send("POST", base + "accounts", key, bytes("{\"name\":\"" + who + "\",\"primarycontactid@odata.bind\":\"" + contact + "\"}"), JSON);
        String account = made.entity();
        check(who + ": bound when made", made.status() == 204, made.text());
        Answer parent = s.send("PUT", account + "/parentaccountid/$ref", key, bytes("{\"@odata.id\":\"" + account + "\"}"), JSON);
        check(who + ": bound by reference", parent.status() == 204, parent.text());

        String etag = find("\"@odata.etag\":\"(W/\\\\\"\\d+\\\\\")\"", s.send("GET", account + "?$select=name", key, null).text()).replace("\\", "");
        Answer first = s.send("PATCH", account, key, bytes("{\"name\":\"again\"}"), "Content-Type", "application/json", "If-Match", etag);
        check(who + ": If-Match that holds", first.status() == 204, first.status(), first.text());
        Answer stale = s.send("PATCH", account, key, bytes("{\"name\":\"never\"}"), "Content-Type", "application/json", "If-Match", etag);
        check(who + ": If-Match that does not hold", stale.status() == 412 && stale.text().contains("0x80060882"), stale.status(), stale.text());

        String batch = String.join("\r\n",
            "--b", "Content-Type: multipart/mixed;boundary=c", "",
            "--c", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "Content-ID: 1", "",
            "PATCH " + account + " HTTP/1.1", "Content-Type: application/json", "", "{\"name\":\"in a batch\"}",
            "--c--", "",
            "--b", "Content-Type: application/http", "Content-Transfer-Encoding: binary", "",
            "GET " + account + "?$select=name HTTP/1.1", "Accept: application/json", "", "",
            "--b--", "");
        Answer several = s.send("POST", base + "$batch", key, bytes(batch), "Content-Type", "multipart/mixed;boundary=b");
        check(who + ": a batch", several.status() == 200 && several.text().contains("HTTP/1.1 204") && several.text().contains("\"name\":\"in a batch\"") && several.text().contains(account), several.text());

        byte[] content = new byte[8 << 20];
        for (int i = 0; i < content.length; i++) content[i] = (byte) (i * 7 % 251);
        String file = account + "/sample_filecolumn";
        Answer up = s.send("PATCH", file, key, content, "Content-Type", "application/octet-stream", "x-ms-file-name", "f.bin");
        Answer down = s.send("GET", file + "/$value", key, null);
        check(who + ": 8 MiB up and down", up.status() == 204 && Arrays.equals(content, down.body()), up.status(), up.text(), down.body().length);

        byte[] big = new byte[20 << 20];
        refused(who + ": a wrong key", s, "GET", base + "WhoAmI", "wrong", null, 401, "unauthorized");
        refused(who + ": a wrong key with 20 MiB", s, "POST", base + "accounts", "wrong", big, 401, "unauthorized");
        refused(who + ": no consent", s, "GET", proxy + "/fabrikam/api/data/v9.2/WhoAmI", key, null, 502, "consent_required");
        refused(who + ": no consent with 20 MiB", s, "POST", proxy + "/fabrikam/api/data/v9.2/accounts", key, big, 502, "consent_required");
    }

    /** A refusal is read as what it is, while an upload is under way, too. */
    static void refused(String what, Sender s, String method, String url, String key, byte[] body, int status, String code) throws Exception {
        try {
            Answer a = body == null ? s.send(method, url, key, null) : s.send(method, url, key, body, "Content-Type", "application/octet-stream");
            check(what, a.status() == status && code.equals(a.error()) && (unread(s, a) || a.text().contains("\"code\":\"" + code + "\"")), a.status(), a.error(), a.text());
        } catch (IOException e) {
            check(what, false, e);
        }
    }

    /** HttpURLConnection gives no body with a 401 to a body that it cannot send again. */
    static boolean unread(Sender s, Answer a) { return s != modernSender && a.status() == 401 && a.body().length == 0; }

    static final Sender modernSender = Client::modern;

    public static void main(String[] args) throws Exception {
        proxy = args[0];
        key = args[2];
        base = proxy + "/contoso/api/data/v9.2/";
        drive("HttpURLConnection", Client::old);
        drive("java.net.http", modernSender);
        System.exit(failed > 0 ? 1 : 0);
    }
}
