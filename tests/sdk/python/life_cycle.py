"""Drives the Cloudflare-compatible API with the official Python client, unmodified.

Arguments: the API's URL, a key, a zone id, and a folder with `ecdsa.pem`, `ecdsa.key`, `rsa.pem` and
`rsa.key` for `app.customer.example`. The DNS of that name leads elsewhere until the folder has a file
`mend`, and to the edge soon afterwards.
"""

import sys
import time
from pathlib import Path

import cloudflare
from cloudflare import Cloudflare

URL, KEY, ZONE, FOLDER = sys.argv[1:]
NAME = "app.customer.example"


def client(key=KEY):
    return Cloudflare(api_token=key, base_url=URL, max_retries=1, timeout=20)


def code_of(error):
    """The number of an error's first entry."""
    return error.errors[0].code


def refused(kind, call, code):
    """Makes a call that is to be refused with this number."""
    try:
        call()
    except kind as error:
        assert code_of(error) == code, (code, error.body)
        return error
    raise AssertionError(f"expected {code}")


def until(status, call):
    """Calls until what is answered has this status."""
    end = time.monotonic() + 30
    while (answer := call()).status != status:
        assert time.monotonic() < end, answer
        time.sleep(0.1)
    return answer


def pem(name):
    return Path(FOLDER, name).read_text()


def creates_and_reads(hostnames):
    created = hostnames.create(
        zone_id=ZONE,
        hostname=NAME,
        custom_metadata={"plan": "gold"},
        custom_origin_server="origin2.customer.example",
        custom_origin_sni="sni.customer.example",
        ssl={
            "method": "http",
            "type": "dv",
            "bundle_method": "optimal",
            "cloudflare_branding": False,
            "wildcard": False,
            "settings": {
                "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"],
                "early_hints": "off",
                "http2": "off",
                "min_tls_version": "1.2",
                "tls_1_3": "off",
            },
        },
    )
    read = hostnames.get(created.id, zone_id=ZONE)
    for own in (created, read):
        assert len(own.id) == 32 and own.hostname == NAME and own.status == "pending", own
        assert own.custom_metadata == {"plan": "gold"}
        assert own.custom_origin_server == "origin2.customer.example"
        assert own.custom_origin_sni == "sni.customer.example"
        assert own.created_at.tzinfo and own.ssl.status in ("initializing", "pending_validation")
        assert (own.ssl.method, own.ssl.type, own.ssl.bundle_method) == ("http", "dv", "optimal")
        settings = own.ssl.settings
        assert (settings.http2, settings.tls_1_3, settings.min_tls_version) == ("off", "off", "1.2")
        assert set(settings.ciphers) == {
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        }
        token = own.ownership_verification
        assert (token.name, token.type) == (f"_cf-custom-hostname.{NAME}", "txt")
        http = own.ownership_verification_http
        assert http.http_body == token.value
        path = f"/.well-known/cf-custom-hostname-challenge/{own.ssl.id}"
        assert http.http_url == f"http://{NAME}{path}"
    return created.id


def refuses(hostnames, id):
    def create(**more):
        return lambda: hostnames.create(zone_id=ZONE, **{"hostname": "b.customer.example", **more})

    refused(cloudflare.ConflictError, create(hostname=NAME), 1406)
    refused(cloudflare.BadRequestError, create(hostname="192.0.2.1"), 1407)
    refused(cloudflare.BadRequestError, create(hostname="a b"), 1407)
    refused(cloudflare.BadRequestError, create(custom_origin_server="a b"), 1415)
    refused(cloudflare.BadRequestError, create(custom_metadata={"a": 1}), 1401)
    for ssl, code in [
        ({"method": "email", "type": "dv"}, 1432),
        ({"method": "http"}, 1440),
        ({"method": "http", "type": "ev"}, 1433),
        ({"bundle_method": "best"}, 1449),
        ({"cloudflare_branding": True}, 1434),
        ({"settings": {"http2": "yes"}}, 1422),
        ({"settings": {"min_tls_version": "1.0"}}, 1425),
        ({"settings": {"early_hints": "on"}}, 1434),
        ({"settings": {"ciphers": ["AES128-SHA"]}}, 1442),
        ({"custom_certificate": pem("rsa.pem")}, 1428),
        ({"custom_certificate": pem("rsa.pem"), "custom_key": pem("rsa.key")}, 1446),
        ({"custom_certificate": pem("rsa.key"), "custom_key": pem("rsa.key")}, 1427),
    ]:
        refused(cloudflare.BadRequestError, create(ssl=ssl), code)
    other = "0" * 32
    refused(cloudflare.NotFoundError, lambda: hostnames.get(other, zone_id=ZONE), 1436)
    refused(cloudflare.NotFoundError, lambda: hostnames.get(id, zone_id=other), 7003)
    strangers = client("lf_1_wrong").custom_hostnames
    refused(cloudflare.AuthenticationError, lambda: strangers.get(id, zone_id=ZONE), 10000)
    assert [own.hostname for own in hostnames.list(zone_id=ZONE)] == [NAME]


