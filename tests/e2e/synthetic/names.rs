//! A name that moves: who sees it, who does not, and who still comes where it led before. BIND is the authority, Unbound a
//! resolver that keeps answers for longer than it may.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::blackbox::free;
use super::resolvers::{Named, authority, bind, nsupdate, unbound, unbound_for};
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
    // A connection of our own may be let go of between two looks.
    let mut kept_most = 0;
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
            kept_most = kept_most.max(localhost["dropped"][0]["kept"].as_u64()?);
            (missing.is_empty() && behind > 1 && dropped["address"] == "127.0.0.1")
                .then_some((came, kept_most))
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

/// Two addresses of this machine that nobody else is likely to use, where port 53 can be bound; `None`: it may not be.
fn name_servers() -> Option<[IpAddr; 2]> {
    let [.., a, b] = std::process::id().to_be_bytes();
    let at = |last| IpAddr::V4(Ipv4Addr::new(127, 100 + a % 100, b, last));
    let both = [at(1), at(2)];
    both.iter()
        .all(|ip| UdpSocket::bind((*ip, 53)).is_ok())
        .then_some(both)
}

#[test]
fn authorities_are_found_by_following_a_delegation_and_asked_what_they_know_themselves() {
    let Some([first, second]) = name_servers() else {
        skip(
            "port 53 of loopback may not be bound here, where name servers of a delegation are asked",
        );
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let below = |name: &str| {
        let below = dir.path().join(name);
        fs::create_dir(&below).expect("made");
        below
    };
    // The zone above knows no more than whom to ask.
    let above = free();
    let servers = format!("ns1 IN A {first}\nns2 IN A {second}\n");
    let parent = format!(
        "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n{servers}\
         shop IN NS ns1\nshop IN NS ns2\ncdn IN NS ns1\nsix IN NS ns1\n"
    );
    let Some(_parent) = bind(&below("parent"), above, &[("example", parent)]) else {
        skip("named is not installed");
        return;
    };
    let six = "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN AAAA ::1\n"
        .to_owned();
    // One of the two has not heard of the last change.
    let child = |dir: &str, ip: IpAddr, serial: u32| {
        let head = format!(
            "$TTL 300\n@ IN SOA ns1.example. hostmaster {serial} 3600 600 86400 60\n@ IN NS ns1.example.\n"
        );
        let shop = format!(
            "{head}@ IN NS ns2.example.\nwww 120 IN A 192.0.2.1\nimages 90 IN CNAME edge.cdn.example.\n"
        );
        let zones = [
            ("shop.example", shop),
            ("cdn.example", format!("{head}edge IN A 192.0.2.7\n")),
            // By its own word, its server has no address of IPv4.
            ("six.example", six.clone()),
        ];
        authority(&below(dir), SocketAddr::new(ip, 53), &zones)
    };
    let (Some(_first), Some(_second)) = (child("first", first, 9), child("second", second, 7))
    else {
        skip("unbound is not installed");
        return;
    };
    let Some((_unbound, resolver)) = unbound_for(
        dir.path(),
        "example",
        above,
        "log-queries: yes\n verbosity: 1",
    ) else {
        skip("unbound is not installed");
        return;
    };
    let origin = Origin::ok();
    let hosts = ["www.shop.example", "images.shop.example", "six.example"];
    let home = Home::new(&format!(
        "proxy.workers = 1\n[[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'shop'\nhosts = {hosts:?}\nupstream = 'u'\n\
         [dns]\nenabled = true\nresolvers = ['{resolver}']\nevery = '1s'\n",
        origin.url(),
    ));
    let daemon = home.run();
    let of_name = |snapshot: &Value, name: &str| -> Option<Value> {
        let names = snapshot["names"].as_array()?;
        names.iter().find(|it| it["name"] == name).cloned()
    };
    let www = daemon.until("both authorities", crate::daemon::DEADLINE, |snapshot| {
        let www = of_name(snapshot, "www.shop.example")?;
        let said = www["authorities"].as_array()?;
        (said.len() == 2 && said.iter().all(|it| it["serial"].is_u64())).then_some(www)
    });
    let mut said = www["authorities"].as_array().expect("a list").clone();
    said.sort_by_key(|it| it["server"].as_str().map(str::to_owned));
    for (said, (ip, serial)) in said.iter().zip([(first, 9), (second, 7)]) {
        assert_eq!(said["server"], format!("{ip}:53"), "{www}");
        assert_eq!(said["authoritative"], true, "{www}");
        assert_eq!(addresses(said), ["192.0.2.1"], "{www}");
        assert_eq!(
            (&said["ttl_s"], &said["serial"]),
            (&120.into(), &serial.into())
        );
    }
    // An alias leads into another zone, whose authority is asked in turn; what may be kept is the lower of the two.
    let images = daemon.until("the alias", crate::daemon::DEADLINE, |snapshot| {
        let images = of_name(snapshot, "images.shop.example")?;
        (addresses(&images["authorities"][0]) == ["192.0.2.7"]).then_some(images)
    });
    assert_eq!(images["authorities"][0]["ttl_s"], 90, "{images}");
    // Whether it answers depends on this machine; that it is asked does not.
    let six = daemon.until("the other family", crate::daemon::DEADLINE, |snapshot| {
        let six = of_name(snapshot, "six.example")?;
        six["authorities"][0]["server"].is_string().then_some(six)
    });
    assert_eq!(six["authorities"][0]["server"], "[::1]:53", "{six}");

    let metrics = daemon.metrics();
    let value = |series: &str, more: &[(&str, &str)]| {
        let mut labels = vec![("name", "www.shop.example")];
        labels.extend(more);
        metrics.sum(series, &labels)
    };
    let by_authority = [("source", "authority")];
    assert_eq!(value("vestibule_name_zone_serial", &[]), 9);
    assert_eq!(value("vestibule_name_zone_serial_behind", &[]), 2);
    assert_eq!(value("vestibule_name_ttl_seconds", &by_authority), 120);
    let answered = [by_authority[0], ("result", "answered")];
    assert_eq!(value("vestibule_name_servers", &answered), 2);
    let ipv4 = [by_authority[0], ("family", "ipv4")];
    assert_eq!(value("vestibule_name_addresses", &ipv4), 1);
    let listed = home.vestibule(&["names"]);
    assert!(
        stdout(&listed).contains("authorities differ: one is 2 behind serial number 9"),
        "{}",
        stdout(&listed)
    );
    // Who answers is remembered, for what an alias leads to as well: nobody is asked for it in each round.
    let asked_at = daemon.snapshot()["at"].clone();
    daemon.until("two more rounds", crate::daemon::DEADLINE, |snapshot| {
        let images = of_name(snapshot, "images.shop.example")?;
        (images["looked_at"].as_str()? > asked_at.as_str()?).then_some(())
    });
    let log = fs::read_to_string(dir.path().join("unbound.log")).expect("it logs");
    let asked = |question: &str| log.matches(question).count();
    assert!(asked("images.shop.example. A IN") > 1, "{log}");
    assert_eq!(asked("edge.cdn.example. NS IN"), 1, "{log}");
    assert_eq!(asked("www.shop.example. NS IN"), 1, "{log}");
}
