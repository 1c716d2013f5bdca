//! What of TLS is not spoken here, by openssl where it still can and byte by byte where it can't.

use crate::support::{Edge, Origin, exchange, run, run_with_input};

/// TLS record types (RFC 8446 section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// A ClientHello for `shop.example` that offers these.
fn hello(version: [u8; 2], suites: &[[u8; 2]], compressions: &[u8]) -> Vec<u8> {
    let name = b"shop.example";
    let length = |len: usize| u16::try_from(len).unwrap().to_be_bytes();
    let mut names = vec![0];
    names.extend(length(name.len()));
    names.extend(name);
    let mut extensions = vec![0, 0];
    extensions.extend(length(names.len() + 2));
    extensions.extend(length(names.len()));
    extensions.extend(names);
    // supported_groups: P-256 and X25519; signature_algorithms: ECDSA with P-256.
    extensions.extend([0, 10, 0, 6, 0, 4, 0, 23, 0, 29]);
    extensions.extend([0, 13, 0, 4, 0, 2, 4, 3]);
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(length(suites.len() * 2));
    body.extend(suites.concat());
    body.push(u8::try_from(compressions.len()).unwrap());
    body.extend(compressions);
    body.extend(length(extensions.len()));
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(length(body.len()));
    message.extend(body);
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(length(message.len()));
    record.extend(message);
    record
}

#[test]
fn old_versions_and_weak_suites_are_refused_by_an_alert() {
    let mut edge = Edge::start("[limits]\nhandshake_timeout = \"500ms\"");
    edge.serve("shop.example", Origin::start().address());
    let good = &[[0xc0, 0x2b]][..];
    let (rsa, rsa_gcm, dhe) = (&[[0x00, 0x2f]][..], &[[0x00, 0x9c]][..], &[[0x00, 0x9e]][..]);
    let (cbc, cbc_sha256) = (&[[0xc0, 0x09]][..], &[[0xc0, 0x23]][..]);
    let (rc4, null, anonymous) = (&[[0xc0, 0x07]][..], &[[0xc0, 0x06]][..], &[[0xc0, 0x15]][..]);
    let plain = &[0][..];
    // The descriptions of RFC 8446 section 6.2.
    let (protocol_version, handshake_failure, illegal_parameter) = (70, 40, 47);
    let table = [
        ("SSL 3.0", hello([3, 0], good, plain), protocol_version),
        ("TLS 1.0", hello([3, 1], good, plain), protocol_version),
        ("TLS 1.1", hello([3, 2], good, plain), protocol_version),
        ("RSA key exchange", hello([3, 3], rsa, plain), handshake_failure),
        ("RSA key exchange with GCM", hello([3, 3], rsa_gcm, plain), handshake_failure),
        ("DHE", hello([3, 3], dhe, plain), handshake_failure),
        ("CBC", hello([3, 3], cbc, plain), handshake_failure),
        ("CBC with SHA-256", hello([3, 3], cbc_sha256, plain), handshake_failure),
        ("RC4", hello([3, 3], rc4, plain), handshake_failure),
        ("no encryption", hello([3, 3], null, plain), handshake_failure),
        ("no authentication", hello([3, 3], anonymous, plain), handshake_failure),
        ("compression alone", hello([3, 3], good, &[1]), illegal_parameter),
    ];
    for (what, hello, description) in table {
        let answer = exchange(edge.https(), &hello);
        assert_eq!(answer.first(), Some(&ALERT), "{what}: {answer:?}");
        assert_eq!(answer[3..], [0, 2, 2, description], "{what}: {answer:?}");
    }
    // SSL 2.0 has no records that an alert would fit into.
    let ssl2 = [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[1; 37]].concat();
    assert_ne!(exchange(edge.https(), &ssl2).first(), Some(&HANDSHAKE));
    // The same hello with nothing wrong is answered by a ServerHello without compression.
    let answer = exchange(edge.https(), &hello([3, 3], good, &[1, 0]));
    assert_eq!(answer[..6], [HANDSHAKE, 3, 3, answer[3], answer[4], 2], "{answer:?}");
    assert_eq!((&answer[9..11], answer[43]), (&[3, 3][..], 0), "no session id");
    assert_eq!(answer[44..47], [0xc0, 0x2b, 0], "the suite, and no compression");
}

#[test]
fn openssl_is_refused_what_is_not_spoken_and_cannot_renegotiate() {
    let mut edge = Edge::start("[limits]\nidle_timeout = \"1s\"");
    edge.serve("shop.example", Origin::start().address());
    let address = edge.https().to_string();
    let own = ["s_client", "-connect", &address, "-servername", "shop.example"];
    let table: [&[&str]; 6] = [
        &["-tls1", "-cipher", "ALL@SECLEVEL=0"],
        &["-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "kRSA"],
        &["-tls1_2", "-cipher", "DHE"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
    ];
    for arguments in table {
        let said = run("openssl", &[&own, arguments].concat());
        let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert!(said.contains("Cipher is (NONE)"), "{arguments:?}: {said}");
        assert!(said.contains("SSL alert number"), "{arguments:?}: {said}");
    }
    let said = run("openssl", &[&own[..], &["-tls1_2", "-comp"]].concat());
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Compression: NONE") && !said.contains("(NONE)"), "{said}");
    // `R` on a line asks s_client to renegotiate.
    let said = run_with_input("openssl", &[&own[..], &["-tls1_2", "-msg"]].concat(), "R\n");
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    let hellos = |direction: &str, name: &str| {
        said.lines().filter(|line| line.starts_with(direction) && line.ends_with(name)).count()
    };
    assert_eq!((hellos(">>>", "ClientHello"), hellos("<<<", "ServerHello")), (2, 1), "{said}");
    assert!(said.contains("warning no_renegotiation") || said.contains("fatal"), "{said}");
}
