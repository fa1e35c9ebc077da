//! What a route does to requests and responses on their way.

use crate::client::Client;
use crate::daemon::Daemon;
use crate::origin::Origin;

#[test]
fn a_route_answers_the_clients_it_is_for_and_others_403() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'inner'\nupstream = 'u'\npath = '/inner'\n\
         allow_from = ['10.0.0.0/8', '2001:db8::/32']\ndeny_from = ['10.9.0.0/16']\n\
         [[route]]\nid = 'peers'\nupstream = 'u'\npath = '/peers'\nallow_from = ['127.0.0.1']\n\
         [[route]]\nid = 'open'\nupstream = 'u'\n\
         [proxy]\nworkers = 1\ntrusted_proxies = ['127.0.0.1']\n",
        origin.url()
    ));
    for (path, client, status) in [
        ("/inner/x", "10.1.2.3", 200),
        ("/inner/x", "2001:db8::9", 200),
        ("/inner/x", "10.9.2.3", 403),
        ("/inner/x", "192.0.2.1", 403),
        // What the client itself claims stands to the left of what the trusted proxy saw.
        ("/inner/x", "10.1.2.3, 192.0.2.1", 403),
        ("/inner/%2e%2e/inner/x", "192.0.2.1", 403),
        ("/other", "192.0.2.1", 200),
    ] {
        let mut connection = Client::connect(daemon.address());
        connection.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: {client}\r\n\r\n"
        ));
        assert_eq!(connection.response().status(), status, "{path} {client}");
    }
    let mut connection = Client::connect(daemon.address());
    connection.send("GET /peers HTTP/1.1\r\nhost: a.test\r\n\r\n");
    assert_eq!(connection.response().status(), 200, "the peer itself");
    // A client's fault: it spends no budget, and no upstream sees it.
    daemon.counted(&[
        ("inner good", 2),
        ("inner downstream/forbidden", 4),
        ("open good", 1),
        ("peers good", 1),
    ]);
    assert_eq!(origin.requests().len(), 4);
}

#[test]
fn plain_text_is_redirected_to_the_same_place_over_tls() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'r'\nupstream = 'u'\nhttps = 'redirect'\n\
         [[route]]\nid = 'acme'\nupstream = 'u'\npath = '/.well-known/acme-challenge'\n\
         [proxy]\nworkers = 1\ntrusted_proxies = ['127.0.0.1']\n",
        origin.url()
    ));
    let mut client = Client::connect(daemon.address());
    for (target, host, place) in [
        ("/", "Shop.test", "https://shop.test/"),
        (
            "/a/../b?x=1&y",
            "shop.test:8080",
            "https://shop.test/b?x=1&y",
        ),
        ("/a//b%20c", "[::1]:80", "https://[::1]/a/b%20c"),
        (
            "//evil.test/x",
            "shop.test",
            "https://shop.test/evil.test/x",
        ),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        let answer = client.response();
        assert_eq!(answer.status(), 308);
        assert_eq!(answer.header("location"), Some(place));
    }
    // The body is not read, and nobody takes it for the next request.
    client.send("POST /form HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\n\r\nabcde");
    assert_eq!(client.response().status(), 308);
    for (target, more) in [
        ("/x", "x-forwarded-proto: https\r\n"),
        ("/.well-known/acme-challenge/token", ""),
    ] {
        let mut client = Client::connect(daemon.address());
        client.send(format!(
            "GET {target} HTTP/1.1\r\nhost: shop.test\r\n{more}\r\n"
        ));
        assert_eq!(client.response().status(), 200, "{target}");
    }
    daemon.counted(&[("r good", 6), ("acme good", 1)]);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn headers_are_removed_set_and_added_as_the_route_says() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nserver: secret/1.0\r\nvary: accept\r\nx-frame-options: ALLOW\r\n\
         set-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 2\r\n\r\nok",
    );
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'r'\nupstream = 'u'\n\
         request_headers = {{ remove = ['x-debug', 'cookie'], set = ['x-env: production', 'x-new: 1'] }}\n\
         response_headers = {{ remove = ['server'], set = ['x-frame-options: DENY'], add = ['vary: origin'] }}\n",
        origin.url()
    ));
    let mut client = Client::connect(daemon.address());
    client.send(
        "GET / HTTP/1.1\r\nhost: a.test\r\nX-Debug: 1\r\nx-env: mine\r\nX-ENV: twice\r\ncookie: a=1\r\nx-other: kept\r\n\r\n",
    );
    let answer = client.response();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("server"), None);
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.all("vary").collect::<Vec<_>>(), ["accept", "origin"]);
    assert_eq!(answer.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    let seen = origin.request();
    assert_eq!(seen.all("x-env").collect::<Vec<_>>(), ["production"]);
    assert_eq!(seen.all("x-new").collect::<Vec<_>>(), ["1"]);
    assert_eq!(seen.all("x-other").collect::<Vec<_>>(), ["kept"]);
    assert_eq!(
        (seen.header("x-debug"), seen.header("cookie")),
        (None, None)
    );
}