def lists(hostnames, id):
    names = [f"n{number:02}.customer.example" for number in range(25)]
    for name in names:
        hostnames.create(zone_id=ZONE, hostname=name)
    assert [own.hostname for own in hostnames.list(zone_id=ZONE)] == [NAME, *names]

    def found(**filters):
        return [own.hostname for own in hostnames.list(zone_id=ZONE, per_page=7, **filters)]

    assert found(direction="desc") == [*reversed(names), NAME]
    assert found(id=id) == [NAME]
    assert found(hostname={"exact": NAME}) == [NAME]
    assert found(hostname={"contain": "n1"}) == names[10:20]
    assert found(hostname={"starts_with": "n2"}) == names[20:]
    assert found(custom_origin_server="origin2.customer.example") == [NAME]
    assert found(wildcard=True) == [] and len(found(wildcard=False)) == 26
    assert len(found(hostname_status="pending", order="ssl_status")) == 26
    assert len(found(ssl_status="pending_validation", ssl=1)) == 26
    assert found(hostname_status="active") == found(ssl_status="expired") == found(ssl=0) == []
    page = hostnames.list(zone_id=ZONE, page=3, per_page=10)
    assert len(page.result) == 6 and page.result_info.page == 3
    assert hostnames.list(zone_id=ZONE, page=4, per_page=10).result == []
    for own in list(hostnames.list(zone_id=ZONE, hostname={"starts_with": "n"})):
        assert hostnames.delete(own.id, zone_id=ZONE).id == own.id


def edits(hostnames, id):
    edited = hostnames.edit(
        id,
        zone_id=ZONE,
        custom_metadata={"tier": "2"},
        ssl={"settings": {"min_tls_version": "1.3", "tls_1_3": "on", "ciphers": []}},
    )
    assert edited.custom_metadata == {"tier": "2"}
    assert edited.ssl.settings.min_tls_version == "1.3" and edited.ssl.settings.http2 == "off"
    assert edited.custom_origin_server == "origin2.customer.example"


def becomes_active(hostnames, id):
    ssl = {"method": "http", "type": "dv"}
    check = lambda: hostnames.edit(id, zone_id=ZONE, ssl=ssl)
    pending = check()
    assert pending.status == "pending", pending
    assert any("203.0.113.9" in error for error in pending.verification_errors), pending
    Path(FOLDER, "mend").touch()
    active = until("active", check)
    assert not active.verification_errors and active.ownership_verification is None, active
    until("active", lambda: hostnames.get(id, zone_id=ZONE))
    until("active", lambda: hostnames.get(id, zone_id=ZONE).ssl)
    for filters in ({"hostname_status": "active"}, {"ssl_status": "active"}):
        assert [own.id for own in hostnames.list(zone_id=ZONE, **filters)] == [id], filters


def uploads(hostnames, id):
    one = hostnames.edit(
        id,
        zone_id=ZONE,
        ssl={
            "custom_certificate": pem("rsa.pem"),
            "custom_key": pem("rsa.key"),
            "custom_csr_id": "7b163417-1d2b-4c84-a38a-2fb7a0cd7752",
            "bundle_method": "force",
        },
    )
    ssl = one.ssl
    assert ssl.custom_certificate == pem("rsa.pem") and ssl.hosts == [NAME], ssl
    assert ssl.custom_csr_id == "7b163417-1d2b-4c84-a38a-2fb7a0cd7752"
    assert ssl.bundle_method == "force" and ssl.signature and ssl.serial_number.isdigit()
    assert ssl.uploaded_on.tzinfo and ssl.expires_on > ssl.uploaded_on
    assert "custom_key" not in one.to_json()
    pairs = [
        {"custom_certificate": pem(f"{kind}.pem"), "custom_key": pem(f"{kind}.key")}
        for kind in ("rsa", "ecdsa")
    ]
    both = hostnames.edit(id, zone_id=ZONE, ssl={"custom_cert_bundle": pairs})
    assert both.ssl.custom_certificate == pem("ecdsa.pem")
    twice = {"custom_cert_bundle": [pairs[0], pairs[0]]}
    edit = lambda: hostnames.edit(id, zone_id=ZONE, ssl=twice)
    refused(cloudflare.BadRequestError, edit, 1441)


def sets_a_fallback_origin(hostnames):
    origin = hostnames.fallback_origin
    refused(cloudflare.NotFoundError, lambda: origin.get(zone_id=ZONE), 1551)
    put = origin.update(zone_id=ZONE, origin="fallback.customer.example")
    assert put.origin == "fallback.customer.example"
    got = until("active", lambda: origin.get(zone_id=ZONE))
    assert (got.origin, got.created_at) == (put.origin, put.created_at)
    assert origin.delete(zone_id=ZONE).origin == "fallback.customer.example"
    refused(cloudflare.NotFoundError, lambda: origin.get(zone_id=ZONE), 1551)


def deletes(hostnames, id):
    assert hostnames.delete(id, zone_id=ZONE).id == id
    refused(cloudflare.NotFoundError, lambda: hostnames.delete(id, zone_id=ZONE), 1436)


def main():
    hostnames = client().custom_hostnames
    id = creates_and_reads(hostnames)
    refuses(hostnames, id)
    lists(hostnames, id)
    edits(hostnames, id)
    becomes_active(hostnames, id)
    uploads(hostnames, id)
    sets_a_fallback_origin(hostnames)
    deletes(hostnames, id)
    key = Cloudflare(api_email="ops@customer.example", api_key=KEY, api_token="", base_url=URL)
    assert list(key.custom_hostnames.list(zone_id=ZONE)) == []


main()
