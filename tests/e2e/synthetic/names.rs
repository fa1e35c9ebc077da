//! A name that moves: who sees it, who does not, and who still comes where it led before. BIND is the authority, Unbound a
//! resolver that keeps answers for longer than it may.

use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::resolvers::{Named, nsupdate, unbound};
use crate::harness::{Client, Home, of, skip, stdout};
use crate::origin::Origin;

/// Every verdict's sentence.
fn told(snapshot: &Value) -> Vec<String> {
    let others = snapshot["other_verdicts"].as_array().into_iter().flatten();
    let all = std::iter::once(&snapshot["verdict"]).chain(others);
    all.filter_map(|it| it["text"].as_str().map(str::to_owned))
        .collect()
}

fn addresses(said: &Value) -> Vec<&str> {
    let addresses = said["addresses"].as_array().into_iter().flatten();
    addresses.filter_map(Value::as_str).collect()
}

#[test]
fn a_name_that_moved_is_told_with_everybody_who_goes_by_its_old_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(named) = Named::start(dir.path(), "@ 1 IN A 127.0.0.1\n") else {
        skip("named is not installed");
        return;
    };
    let Some((_unbound, resolver)) = unbound(dir.path(), named.address, "cache-min-ttl: 600")
    else {
        skip("unbound is not installed");
        return;
    };
    let lead = |name: &str, to: &str| nsupdate(named.address, name, &[to]);
    if !lead("shop.example", "127.0.0.1") || !lead("localhost", "127.0.0.1") {
        skip("nsupdate is not installed");
        return;
    }
    let origin = Origin::ok();
    let authority = |zone: &str| {
        format!(
            "[[dns.authority]]\nzone = '{zone}'\nservers = ['{}']\n",
            named.address
        )
    };
    let home = Home::new(&format!(
        "proxy.workers = 1\n\
         [[listener]]\nname = 'http'\naddress = '0.0.0.0:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['http://localhost:{}']\n\
         [[route]]\nid = 'shop'\nhosts = ['shop.example']\nupstream = 'u'\n\
         [dns]\nenabled = true\nresolvers = ['{resolver}']\nevery = '1s'\ngrace = '1s'\n{}{}",
        origin.address.port(),
        authority("shop.example"),
        authority("localhost")
    ));
    let daemon = home.run();
    let shop = |snapshot: &Value| -> Option<Value> {
        let looked_at = snapshot["names"].as_array()?;
        looked_at
            .iter()
            .find(|it| it["name"] == "shop.example")
            .cloned()
    };
    daemon.until("both to agree", crate::daemon::DEADLINE, |snapshot| {
        let shop = shop(snapshot)?;
        let (said, true_) = (&shop["resolvers"][0], &shop["authorities"][0]);
        let both = [said, true_].map(|it| addresses(it) == ["127.0.0.1"]);
        (both == [true; 2] && true_["authoritative"] == true && true_["ttl_s"] == 1).then_some(())
    });
    assert_eq!(home.vestibule(&["names"]).status.code(), Some(0));
    let old = SocketAddr::from(([127, 0, 0, 1], daemon.address().port()));
    let visit = || {
        // Not from the address itself: whoever comes from there is no client, but us.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::from(([127, 0, 0, 9], 0));
        socket
            .bind(&from.into())
            .expect("an address of this machine");
        socket.connect(&old.into()).expect("it connects");
        let mut client = Client::over(TcpStream::from(socket));
        let answer = client.ask("GET /", &["Host: shop.example"], b"");
        assert_eq!(answer.expect("it answers").status, 200);
    };
    visit();
    assert!(lead("shop.example", "127.0.0.2") && lead("localhost", "127.0.0.2"));
    daemon.until("the authority to be seen", crate::daemon::DEADLINE, |it| {
        (addresses(&shop(it)?["authorities"][0]) == ["127.0.0.2"]).then_some(())
    });
    let mut missing = vec![
        format!("resolver {resolver} still gives 127.0.0.1 for shop.example, "),
        "clients still come to 127.0.0.1, which shop.example no longer leads to: ".to_owned(),
        "of our own connections to localhost still lead to 127.0.0.1, ".to_owned(),
    ];
    let stale = daemon.until(
        "all three to be told",
        crate::daemon::DEADLINE,
        |snapshot| {
            visit();
            let said = told(snapshot);
            missing.retain(|text| !said.iter().any(|it| it.contains(text)));
            let shop = shop(snapshot)?;
            let behind = shop["resolvers"][0]["stale_s"].as_u64()?;
            let dropped = &shop["dropped"][0];
            let came = dropped["connections"].as_u64().filter(|came| *came > 0)?;
            let localhost = of(&snapshot["names"], "name", "localhost");
            let kept = localhost["dropped"][0]["kept"].as_u64()?;
            (missing.is_empty() && behind > 1 && dropped["address"] == "127.0.0.1")
                .then_some((came, kept))
        },
    );
    assert!(stale.0 > 0 && stale.1 > 0, "{stale:?}");
    let listed = home.vestibule(&["names"]);
    let text = stdout(&listed);
    assert_eq!(listed.status.code(), Some(1), "{text}");
    assert!(
        text.contains("STALE") && text.contains("connections of clients since"),
        "{text}"
    );
    assert!(lead("shop.example", "127.0.0.1") && lead("localhost", "127.0.0.1"));
    crate::daemon::until("nobody to be behind", || {
        (home.vestibule(&["names"]).status.code() == Some(0)).then_some(())
    });
}