#[test]
fn what_has_moved_is_redirected_or_asked_for_elsewhere() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'moved'\npath = '/old'\nredirect = {{ prefix = '/new' }}\n\
         [[route]]\nid = 'page'\npath_exact = '/page'\nredirect = {{ status = '301', path = '/' }}\n\
         [[route]]\nid = 'away'\npath = '/away'\n\
         redirect = {{ status = '308', scheme = 'https', host = 'b.test', port = 81, prefix = '/' }}\n\
         [[route]]\nid = 'api'\nupstream = 'u'\npath = '/api'\nrewrite = {{ prefix = '/v2' }}\n\
         [[route]]\nid = 'root'\nupstream = 'u'\npath = '/top'\nrewrite = {{ prefix = '/' }}\n\
         [[route]]\nid = 'one'\nupstream = 'u'\npath = '/one'\nrewrite = {{ path = '/the/one' }}\n\
         [[route]]\nid = 'inner'\nupstream = 'u'\npath = '/inner'\nallow_from = ['10.0.0.0/8']\n",
        origin.url()
    ));
    let mut client = Client::connect(daemon.address());
    let mut ask = |target: &str| {
        client.send(format!(
            "GET {target} HTTP/1.1\r\nhost: A.test:8080\r\n\r\n"
        ));
        client.response()
    };
    for (target, status, place) in [
        ("/old", 307, "/new"),
        ("/old/x?q=%2F", 307, "/new/x?q=%2F"),
        // In the form that was matched.
        ("/a/..//old/%7Ex/./y", 307, "/new/~x/y"),
        ("/old/..//evil.test/x", 404, ""),
        ("/old//evil.test", 307, "/new/evil.test"),
        ("/page?a", 301, "/?a"),
        ("/away/x", 308, "https://b.test:81/x"),
        ("/away", 308, "https://b.test:81/"),
    ] {
        let answer = ask(target);
        assert_eq!(answer.status(), status, "{target}");
        assert_eq!(
            answer.header("location").unwrap_or_default(),
            place,
            "{target}"
        );
    }
    for (target, status, asked) in [
        ("/api/x?q", 200, "/v2/x?q"),
        ("/api", 200, "/v2"),
        ("/top/y", 200, "/y"),
        ("/top", 200, "/"),
        ("/one/two", 200, "/the/one"),
        // Past the guard of another route.
        ("/top/inner", 403, ""),
        ("/top/inner/x", 403, ""),
        ("/top/%69nner/x", 403, ""),
        ("/top/a/../inner", 403, ""),
    ] {
        let before = origin.requests().len();
        assert_eq!(ask(target).status(), status, "{target}");
        let seen = origin.requests().split_off(before);
        let lines: Vec<_> = seen.iter().map(|it| it.first_line.as_str()).collect();
        let expected = format!("GET {asked} HTTP/1.1");
        assert_eq!(
            lines.first().copied(),
            (status == 200).then_some(&*expected)
        );
    }
    daemon.counted(&[
        ("moved good", 4),
        ("none downstream/no_route", 1),
        ("page good", 1),
        ("away good", 2),
        ("api good", 2),
        ("root good", 2),
        ("root downstream/forbidden", 4),
        ("one good", 1),
    ]);
}

#[test]
fn over_tls_clients_are_told_to_come_by_tls_alone() {
    let origin = Origin::ok();
    let daemon = Daemon::start(&format!(
        "[[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[upstream]]\nname = 'down'\nendpoints = ['http://127.0.0.1:1']\n\
         [[route]]\nid = 'r'\nupstream = 'u'\nhsts = {{ max_age = '1h', subdomains = true }}\n\
         [[route]]\nid = 'down'\nupstream = 'down'\npath = '/down'\nhsts = {{ max_age = '1h' }}\n\
         [[route]]\nid = 'moved'\npath = '/moved'\nredirect = {{ path = '/' }}\nhsts = {{ max_age = '0s' }}\n\
         [[route]]\nid = 'silent'\nupstream = 'u'\npath = '/silent'\n\
         [proxy]\nworkers = 1\ntrusted_proxies = ['127.0.0.1']\n",
        origin.url()
    ));
    let mut client = Client::connect(daemon.address());
    for (path, status, said) in [
        ("/", 200, Some("max-age=3600; includeSubDomains")),
        ("/down", 502, Some("max-age=3600")),
        ("/moved", 307, Some("max-age=0")),
        ("/silent", 200, None),
    ] {
        for scheme in ["https", "http"] {
            client.send(format!(
                "GET {path} HTTP/1.1\r\nhost: a.test\r\nx-forwarded-proto: {scheme}\r\n\r\n"
            ));
            let answer = client.response();
            assert_eq!(answer.status(), status, "{path}");
            let told = answer.header("strict-transport-security");
            assert_eq!(told, said.filter(|_| scheme == "https"), "{path} {scheme}");
        }
    }
}
